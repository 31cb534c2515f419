//! `osb admin`: what an operator does by hand. Orders go as annotations on the objects themselves, with the rights of
//! whoever gives them; the broker that owns the instance carries them out and writes its audit.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use osb_api::id::{BindingId, InstanceId};
use osb_engine::resource::{Kind, Stored, VERSION};
use osb_engine::{ADMIN_ANNOTATION, ADMIN_ANSWER_ANNOTATION, AdminAnswer, AdminOrder, AdminVerb, Keys, Orphan, names};
use osb_host::{BareHome, DEFAULT_PLATFORM};
use osb_move::{ApiError, Extent, Owner};
use serde_json::{Map, Value, json};

use crate::Usage;
use crate::moving::{Where, extent_of};
use crate::output::{Format, table};

mod adopt;

pub(crate) use adopt::AdoptArgs;

/// So long a broker may take to do what was ordered.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(50);

/// How often an object that changes meanwhile is written to again.
const TRIES: usize = 10;

#[derive(Subcommand)]
pub(crate) enum AdminCommand {
    /// Try now what waits for its next attempt, or begin again what has failed
    Retry(OrderArgs),
    /// Stop the running operation, and say how it ended
    Mark(MarkArgs),
    /// Forget an instance with its bindings, or one binding, without calling the service
    Forget(OrderArgs),
    /// Make an instance known that the service has already
    Adopt(Box<AdoptArgs>),
    /// Print an instance or a binding
    Export(ExportArgs),
    /// List what the services have in their backends and belongs to no instance and no binding
    Orphans(OrphansArgs),
}

/// Which object, and who wants that.
#[derive(clap::Args)]
pub(crate) struct Object {
    /// The id of the instance
    pub(crate) instance: String,

    /// The id of a binding of it, where that is meant
    #[arg(long, value_name = "ID")]
    binding: Option<String>,

    #[command(flatten)]
    pub(crate) by: By,

    #[command(flatten)]
    pub(crate) of: Where,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(clap::Args)]
pub(crate) struct By {
    /// The platform
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PLATFORM)]
    pub(crate) platform: String,

    /// Why, for the audit
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,

    /// Who, for the audit
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) user: String,
}

#[derive(clap::Args)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    object: Object,
}

#[derive(clap::Args)]
pub(crate) struct MarkArgs {
    /// How it ended
    #[arg(value_enum)]
    outcome: MarkedAs,

    #[command(flatten)]
    object: Object,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum MarkedAs {
    /// It did not do what it was to do
    Failed,
    /// What it was to do is done: of an update and of removals
    Succeeded,
}

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    object: Object,

    /// Opens what is sealed: parameters, state, credentials. It needs --reason, and stands in the audit
    #[arg(long)]
    secrets: bool,

