//! `osb serve templates`: OpenShift Templates as services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use apiserver::{Authorization, StartObjects};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use osb_host::{DEFAULT_PLATFORM, HostOptions};
use template_broker::folder::{self, Found};
use template_broker::{Allowed, Identities, Ids, Namespaces, Options, Places, Policy, Workloads, config, local};
use template_controller::proof::Proof;
use template_controller::{Admission, Served};

/// Where templates and instances are in a home of the broker's own.
const NAMESPACE: &str = "templates";

/// In whose name everything is done in a home of the broker's own.
const USER: &str = "developer";

/// How many instances are worked on at once where the API server is in the same process: each waits for the disk most of the time.
const WORKERS: usize = 32;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(clap::Args)]
pub(crate) struct TemplatesArgs {
    /// A folder of templates, YAML or JSON: they become Template objects in the first namespace that is offered, and what came
    /// of the folder before and is not in it any more is deleted
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,

    /// Offers the templates of this namespace; can be repeated [default in a home of the broker's own: templates]
    #[arg(long, value_name = "NAME", conflicts_with = "namespace_selector")]
    namespace: Vec<String>,

    /// Offers the templates of all namespaces whose labels fit, as in `kubectl get -l`
    #[arg(long, value_name = "SELECTOR")]
    namespace_selector: Option<String>,

    /// The configuration file of the template broker in Go: offers the templates of the namespaces that it names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["namespace", "namespace_selector"])]
    config: Option<PathBuf>,

    /// Works on the cluster of that kubeconfig instead of a Kubernetes API of the broker's own. What the broker knows of its
    /// instances stays in its data folder
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Makes all instances in this namespace, whatever the platform says [default in a home of the broker's own: templates]
    #[arg(long, value_name = "NAME")]
    instances_in: Option<String>,

    /// Makes instances of platforms that have no namespaces in this one; without it they are refused
    #[arg(long, value_name = "NAME", conflicts_with = "instances_in")]
    default_namespace: Option<String>,

    /// Does everything in the name of this user of the cluster, whomever platforms name
    /// [default in a home of the broker's own: developer]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["unnamed_as", "may_name", "may_name_group", "may_name_extra", "map"])]
    act_as: Option<String>,

    /// Does in the name of this user what platforms want that name nobody; without it they are refused
    #[arg(long, value_name = "NAME")]
    unnamed_as: Option<String>,

    /// Whom a platform may name as its user, as [PLATFORM=]NAME, where NAME may end with *; can be repeated
    #[arg(long, value_name = "NAME")]
    may_name: Vec<String>,

    /// In which groups these users may be; as --may-name
    #[arg(long, value_name = "GROUP")]
    may_name_group: Vec<String>,

    /// Which keys of `extra` these users may have; as --may-name
    #[arg(long, value_name = "KEY")]
    may_name_extra: Vec<String>,

    /// Takes users of another platform for users of the cluster, as PLATFORM=PREFIX: the prefix stands before their ids
    #[arg(long, value_name = "PLATFORM=PREFIX")]
    map: Vec<String>,

    /// Gives services the UIDs of their templates as ids, as the broker in Go did; instances of it go on
    #[arg(long)]
    uid_as_id: bool,

    /// Leaves out of what --manifests prints what OpenShift has: the kinds of templates and who may use them
    #[arg(long, requires = "manifests")]
    on_openshift: bool,

    #[command(flatten)]
    host: HostOptions,
}

impl TemplatesArgs {
    /// Serves until a signal ends it.
    pub(crate) fn serve(self) -> ExitCode {
        if self.host.manifests {
            return self.print_manifests();
        }
        let prepared = self.prepared();
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(wrong) => {
                eprintln!("error: {wrong}");
                return ExitCode::from(2);
            }
        };
        let proof: Arc<Mutex<Option<Proof>>> = Arc::default();
        let installed = proof.clone();
        let configure = move |api: &mut apiserver::Options| {
            api.authorization = Authorization::Rbac;
            api.start = StartObjects {
                roles: true,
                ..StartObjects::default()
            };
            let admission = Admission::new(Vec::<String>::new());
            *installed.lock().unwrap_or_else(PoisonError::into_inner) = Some(admission.install(api));
        };
        let make = |home: Client| async move {
            let proof = proof.lock().unwrap_or_else(PoisonError::into_inner).take();
            prepared.broker(home, proof).await
        };
        osb_host::serve_with(template_broker::NAME, configure, make, &self.host)
    }

