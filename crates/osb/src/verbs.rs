//! The client verbs.

mod update;

pub(crate) use update::{UpdateArgs, update};

use std::collections::HashMap;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use osb_api::Object;
use osb_api::answer::{BindingBody, LastOperation};
use osb_api::catalog::{Catalog, Offering, Plan};
use osb_api::id::{BindingId, InstanceId, OfferingId, OperationId, PlanId};
use osb_api::request::{
    BindRequest, FetchQuery, Incomplete, MaintenanceVersion, PollQuery, ProvisionRequest, RemovalQuery,
};
use osb_client::{End, Reply, Wait};
use serde::Serialize;
use serde_json::json;

use crate::Usage;
use crate::connect::{Broker, Connect};
use crate::output::{members, table};
use crate::progress::Progress;
use crate::resources::{Resource, Resources};

/// The specification wants to know an organization and a space; on a command line there are none.
const ORGANIZATION: &str = "osb-cli";

/// The largest file of parameters: what brokers take.
const MAX_PARAMETERS: u64 = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct CatalogArgs {
    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
pub(crate) struct InstancesArgs {
    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
pub(crate) struct ProvisionArgs {
    /// The id of the instance [default: a new one]
    id: Option<String>,

    #[command(flatten)]
    choice: Choice,

    /// The parameters: a JSON object, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON")]
    parameters: Option<String>,

    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
pub(crate) struct BindArgs {
    /// The id of the instance
    instance: String,

    /// The id of the binding [default: a new one]
    #[arg(long)]
    id: Option<String>,

    /// The parameters: a JSON object, @FILE, or - for stdin [default: none; of a rotation those of the old binding]
    #[arg(long, short, value_name = "JSON")]
    parameters: Option<String>,

    /// The binding whose place the new one takes; both work until the old one is unbound
    #[arg(long, value_name = "BINDING")]
    rotates: Option<String>,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
pub(crate) struct UnbindArgs {
    /// The id of the instance
    instance: String,

    /// The id of the binding [default: the only one that the instance has]
    binding: Option<String>,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
pub(crate) struct DeprovisionArgs {
    /// The id of the instance
    instance: String,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connect: Connect,
}

/// Which plan.
#[derive(clap::Args)]
struct Choice {
    /// The offering, by name or id [default: the instance's; of a new one the first]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// The plan, by name or id [default: the instance's; of a new one the first that can be bound]
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
}

/// An offering and a plan of it, as their ids.
struct Ids {
    service: OfferingId,
    plan: PlanId,
}

pub(crate) async fn catalog(args: CatalogArgs) -> Result<()> {
    let catalog = args.connect.broker()?.client.catalog().await?;
    args.connect.output.print(&catalog, || {
        let row = |offering: &Offering, plan: &Plan| {
            let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
            let bindable = plan.bindable.unwrap_or(offering.bindable);
            [
                offering.name.clone(),
                plan.name.clone(),
                yes(bindable),
                yes(plan.free),
                plan.description.clone(),
            ]
        };
        let offerings = catalog.services.iter();
        let rows: Vec<_> = offerings
            .flat_map(|offering| offering.plans.iter().map(move |plan| row(offering, plan)))
            .collect();
        table(["SERVICE", "PLAN", "BINDABLE", "FREE", "DESCRIPTION"], &rows)
    })
}

pub(crate) async fn provision(args: ProvisionArgs) -> Result<()> {
    let id = args.id.unwrap_or_else(new_id);
    let instance = instance_id(&id)?;
    let parameters = args.parameters.as_deref().map(parameters).transpose()?;
    let broker = args.connect.broker()?;
    let catalog = broker.client.catalog().await?;
    let (offering, plan) = args.choice.of(&catalog)?;
    let request = ProvisionRequest {
        service_id: OfferingId::new(&*offering.id)?,
        plan_id: PlanId::new(&*plan.id)?,
        organization_guid: ORGANIZATION.to_owned(),
        space_guid: ORGANIZATION.to_owned(),
        context: None,
        parameters,
        maintenance_info: plan.maintenance_info.as_ref().map(|info| MaintenanceVersion {
            version: info.version.clone(),
        }),
    };
    let progress = Progress::start(format!("provisioning {id}"));
    let reply = broker
        .client
        .provision(&instance, &request, Incomplete::Accepted)
        .await?;
    let (created, body) = match reply {
        Reply::Done(body) => (false, body),
        Reply::Created(body) => (true, body),
        Reply::Accepted { operation, body } => {
            let end = broker.wait_for_instance(&instance, operation, &progress).await?;
            succeeded("provision", end)?;
            (true, body)
        }
    };
    drop(progress);
    let json = json!({
        "instance_id": id, "service_id": offering.id, "plan_id": plan.id, "service": offering.name, "plan": plan.name,
        "created": created, "dashboard_url": body.dashboard_url,
    });
    args.connect.output.print(&json, || {
        let what = if created { "is ready" } else { "was there already" };
        format!("Instance {id} {what}: {} {}.", offering.name, plan.name)
    })
}

pub(crate) async fn bind(args: BindArgs) -> Result<()> {
    let instance = instance_id(&args.instance)?;
    let id = args.id.unwrap_or_else(new_id);
    let binding = binding_id(&id)?;
    let predecessor_binding_id = args.rotates.as_deref().map(binding_id).transpose()?;
    let parameters = args.parameters.as_deref().map(parameters).transpose()?;
    let broker = args.connect.broker()?;
    let ids = broker.ids(&instance, &args.choice).await?;
    let request = BindRequest {
        service_id: Some(ids.service),
        plan_id: Some(ids.plan),
        context: None,
        app_guid: None,
        bind_resource: None,
        parameters,
        predecessor_binding_id,
    };
    let progress = Progress::start(format!("binding {}", args.instance));
    let (created, body) = match broker
        .client
        .bind(&instance, &binding, &request, Incomplete::Accepted)
        .await?
    {
        Reply::Done(body) => (false, body),
        Reply::Created(body) => (true, body),
        Reply::Accepted { operation, .. } => {
            let query = PollQuery {
                operation,
                ..PollQuery::default()
            };
            let say = |operation: &LastOperation| progress.say(operation.description.as_deref());
            let end = broker
                .client
                .wait_for_binding(&instance, &binding, &query, &Wait::default(), say)
                .await?;
            succeeded("bind", end)?;
            let fetched = broker
                .client
                .fetch_binding(&instance, &binding, &FetchQuery::default())
                .await;
            (
                true,
                fetched
                    .context("the binding is made, but its credentials cannot be fetched")?
                    .body,
            )
        }
    };
    drop(progress);
    let shown = Shown {
        instance_id: &args.instance,
        binding_id: &id,
        created,
        body: &body,
    };
    args.connect.output.print(&shown, || {
        let credentials = body.credentials.as_ref().map(members).unwrap_or_default();
        format!("Binding {id} of {}:\n{credentials}", args.instance)
    })
}

#[derive(Serialize)]
struct Shown<'a> {
    instance_id: &'a str,
    binding_id: &'a str,
    created: bool,
    #[serde(flatten)]
    body: &'a BindingBody,
}

pub(crate) async fn unbind(args: UnbindArgs) -> Result<()> {
    let instance = instance_id(&args.instance)?;
    let broker = args.connect.broker()?;
    let id = match args.binding {
        Some(id) => id,
        None => broker.only_binding(&args.instance).await?,
    };
    let binding = binding_id(&id)?;
    let ids = broker.ids(&instance, &args.choice).await?;
    let query = RemovalQuery {
        service_id: ids.service,
        plan_id: ids.plan,
    };
    let progress = Progress::start(format!("unbinding {id}"));
    if let Reply::Accepted { operation, .. } = broker
        .client
        .unbind(&instance, &binding, &query, Incomplete::Accepted)
        .await?
    {
        let query = PollQuery {
            operation,
            ..PollQuery::default()
        };
        let say = |operation: &LastOperation| progress.say(operation.description.as_deref());
        let end = broker
            .client
            .wait_for_binding(&instance, &binding, &query, &Wait::default(), say)
            .await?;
        removed("unbind", end)?;
    }
    drop(progress);
    let json = json!({"instance_id": args.instance, "binding_id": id, "removed": true});
    args.connect
        .output
        .print(&json, || format!("Binding {id} of {} is removed.", args.instance))
}

pub(crate) async fn deprovision(args: DeprovisionArgs) -> Result<()> {
    let instance = instance_id(&args.instance)?;
    let broker = args.connect.broker()?;
    let ids = broker.ids(&instance, &args.choice).await?;
    let query = RemovalQuery {
        service_id: ids.service,
        plan_id: ids.plan,
    };
    let progress = Progress::start(format!("deprovisioning {}", args.instance));
    if let Reply::Accepted { operation, .. } = broker
        .client
        .deprovision(&instance, &query, Incomplete::Accepted)
        .await?
    {
        let end = broker.wait_for_instance(&instance, operation, &progress).await?;
        removed("deprovision", end)?;
    }
    drop(progress);
    let json = json!({"instance_id": args.instance, "removed": true});
    args.connect
        .output
        .print(&json, || format!("Instance {} is removed.", args.instance))
}

pub(crate) async fn instances(args: InstancesArgs) -> Result<()> {
    let broker = args.connect.broker()?;
    let Some((folder, info)) = &broker.local else {
        let text =
            "the Open Service Broker API has no list: only the instances of the broker on this machine can be shown";
        return Err(Usage(text.to_owned()).into());
    };
    let resources = Resources::open(folder, info).await?;
    let (instances, bindings) = (resources.instances().await?, resources.bindings(None).await?);
    let catalog = broker.client.catalog().await?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for binding in &bindings {
        *counts.entry(&binding.spec.instance_id).or_default() += 1;
    }
    let rows: Vec<InstanceRow<'_>> = instances
        .iter()
        .map(|instance| InstanceRow::of(instance, &catalog, &counts))
        .collect();
    args.connect.output.print(&rows, || {
        let cells = |row: &InstanceRow<'_>| {
            let count = row.bindings.to_string();
            [
                row.instance_id,
                row.service,
                row.plan,
                row.state,
                &count,
                row.created.unwrap_or_default(),
            ]
            .map(str::to_owned)
        };
        let rows: Vec<_> = rows.iter().map(cells).collect();
        table(["INSTANCE", "SERVICE", "PLAN", "STATE", "BINDINGS", "CREATED"], &rows)
    })
}

#[derive(Serialize)]
struct InstanceRow<'a> {
    instance_id: &'a str,
    service: &'a str,
    plan: &'a str,
    state: &'a str,
    bindings: usize,
    created: Option<&'a str>,
}

impl<'a> InstanceRow<'a> {
    fn of(instance: &'a Resource, catalog: &'a Catalog, counts: &HashMap<&str, usize>) -> Self {
        let spec = &instance.spec;
        let offering = catalog.services.iter().find(|offering| offering.id == spec.service_id);
        let plan = offering.and_then(|offering| offering.plans.iter().find(|plan| plan.id == spec.plan_id));
        Self {
            instance_id: &spec.instance_id,
            service: offering.map_or(&spec.service_id, |offering| &offering.name),
            plan: plan.map_or(&spec.plan_id, |plan| &plan.name),
            state: instance.state(),
            bindings: counts.get(spec.instance_id.as_str()).copied().unwrap_or_default(),
            created: instance.metadata.creation_timestamp.as_deref(),
        }
    }
}

impl Broker {
    async fn wait_for_instance(
        &self,
        instance: &InstanceId,
        operation: Option<OperationId>,
        progress: &Progress,
    ) -> Result<End> {
        let query = PollQuery {
            operation,
            ..PollQuery::default()
        };
        let say = |operation: &LastOperation| progress.say(operation.description.as_deref());
        Ok(self
            .client
            .wait_for_instance(instance, &query, &Wait::default(), say)
            .await?)
    }

    /// Offering and plan of an instance: as given, else as the broker on this machine has them, else as any broker
    /// tells them, else the only ones that there are.
    async fn ids(&self, instance: &InstanceId, choice: &Choice) -> Result<Ids> {
        if choice.service.is_none()
            && choice.plan.is_none()
            && let Some(ids) = self.stored_ids(instance).await?
        {
            return Ok(ids);
        }
        let catalog = self.client.catalog().await?;
        let plans: usize = catalog.services.iter().map(|offering| offering.plans.len()).sum();
        if choice.plan.is_none() && plans > 1 {
            bail!(unknown_plan(instance));
        }
        let (offering, plan) = choice.of(&catalog)?;
        Ok(Ids {
            service: OfferingId::new(&*offering.id)?,
            plan: PlanId::new(&*plan.id)?,
        })
    }

    async fn stored_ids(&self, instance: &InstanceId) -> Result<Option<Ids>> {
        if let Some((folder, info)) = &self.local {
            let found = Resources::open(folder, info).await?.instance(instance.as_str()).await?;
            let ids = |spec: crate::resources::Spec| -> Result<Ids> {
                Ok(Ids {
                    service: OfferingId::new(spec.service_id)?,
                    plan: PlanId::new(spec.plan_id)?,
                })
            };
            return found.map(|found| ids(found.spec)).transpose();
        }
        match self.client.fetch_instance(instance, &FetchQuery::default()).await {
            Ok(found) => Ok(found
                .service_id
                .zip(found.plan_id)
                .map(|(service, plan)| Ids { service, plan })),
            // Brokers need not have this call.
            Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 410 | 422)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn only_binding(&self, instance: &str) -> Result<String> {
        let Some((folder, info)) = &self.local else {
            return Err(
                Usage("name the binding: only the broker on this machine tells which there are".to_owned()).into(),
            );
        };
        let bindings = Resources::open(folder, info).await?.bindings(Some(instance)).await?;
        let mut ids: Vec<String> = bindings
            .into_iter()
            .filter_map(|binding| binding.spec.binding_id)
            .collect();
        match (ids.pop(), ids.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => bail!("the instance {instance:?} has no bindings"),
            (Some(last), _) => {
                ids.push(last);
                Err(Usage(format!(
                    "{instance:?} has several bindings, name one: {}",
                    ids.join(", ")
                ))
                .into())
            }
        }
    }
}

impl Choice {
    /// The plan that is meant, of a catalog.
    fn of<'a>(&self, catalog: &'a Catalog) -> Result<(&'a Offering, &'a Plan)> {
        let names = |names: Vec<&str>| names.join(", ");
        let offering = match &self.service {
            Some(wanted) => catalog
                .services
                .iter()
                .find(|offering| offering.id == *wanted || offering.name == *wanted),
            // A plan's id is unique in the world, so it also tells the offering.
            None => {
                let has = |offering: &&Offering| {
                    self.plan
                        .as_ref()
                        .is_none_or(|wanted| find_plan(offering, wanted).is_some())
                };
                catalog.services.iter().find(has).or_else(|| catalog.services.first())
            }
        };
        let known = || names(catalog.services.iter().map(|offering| offering.name.as_str()).collect());
        let offering =
            offering.ok_or_else(|| Usage(format!("there is no such service; the catalog has: {}", known())))?;
        let plan = match &self.plan {
            Some(wanted) => find_plan(offering, wanted),
            None => {
                let bindable = |plan: &&Plan| plan.bindable.unwrap_or(offering.bindable);
                offering.plans.iter().find(bindable).or_else(|| offering.plans.first())
            }
        };
        let known = || names(offering.plans.iter().map(|plan| plan.name.as_str()).collect());
        let plan = plan.ok_or_else(|| Usage(format!("there is no such plan; {} has: {}", offering.name, known())))?;
        Ok((offering, plan))
    }
}

fn find_plan<'a>(offering: &'a Offering, wanted: &str) -> Option<&'a Plan> {
    offering
        .plans
        .iter()
        .find(|plan| plan.id == wanted || plan.name == wanted)
}