    /// The file with the keys that seal secrets [default: the file `key` in the data folder]
    #[arg(long, value_name = "FILE", env = "OSB_KEY_FILE")]
    key_file: Option<std::path::PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct OrphansArgs {
    #[command(flatten)]
    by: By,

    #[command(flatten)]
    of: Where,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn admin(command: AdminCommand) -> Result<()> {
    match command {
        AdminCommand::Retry(args) => ordered(&args.object, AdminVerb::Retry).await,
        AdminCommand::Forget(args) => ordered(&args.object, AdminVerb::Forget).await,
        AdminCommand::Mark(args) => {
            let verb = match args.outcome {
                MarkedAs::Failed => AdminVerb::MarkFailed,
                MarkedAs::Succeeded => AdminVerb::MarkSucceeded,
            };
            ordered(&args.object, verb).await
        }
        AdminCommand::Adopt(args) => adopt::adopt(*args).await,
        AdminCommand::Export(args) => export(args).await,
        AdminCommand::Orphans(args) => orphans(args).await,
    }
}

/// A broker's home, as an administrator reaches it.
pub(crate) struct Admin {
    pub(crate) home: BareHome,
    pub(crate) group: String,
}

/// An object that an order is about.
struct Found {
    path: String,
    stored: Stored,
    json: Value,
}

impl Admin {
    pub(crate) async fn open(of: &Where) -> Result<Self> {
        let (options, _) = of.options()?;
        let running = BareHome::of_running(&options).await?;
        let is_own = options.home.home == osb_host::HomeKind::Embedded;
        let (home, group) = match running {
            Some((home, info)) => (home, Some(info.group)),
            None if is_own => bail!(
                "no broker runs on the data folder {}: start it, since it carries out what is ordered",
                options.data_dir.resolve()?.path().display()
            ),
            None => of.open().await?,
        };
        let group = match extent_of(&home, group.as_deref()).await? {
            Extent::Group(group) => group,
            Extent::Whole => group.context("the running broker does not say its API group")?,
        };
        Ok(Self { home, group })
    }

    pub(crate) fn collection(&self, kind: Kind, platform: &str) -> String {
        let namespace = self.home.layout().namespace(&Owner::Platform(platform.to_owned()));
        format!(
            "/apis/{}/{VERSION}/namespaces/{namespace}/{}",
            self.group,
            kind.plural()
        )
    }

    /// Where orders stand that are about the whole broker.
    pub(crate) fn catalog_record(&self) -> String {
        let system = self.home.layout().namespace(&Owner::System);
        format!(
            "/apis/{}/{VERSION}/namespaces/{system}/catalogrecords/catalog",
            self.group
        )
    }

    async fn find(&self, object: &Object) -> Result<Found> {
        let instance =
            InstanceId::new(&*object.instance).map_err(|error| Usage(format!("the id of the instance {error}")))?;
        let (kind, name) = match &object.binding {
            None => (Kind::Instance, names::instance(&instance)),
            Some(binding) => {
                let binding = BindingId::new(&**binding);
                let binding = binding.map_err(|error| Usage(format!("the id of the binding {error}")))?;
                (Kind::Binding, names::binding(&instance, &binding))
            }
        };
        let path = format!("{}/{name}", self.collection(kind, &object.by.platform));
        let what = if kind == Kind::Binding { "binding" } else { "instance" };
        let Some(json) = self.read(&path).await? else {
            bail!("the platform {} has no such {what}", object.by.platform);
        };
        let stored = serde_json::from_value(json.clone());
        let stored = stored.with_context(|| format!("the {what} cannot be read: `osb fsck` says more"))?;
        Ok(Found { path, stored, json })
    }

    async fn read(&self, path: &str) -> Result<Option<Value>> {
        Ok(self.home.api().find(path).await?)
    }

    /// Writes the order onto the object as it is now, and waits until it was carried out.
    async fn order(&self, object: &Object, verb: AdminVerb) -> Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        let path = self.write_order(object, verb, &id).await?;
        self.wait(&path, &id).await.map(|_| ())
    }

    async fn write_order(&self, object: &Object, verb: AdminVerb, id: &str) -> Result<String> {
        for _ in 0..TRIES {
            let Found { path, stored, .. } = self.find(object).await?;
            let running = stored.running().map(|running| running.id.to_string());
            let order = order(&object.by, verb, id, &stored.spec.incarnation, running);
            let patch = json!({"metadata": {
                "resourceVersion": stored.metadata.resource_version,
                "annotations": {ADMIN_ANNOTATION: serde_json::to_string(&order)?, ADMIN_ANSWER_ANNOTATION: null},
            }});
            match self.home.api().patch(&path, &patch).await {
                Ok(_) => return Ok(path),
                Err(ApiError::Conflict) => {}
                Err(error) => return Err(error).context("the order cannot be given"),
            }
        }
        bail!("the object changes all the time: try again")
    }

    /// Waits until the order does not stand there any more; the answer, if there is one.
    pub(crate) async fn wait(&self, path: &str, id: &str) -> Result<Option<AdminAnswer>> {
        let begin = Instant::now();
        loop {
            let Some(found) = self.read(path).await? else {
                return Ok(None);
            };
            let annotation = |name: &str| found["metadata"]["annotations"][name].as_str();
            if let Some(answer) = annotation(ADMIN_ANSWER_ANNOTATION)
                && let Ok(answer) = serde_json::from_str::<AdminAnswer>(answer)
                && answer.id == id
            {
                return match answer.refused {
                    Some(why) => bail!("the broker refuses: {why}"),
                    None => Ok(Some(answer)),
                };
            }
            if annotation(ADMIN_ANNOTATION).is_none_or(|order| !order.contains(id)) {
                return Ok(None);
            }
            if begin.elapsed() > PATIENCE {
                return Err(self.withdraw(path, &found).await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn withdraw(&self, path: &str, found: &Value) -> anyhow::Error {
        let version = &found["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": {ADMIN_ANNOTATION: null}}});
        match self.home.api().patch(path, &patch).await {
            Ok(_) => anyhow!(
                "no broker has carried it out within {} s, and it was withdrawn: does one run?",
                PATIENCE.as_secs()
            ),
            Err(_) => anyhow!(
                "no broker has carried it out within {} s; it still stands there",
                PATIENCE.as_secs()
            ),
        }
    }
}

pub(crate) fn order(by: &By, verb: AdminVerb, id: &str, incarnation: &str, operation: Option<String>) -> AdminOrder {
    AdminOrder {
        id: id.to_owned(),
        verb,
        incarnation: incarnation.to_owned(),
        operation,
        reason: by.reason.clone(),
        by: by.user.clone(),
    }
}

pub(crate) fn need_reason(by: &By) -> Result<(), Usage> {
    if by.reason.trim().is_empty() {
        return Err(Usage("say why with --reason: it stands in the audit".to_owned()));
    }
    Ok(())
}

async fn ordered(object: &Object, verb: AdminVerb) -> Result<()> {
    need_reason(&object.by)?;
    let admin = Admin::open(&object.of).await?;
    admin.order(object, verb).await?;
    let json = json!({"instance": object.instance, "binding": object.binding, "done": verb});
    object.output.print(&json, || format!("Done: {}.", verb.as_str()))
}

async fn export(args: ExportArgs) -> Result<()> {
    let object = &args.object;
    let admin = Admin::open(&object.of).await?;
    let keys = if args.secrets {
        need_reason(&object.by)?;
        let (mut options, _) = object.of.options()?;
        options.key_file.clone_from(&args.key_file);
        let keys = osb_host::sealing_keys(&options)?;
        let keys = keys.ok_or_else(|| Usage("name the key file with --key-file".to_owned()))?;
        // It stands in the audit before anybody sees anything.
        admin.order(object, AdminVerb::Export).await?;
        Some(keys)
    } else {
        None
    };
    let found = admin.find(object).await?;
    let json = readable(found, keys.as_ref())?;
    object
        .output
        .print(&json, || serde_json::to_string_pretty(&json).unwrap_or_default())
}

async fn orphans(args: OrphansArgs) -> Result<()> {
    need_reason(&args.by)?;
    let admin = Admin::open(&args.of).await?;
    let id = uuid::Uuid::new_v4().to_string();
    let path = admin.catalog_record();
    let order = order(&args.by, AdminVerb::Orphans, &id, "", None);
    let patch = json!({"metadata": {"annotations": {
        ADMIN_ANNOTATION: serde_json::to_string(&order)?, ADMIN_ANSWER_ANNOTATION: null,
    }}});
    let ordered = admin.home.api().patch(&path, &patch).await;
    ordered.context("the order cannot be given")?;
    let answer = admin.wait(&path, &id).await?.unwrap_or_default();
    args.output
        .print(&json!({"count": answer.count, "orphans": answer.orphans}), || {
            let row = |orphan: &Orphan| [orphan.offering.clone(), orphan.name.clone()];
            let rows: Vec<_> = answer.orphans.iter().map(row).collect();
            match answer.count {
                0 => "There are none.".to_owned(),
                count if count > rows.len() => format!("{}… {count} in all", table(["SERVICE", "NAME"], &rows)),
                _ => table(["SERVICE", "NAME"], &rows),
            }
        })
}

/// The object without what its home adds, its sealed values opened or told by their length.
fn readable(found: Found, keys: Option<&Keys>) -> Result<Value> {
    let Found { stored, mut json, .. } = found;
    for own in ["managedFields", "resourceVersion", "uid", "generation"] {
        if let Some(metadata) = json["metadata"].as_object_mut() {
            metadata.remove(own);
        }
    }
    let show = |field: &str, value: &mut Value| -> Result<()> {
        let Some(sealed) = value.as_str() else { return Ok(()) };
        *value = match keys {
            None => json!({"sealed": sealed.len(), "key": osb_engine::sealed_with(sealed)}),
            Some(keys) => {
                let opened = keys.open_field(&stored.metadata.name, &stored.spec.incarnation, field, sealed);
                let plain = opened.with_context(|| format!("the value {field} does not open"))?;
                serde_json::from_slice(&plain).unwrap_or_else(|_| String::from_utf8_lossy(&plain).into())
            }
        };
        Ok(())
    };
    for (pointer, field) in [
        ("/spec/parameters", "parameters"),
        ("/record/data", "data"),
        ("/record/outputs", "outputs"),
        ("/record/operation/request", "request"),
    ] {
        if let Some(value) = json.pointer_mut(pointer) {
            show(field, value)?;
        }
    }
    let none = &mut Map::new();
    for (key, value) in json["record"]["steps"].as_object_mut().unwrap_or(none) {
        show(&format!("step/{key}"), value)?;
    }
    Ok(json)
}
