//! The requests of the scenarios.

use anyhow::{Context as _, Result, bail};
use loadgen::http::escape;
use serde_json::{Value, json};

use crate::drive::{Client, unexpected};

/// A plan to order, with ready-made bodies.
pub(crate) struct Plan {
    query: String,
    plain: Vec<u8>,
    with_parameters: Vec<u8>,
    bind: Vec<u8>,
}

/// Whether a provision has parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    With,
    Without,
}

impl Plan {
    pub(crate) fn new(service: &str, plan: &str, parameters: &Value) -> Self {
        let mut body = json!({
            "service_id": service,
            "plan_id": plan,
            "organization_guid": "4c2f1d0e-0000-4000-8000-00000000000a",
            "space_guid": "4c2f1d0e-0000-4000-8000-00000000000b",
            "context": {"platform": "cloudfoundry", "organization_guid": "4c2f1d0e-0000-4000-8000-00000000000a",
                "space_guid": "4c2f1d0e-0000-4000-8000-00000000000b", "instance_name": "bench"},
        });
        let plain = body.to_string().into_bytes();
        body["parameters"] = parameters.clone();
        let bind = json!({"service_id": service, "plan_id": plan,
            "bind_resource": {"app_guid": "4c2f1d0e-0000-4000-8000-00000000000c"}});
        Self {
            query: format!("service_id={}&plan_id={}", escape(service), escape(plan)),
            plain,
            with_parameters: body.to_string().into_bytes(),
            bind: bind.to_string().into_bytes(),
        }
    }

    /// The plan of this name in the broker's catalog.
    pub(crate) async fn find(client: &mut Client<'_>, name: &str, parameters: &Value) -> Result<Self> {
        let answer = client.call("GET", "/v2/catalog", None).await?;
        if answer.status != 200 {
            bail!(unexpected("GET", "/v2/catalog", &answer));
        }
        let catalog: Value = serde_json::from_slice(answer.body)?;
        let (service, plan) = find_plan(&catalog, name)
            .with_context(|| format!("the reference broker has no plan {name:?}: {}", plan_names(&catalog)))?;
        Ok(Self::new(&service, &plan, parameters))
    }

    fn body(&self, parameters: Parameters) -> &[u8] {
        match parameters {
            Parameters::With => &self.with_parameters,
            Parameters::Without => &self.plain,
        }
    }

    /// A provision that is answered with a 202.
    pub(crate) async fn accept(&self, client: &mut Client<'_>, number: u64, parameters: Parameters) -> Result<()> {
        let path = format!("{}?accepts_incomplete=true", instance(number));
        client.expect(202, "PUT", &path, Some(self.body(parameters))).await
    }

    /// A provision until it is known to have succeeded: by its answer, or by polls.
    pub(crate) async fn carry_out(&self, client: &mut Client<'_>, number: u64, parameters: Parameters) -> Result<()> {
        let path = format!("{}?accepts_incomplete=true", instance(number));
        let answer = client.call("PUT", &path, Some(self.body(parameters))).await?;
        match answer.status {
            201 => Ok(()),
            202 => {
                let body: Value = serde_json::from_slice(answer.body)?;
                let operation = body["operation"].as_str().unwrap_or_default().to_owned();
                self.poll(client, number, &operation).await
            }
            _ => bail!(unexpected("PUT", &path, &answer)),
        }
    }

    async fn poll(&self, client: &mut Client<'_>, number: u64, operation: &str) -> Result<()> {
        let path = format!(
            "{}/last_operation?{}&operation={}",
            instance(number),
            self.query,
            escape(operation)
        );
        loop {
            let answer = client.call("GET", &path, None).await?;
            match state(answer.body).as_deref() {
                Some("succeeded") => return Ok(()),
                Some("in progress") if answer.status == 200 => {}
                _ => bail!(unexpected("GET", &path, &answer)),
            }
        }
    }

    /// A poll of an instance that is complete.
    pub(crate) async fn last_operation(&self, client: &mut Client<'_>, number: u64) -> Result<()> {
        let path = format!("{}/last_operation?{}", instance(number), self.query);
        let answer = client.call("GET", &path, None).await?;
        // Looked for as text: parsing the answer would cost the generator more than asking.
        let done = answer.body.windows(11).any(|text| text == b"\"succeeded\"");
        if answer.status != 200 || !done {
            bail!(unexpected("GET", &path, &answer));
        }
        Ok(())
    }

    /// A bind that is answered with the credentials.
    pub(crate) async fn bind(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        client
            .expect(201, "PUT", &self::binding(number, binding), Some(&self.bind))
            .await
    }

    /// An unbind that is answered when it is done.
    pub(crate) async fn unbind(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        let path = format!("{}?{}", self::binding(number, binding), self.query);
        client.expect(200, "DELETE", &path, None).await
    }
}

/// The path of an instance: ids look as those of platforms do.
fn instance(number: u64) -> String {
    format!("/v2/service_instances/5a1c1d0e-0000-4000-8000-{number:012x}")
}

fn binding(number: u64, binding: u64) -> String {
    format!(
        "{}/service_bindings/7b2d1d0e-0000-4000-8000-{binding:012x}",
        instance(number)
    )
}

fn state(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value["state"].as_str().map(str::to_owned)
}

/// The ids of an offering and its plan of this name.
fn find_plan(catalog: &Value, name: &str) -> Option<(String, String)> {
    catalog["services"].as_array()?.iter().find_map(|service| {
        let plan = service["plans"].as_array()?.iter().find(|plan| plan["name"] == name)?;
        Some((service["id"].as_str()?.to_owned(), plan["id"].as_str()?.to_owned()))
    })
}

fn plan_names(catalog: &Value) -> String {
    let services = catalog["services"].as_array().into_iter().flatten();
    let plans = services.flat_map(|service| service["plans"].as_array().into_iter().flatten());
    plans
        .filter_map(|plan| plan["name"].as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_found_by_its_name() {
        let catalog = json!({"services": [
            {"id": "s1", "plans": [{"id": "p1", "name": "a"}]},
            {"id": "s2", "plans": [{"id": "p2", "name": "b"}, {"id": "p3", "name": "c"}]},
        ]});
        assert_eq!(find_plan(&catalog, "c"), Some(("s2".to_owned(), "p3".to_owned())));
        assert_eq!(find_plan(&catalog, "d"), None);
        assert_eq!(plan_names(&catalog), "a, b, c");
    }
}
