//! `osb update`: another plan, other parameters, a newer maintenance version.

use anyhow::{Result, bail};
use osb_api::answer::InstanceBody;
use osb_api::catalog::Plan;
use osb_api::id::{InstanceId, OfferingId, PlanId};
use osb_api::request::{Incomplete, MaintenanceVersion, UpdateRequest};
use osb_client::Reply;
use serde_json::json;

use super::{Choice, instance_id, parameters, succeeded, unknown_plan};
use crate::Usage;
use crate::connect::{Broker, Connect};
use crate::progress::Progress;

#[derive(clap::Args)]
pub(crate) struct UpdateArgs {
    /// The id of the instance
    instance: String,

    /// The plan to change to, by name or id [default: it stays]
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,

    /// The parameters to change: a JSON object, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON")]
    parameters: Option<String>,

    /// Upgrades to the maintenance version that the catalog names; a change of plan does so anyway
    #[arg(long)]
    upgrade: bool,

    /// The offering of the instance, by name or id, where the broker does not tell it
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    #[command(flatten)]
    connect: Connect,
}

pub(crate) async fn update(args: UpdateArgs) -> Result<()> {
    let instance = instance_id(&args.instance)?;
    let parameters = args.parameters.as_deref().map(parameters).transpose()?;
    let broker = args.connect.broker()?;
    let catalog = broker.client.catalog().await?;
    let changes_plan = args.plan.is_some();
    let wanted = Choice {
        service: args.service,
        plan: args.plan,
    };
    let choice = broker.target(&instance, wanted).await?;
    let (offering, plan) = choice.of(&catalog)?;
    let request = UpdateRequest {
        service_id: OfferingId::new(&*offering.id)?,
        plan_id: changes_plan.then(|| PlanId::new(&*plan.id)).transpose()?,
        parameters,
        context: None,
        previous_values: None,
        maintenance_info: maintenance(plan, args.upgrade, changes_plan)?,
    };
    let body = broker.update(&instance, &request).await?;
    let json = json!({
        "instance_id": args.instance, "service_id": offering.id, "plan_id": plan.id, "service": offering.name,
        "plan": plan.name, "dashboard_url": body.dashboard_url,
    });
    args.connect.output.print(&json, || {
        format!(
            "Instance {} is up to date: {} {}.",
            args.instance, offering.name, plan.name
        )
    })
}

/// Platforms name the version of the plan that they change to.
fn maintenance(plan: &Plan, upgrade: bool, changes_plan: bool) -> Result<Option<MaintenanceVersion>> {
    let info = plan.maintenance_info.as_ref();
    if upgrade && info.is_none() {
        return Err(Usage(format!("the plan {} has no maintenance version", plan.name)).into());
    }
    let version = |version: &String| MaintenanceVersion {
        version: version.clone(),
    };
    Ok(info
        .filter(|_| upgrade || changes_plan)
        .map(|info| version(&info.version)))
}

impl Broker {
    /// The plan that the instance has afterwards: what is not wanted otherwise is as the broker has it.
    async fn target(&self, instance: &InstanceId, wanted: Choice) -> Result<Choice> {
        let current = self.stored_ids(instance).await?;
        if current.is_none() && wanted.plan.is_none() {
            bail!(unknown_plan(instance));
        }
        let (service, plan) = current.map(|ids| (ids.service.into(), ids.plan.into())).unzip();
        Ok(Choice {
            service: wanted.service.or(service),
            plan: wanted.plan.or(plan),
        })
    }

    /// Returns when the update has succeeded.
    async fn update(&self, instance: &InstanceId, request: &UpdateRequest) -> Result<InstanceBody> {
        let progress = Progress::start(format!("updating {}", instance.as_str()));
        match self.client.update(instance, request, Incomplete::Accepted).await? {
            Reply::Done(body) | Reply::Created(body) => Ok(body),
            Reply::Accepted { operation, body } => {
                let end = self.wait_for_instance(instance, operation, &progress).await?;
                succeeded("update", end)?;
                Ok(body)
            }
        }
    }
}