    /// What a cluster needs for the home, and for what the broker does there.
    fn print_manifests(&self) -> ExitCode {
        let kinds = if self.on_openshift {
            Served::ByCluster
        } else {
            Served::AsCustomResources
        };
        match self.manifests(kinds) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {}", osb_host::explain(error.as_ref()));
                ExitCode::FAILURE
            }
        }
    }

    fn manifests(&self, kinds: Served) -> Result<String, BoxError> {
        let broker = osb_sdk::Broker::new(template_broker::NAME);
        let mut all = osb_host::manifests(&broker, &self.host)?;
        let namespace = &self.host.home.home_namespace;
        all.extend(template_broker::manifests(kinds, broker.name(), namespace));
        let document = |object| Ok(format!("---\n{}", serde_saphyr::to_string(object)?));
        all.iter().map(document).collect()
    }

    fn prepared(&self) -> Result<Prepared, String> {
        let is_own = self.kubeconfig.is_none() && self.host.home.home.is_own();
        let namespaces = self.namespaces(is_own)?;
        let first = match &namespaces {
            Namespaces::Named(names) => names.first().cloned(),
            Namespaces::Selected(_) => None,
        };
        let templates = match (&self.templates, first) {
            (None, _) => None,
            (Some(_), None) => return Err("--templates needs a --namespace to put the templates into".to_owned()),
            (Some(path), Some(namespace)) => {
                let found = folder::read(path).map_err(|error| osb_host::explain(&error).to_string())?;
                // A set has them in another order than the command line.
                Some((self.namespace.first().cloned().unwrap_or(namespace), found))
            }
        };
        let instances = self
            .instances_in
            .clone()
            .or_else(|| is_own.then(|| NAMESPACE.to_owned()));
        Ok(Prepared {
            is_own,
            kubeconfig: self.kubeconfig.clone(),
            templates,
            namespaces,
            identities: self.identities(is_own)?,
            places: match instances {
                Some(instances) => Places::One(instances),
                None => Places::OfContext(self.default_namespace.clone()),
            },
            ids: if self.uid_as_id { Ids::Uid } else { Ids::Stable },
        })
    }

    fn namespaces(&self, is_own: bool) -> Result<Namespaces, String> {
        if let Some(selector) = &self.namespace_selector {
            return Ok(Namespaces::Selected(selector.clone()));
        }
        if let Some(path) = &self.config {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let names = config::namespaces(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            return Ok(Namespaces::Named(names.into_iter().collect()));
        }
        let mut names: BTreeSet<String> = self.namespace.iter().cloned().collect();
        if names.is_empty() && is_own {
            names.insert(NAMESPACE.to_owned());
        }
        if names.is_empty() {
            return Err("whose templates shall be offered? name their namespace with --namespace".to_owned());
        }
        Ok(Namespaces::Named(names))
    }

    fn identities(&self, is_own: bool) -> Result<Identities, String> {
        let names_somebody = !self.may_name.is_empty() || !self.map.is_empty() || self.unnamed_as.is_some();
        let policy = match (&self.act_as, &self.unnamed_as) {
            (Some(user), _) => Policy::Always(user.clone()),
            (None, Some(user)) => Policy::NamedOr(user.clone()),
            (None, None) if is_own && !names_somebody => Policy::Always(USER.to_owned()),
            (None, None) => Policy::Named,
        };
        let mut allowed: BTreeMap<String, Allowed> = BTreeMap::new();
        type Names = fn(&mut Allowed) -> &mut Vec<String>;
        let lists: [(&[String], Names); 3] = [
            (&self.may_name, |allowed| &mut allowed.users),
            (&self.may_name_group, |allowed| &mut allowed.groups),
            (&self.may_name_extra, |allowed| &mut allowed.extra),
        ];
        for (list, names) in lists {
            for text in list {
                let (platform, name) = text.split_once('=').unwrap_or((DEFAULT_PLATFORM, text));
                names(allowed.entry(platform.to_owned()).or_default()).push(name.to_owned());
            }
        }
        let mapped = self.map.iter().map(|text| {
            let (platform, prefix) = text.split_once('=').filter(|(platform, _)| !platform.is_empty())?;
            Some((platform.to_owned(), prefix.to_owned()))
        });
        let mapped: Option<BTreeMap<String, String>> = mapped.collect();
        Ok(Identities {
            policy,
            allowed,
            mapped: mapped.ok_or("--map expects PLATFORM=PREFIX, such as cloudfoundry=cf:")?,
        })
    }
}

/// What the command line says.
struct Prepared {
    /// Whether the cluster is the home of the broker, in its own process.
    is_own: bool,
    kubeconfig: Option<PathBuf>,
    /// Templates of a folder, and the namespace for them.
    templates: Option<(String, Vec<Found>)>,
    namespaces: Namespaces,
    identities: Identities,
    places: Places,
    ids: Ids,
}

impl Prepared {
    async fn broker(self, home: Client, proof: Option<Proof>) -> Result<osb_sdk::Broker, BoxError> {
        let is_own = self.is_own;
        let client = match &self.kubeconfig {
            None => home.clone(),
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path)?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
                Client::try_from(config)?
            }
        };
        template_controller::install(&client).await?;
        if is_own {
            self.prepare_home(&client).await?;
        }
        if let Some((namespace, found)) = &self.templates {
            folder::load(&client, namespace, found).await?;
        }
        let usual = template_controller::Options::default();
        let controller = template_controller::Options {
            proof: proof.filter(|_| is_own).unwrap_or_default(),
            workers: if is_own { WORKERS } else { usual.workers },
            ..usual
        };
        let options = Options {
            namespaces: self.namespaces,
            ids: self.ids,
            identities: self.identities,
            places: self.places,
            workloads: if is_own { Workloads::Stored } else { Workloads::Run },
            controller: Some(controller),
        };
        if is_own {
            tracing::info!(
                "objects are stored in the broker's own Kubernetes API: no pod runs, and none is waited for"
            );
        }
        Ok(template_broker::broker(home, client, options).await?)
    }

    async fn prepare_home(&self, client: &Client) -> Result<(), BoxError> {
        let templates = match &self.namespaces {
            Namespaces::Named(names) => names.iter().cloned().collect(),
            Namespaces::Selected(_) => Vec::new(),
        };
        if let (Places::One(instances), Policy::Always(user) | Policy::NamedOr(user)) =
            (&self.places, &self.identities.policy)
        {
            local::prepare(client, &templates, instances, user).await?;
        }
        Ok(())
    }
}