fn succeeded(verb: &str, end: End) -> Result<()> {
    match end {
        End::Succeeded(_) => Ok(()),
        End::Failed(last) => bail!(
            "the {verb} has failed: {}{}{}",
            last.description.as_deref().unwrap_or("the broker does not say why"),
            if last.instance_usable == Some(false) {
                " The instance cannot be used any more."
            } else {
                ""
            },
            if last.update_repeatable == Some(false) {
                " The same update would fail again."
            } else {
                ""
            },
        ),
        End::Gone => bail!("the {verb} was overtaken by a removal"),
        End::GaveUp => bail!("the {verb} is still going on; the same command waits for it again"),
    }
}

fn removed(verb: &str, end: End) -> Result<()> {
    if end == End::Gone { Ok(()) } else { succeeded(verb, end) }
}

fn unknown_plan(instance: &InstanceId) -> String {
    format!(
        "there is no instance {:?}, or the broker does not tell its plan: name it with --service and --plan",
        instance.as_str()
    )
}

fn instance_id(id: &str) -> Result<InstanceId, Usage> {
    InstanceId::new(id).map_err(|error| Usage(format!("the id of the instance {error}")))
}

fn binding_id(id: &str) -> Result<BindingId, Usage> {
    BindingId::new(id).map_err(|error| Usage(format!("the id of the binding {error}")))
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// JSON, `@FILE` or `-`. What is wrong is told without any of it: parameters hold passwords.
pub(crate) fn parameters(text: &str) -> Result<Object> {
    let bytes = match text.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?;
            bounded(file).with_context(|| format!("cannot read {path}"))?
        }
        None if text == "-" => bounded(std::io::stdin().lock()).context("cannot read stdin")?,
        None => text.as_bytes().to_vec(),
    };
    let parsed = serde_json::from_slice(&bytes).map_err(|error| {
        Usage(format!(
            "the parameters are no JSON object: look at line {}, column {}",
            error.line(),
            error.column()
        ))
    });
    Ok(parsed?)
}

fn bounded(reader: impl std::io::Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_PARAMETERS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PARAMETERS {
        bail!("it is larger than {MAX_PARAMETERS} bytes");
    }
    Ok(bytes)
}
