//! A catalog from JSON. An error names the place; unknown members are kept as extensions.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Catalog, DashboardClient, MaintenanceInfo, Offering, Plan, Requires, Schemas};
use crate::Object;
use crate::json::{BodyError, Members};

impl Catalog {
    /// Reads a catalog. Its rules are another step, [`Catalog::check`].
    ///
    /// # Errors
    /// [`BodyError`] with the member that is missing or of a wrong type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BodyError> {
        catalog(Members::read(bytes)?)
    }
}

impl<'de> Deserialize<'de> for Catalog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::of(Value::deserialize(deserializer)?)
            .and_then(catalog)
            .map_err(D::Error::custom)
    }
}

fn catalog(mut body: Members) -> Result<Catalog, BodyError> {
    let services = body.required("services", Members::list)?;
    Ok(Catalog {
        services: services.into_iter().map(offering).collect::<Result<_, _>>()?,
        extensions: body.into_object(),
    })
}

fn offering(mut body: Members) -> Result<Offering, BodyError> {
    let plans = body.required("plans", Members::list)?;
    Ok(Offering {
        id: body.required("id", Members::string)?,
        name: body.required("name", Members::string)?,
        description: body.required("description", Members::string)?,
        tags: body.strings("tags")?.unwrap_or_default(),
        requires: requires(&mut body)?,
        bindable: body.required("bindable", Members::boolean)?,
        instances_retrievable: body.boolean("instances_retrievable")?.unwrap_or(false),
        bindings_retrievable: body.boolean("bindings_retrievable")?.unwrap_or(false),
        allow_context_updates: body.boolean("allow_context_updates")?.unwrap_or(false),
        metadata: body.object("metadata")?.unwrap_or_default(),
        dashboard_client: body.members("dashboard_client")?.map(dashboard_client).transpose()?,
        plan_updateable: body.boolean("plan_updateable")?.unwrap_or(false),
        plans: plans.into_iter().map(plan).collect::<Result<_, _>>()?,
        extensions: body.into_object(),
    })
}

fn requires(body: &mut Members) -> Result<Vec<Requires>, BodyError> {
    let permissions = body.strings("requires")?.unwrap_or_default();
    let read = |permission: String| match permission.as_str() {
        "syslog_drain" => Ok(Requires::SyslogDrain),
        "route_forwarding" => Ok(Requires::RouteForwarding),
        "volume_mount" => Ok(Requires::VolumeMount),
        _ => Err(body.unusable(
            "requires",
            &"has to hold syslog_drain, route_forwarding or volume_mount only",
        )),
    };
    permissions.into_iter().map(read).collect()
}

fn dashboard_client(mut body: Members) -> Result<DashboardClient, BodyError> {
    Ok(DashboardClient {
        id: body.required("id", Members::string)?,
        secret: body.required("secret", Members::string)?,
        redirect_uri: body.string("redirect_uri")?,
    })
}

fn plan(mut body: Members) -> Result<Plan, BodyError> {
    Ok(Plan {
        id: body.required("id", Members::string)?,
        name: body.required("name", Members::string)?,
        description: body.required("description", Members::string)?,
        metadata: body.object("metadata")?.unwrap_or_default(),
        free: body.boolean("free")?.unwrap_or(true),
        bindable: body.boolean("bindable")?,
        binding_rotatable: body.boolean("binding_rotatable")?.unwrap_or(false),
        plan_updateable: body.boolean("plan_updateable")?,
        schemas: body.members("schemas")?.map(schemas).transpose()?.unwrap_or_default(),
        maximum_polling_duration: body.integer("maximum_polling_duration")?,
        maintenance_info: body.members("maintenance_info")?.map(maintenance_info).transpose()?,
        extensions: body.into_object(),
    })
}

fn maintenance_info(mut body: Members) -> Result<MaintenanceInfo, BodyError> {
    Ok(MaintenanceInfo {
        version: body.required("version", Members::string)?,
        description: body.string("description")?,
    })
}

fn schemas(mut body: Members) -> Result<Schemas, BodyError> {
    let mut schemas = Schemas::default();
    if let Some(mut instance) = body.members("service_instance")? {
        schemas.instance_create = parameters(&mut instance, "create")?;
        schemas.instance_update = parameters(&mut instance, "update")?;
    }
    if let Some(mut binding) = body.members("service_binding")? {
        schemas.binding_create = parameters(&mut binding, "create")?;
    }
    Ok(schemas)
}

fn parameters(body: &mut Members, verb: &str) -> Result<Option<Object>, BodyError> {
    body.members(verb)?
        .map_or(Ok(None), |mut schema| schema.object("parameters"))
}
