//! `osb admin adopt`: an instance that the service has already becomes one of the broker's.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use osb_api::id::InstanceId;
use osb_engine::resource::{FINALIZER, Kind, Record, VERSION};
use osb_engine::{ADMIN_ANNOTATION, AdminVerb, Keys, names};
use osb_move::ApiError;
use serde_json::{Value, json};

use super::{Admin, By, need_reason, order};
use crate::Usage;
use crate::moving::Where;
use crate::output::Format;
use crate::verbs::parameters;

#[derive(clap::Args)]
pub(crate) struct AdoptArgs {
    /// The id that the instance gets
    instance: String,

    /// The offering, by name or id
    #[arg(long, value_name = "NAME")]
    service: String,

    /// The plan, by name or id
    #[arg(long, value_name = "NAME")]
    plan: String,

    /// The state as the service stores it: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    state: String,

    /// The version of that state
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    state_version: u32,

    /// The parameters that it was made with: a JSON object or @FILE
    #[arg(long, short, value_name = "JSON")]
    parameters: Option<String>,

    /// The incarnation in the names that the broker has given to what is in the backend, such as `osb admin export` and
    /// the report of orphans show it [default: a new one]
    #[arg(long, value_name = "TEXT")]
    incarnation: Option<String>,

    /// The file with the keys that seal secrets [default: the file `key` in the data folder]
    #[arg(long, value_name = "FILE", env = "OSB_KEY_FILE")]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    by: By,

    #[command(flatten)]
    of: Where,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(super) async fn adopt(args: AdoptArgs) -> Result<()> {
    need_reason(&args.by)?;
    let id = InstanceId::new(&*args.instance).map_err(|error| Usage(format!("the id of the instance {error}")))?;
    let (mut options, _) = args.of.options()?;
    options.key_file.clone_from(&args.key_file);
    let keys = osb_host::sealing_keys(&options)?;
    let keys = keys.ok_or_else(|| Usage("name the key file with --key-file".to_owned()))?;
    let admin = Admin::open(&args.of).await?;
    let (service, plan) = admin.plan(&keys, &args.service, &args.plan).await?;
    let incarnation = match &args.incarnation {
        Some(given) if is_incarnation(given) => given.clone(),
        Some(_) => return Err(Usage("an incarnation has 26 of the characters a-z and 2-7".to_owned()).into()),
        None => names::incarnation().map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?,
    };
    let name = names::instance(&id);
    let seal = |field: &str, value: &Value| keys.seal_field(&name, &incarnation, field, value.to_string().as_bytes());
    let given = args.parameters.as_deref().map(parameters).transpose()?;
    let sealed = given
        .map(|given| seal("parameters", &json!({"parameters": given})))
        .transpose()?;
    let state = Value::Object(parameters(&args.state)?);
    let order_id = uuid::Uuid::new_v4().to_string();
    let note = order(&args.by, AdminVerb::Adopt, &order_id, &incarnation, None);
    let mut object = json!({
        "apiVersion": format!("{}/{VERSION}", admin.group), "kind": Kind::Instance.name(),
        "metadata": {
            "name": name, "finalizers": [FINALIZER],
            "annotations": {ADMIN_ANNOTATION: serde_json::to_string(&note)?},
        },
        "spec": {"instanceId": id, "incarnation": incarnation, "serviceId": service, "planId": plan},
        "record": {
            // Whoever owns the shard takes it over with its first write.
            "epoch": 0, "counter": 1, "dataVersion": args.state_version,
            "data": seal("data", &state)?, "outputs": seal("outputs", &json!({}))?,
            "history": [{
                "id": Record::operation_id(&incarnation, 1), "verb": "Provision", "outcome": "Succeeded",
                "description": "Adopted by an operator.",
            }],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Adopted"}]},
    });
    if let Some(sealed) = sealed {
        object["spec"]["parameters"] = sealed.into();
    }
    let collection = admin.collection(Kind::Instance, &args.by.platform);
    match admin.home.api().create(&collection, &object).await {
        Ok(_) => {}
        Err(ApiError::AlreadyExists) => bail!("the instance {:?} is there already", args.instance),
        Err(error) => return Err(error).context("the instance cannot be made"),
    }
    admin.wait(&format!("{collection}/{name}"), &order_id).await?;
    let json = json!({"instance": args.instance, "incarnation": incarnation, "service": service, "plan": plan});
    args.output.print(&json, || {
        format!("Instance {} is known to the broker now.", args.instance)
    })
}

fn is_incarnation(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

impl Admin {
    /// The ids of an offering and its plan, of the catalog that the broker serves.
    async fn plan(&self, keys: &Keys, service: &str, plan: &str) -> Result<(String, String)> {
        let found = self
            .read(&self.catalog_record())
            .await?
            .context("the broker has not told its catalog yet")?;
        let sealed = found["spec"]["catalog"].as_str().unwrap_or_default();
        let plain = keys.open_field("catalog", "", "catalog", sealed);
        let served: Value = serde_json::from_slice(&plain.context("the catalog served last does not open")?)?;
        let is = |found: &&Value, wanted: &str| found["id"] == wanted || found["name"] == wanted;
        let none = Vec::new();
        let services = served["catalog"]["services"].as_array().unwrap_or(&none);
        let offering = services.iter().find(|offering| is(offering, service));
        let offering = offering.ok_or_else(|| Usage("the catalog has no such service".to_owned()))?;
        let plans = offering["plans"].as_array().unwrap_or(&none);
        let plan = plans.iter().find(|found| is(found, plan));
        let plan = plan.ok_or_else(|| Usage("the service has no such plan".to_owned()))?;
        let id = |of: &Value| of["id"].as_str().unwrap_or_default().to_owned();
        Ok((id(offering), id(plan)))
    }
}
