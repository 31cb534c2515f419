//! The requests of the scenarios.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loadgen::http::escape;
use serde_json::{Value, json};

use crate::drive::{Client, unexpected};

/// How long after a 202 the first poll comes; each next one waits twice as long. Polls without a pause would measure
/// little but polls.
const FIRST_POLL: Duration = Duration::from_millis(5);

/// A plan to order, with ready-made bodies.
#[derive(Clone)]
pub(crate) struct Plan {
    service: String,
    id: String,
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

/// How something that changes is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// With the outcome and this status.
    Now(u16),
    /// With 202.
    Later,
    /// With this status or 202.
    Either(u16),
}

impl Answered {
    fn takes(self, status: u16) -> bool {
        match self {
            Self::Now(expected) => status == expected,
            Self::Later => status == 202,
            Self::Either(expected) => status == expected || status == 202,
        }
    }
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
            service: service.to_owned(),
            id: plan.to_owned(),
            query: format!("service_id={}&plan_id={}", escape(service), escape(plan)),
            plain,
            with_parameters: body.to_string().into_bytes(),
            bind: bind.to_string().into_bytes(),
        }
    }

    /// The plan of this name in a catalog.
    pub(crate) fn named(catalog: &Value, name: &str, parameters: &Value) -> Result<Self> {
        let (service, plan) = find_plan(catalog, name)
            .with_context(|| format!("the reference broker has no plan {name:?}: {}", plan_names(catalog)))?;
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
        let body = self.body(parameters);
        self.change(client, "PUT", &instance(number), body, Answered::Either(201))
            .await
    }

    /// Other parameters, until they are known to be in force.
    pub(crate) async fn relabel(
        &self,
        client: &mut Client<'_>,
        number: u64,
        label: u64,
        answered: Answered,
    ) -> Result<()> {
        let body = format!(
            r#"{{"service_id":"{}","parameters":{{"label":"number {label}"}}}}"#,
            self.service
        );
        self.change(client, "PATCH", &instance(number), body.as_bytes(), answered)
            .await
    }

    /// A change to this plan from another one, which is answered when it is in force.
    pub(crate) async fn change_to(&self, client: &mut Client<'_>, number: u64) -> Result<()> {
        let body = format!(r#"{{"service_id":"{}","plan_id":"{}"}}"#, self.service, self.id);
        self.change(client, "PATCH", &instance(number), body.as_bytes(), Answered::Now(200))
            .await
    }

    /// A deprovision that is answered when it is done.
    pub(crate) async fn deprovision(&self, client: &mut Client<'_>, number: u64) -> Result<()> {
        let path = format!("{}?{}&accepts_incomplete=true", instance(number), self.query);
        client.expect(200, "DELETE", &path, None).await
    }

    /// Sends a change, and polls until it has succeeded when that is not the answer.
    async fn change(
        &self,
        client: &mut Client<'_>,
        method: &str,
        resource: &str,
        body: &[u8],
        answered: Answered,
    ) -> Result<()> {
        let path = format!("{resource}?accepts_incomplete=true");
        let answer = client.call(method, &path, Some(body)).await?;
        if !answered.takes(answer.status) {
            bail!(unexpected(method, &path, &answer));
        }
        if answer.status != 202 {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(answer.body)?;
        let operation = escape(body["operation"].as_str().unwrap_or_default());
        let path = format!("{resource}/last_operation?{}&operation={operation}", self.query);
        let mut pause = FIRST_POLL;
        loop {
            tokio::time::sleep(pause).await;
            pause *= 2;
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
        read(client, &path, b"\"succeeded\"").await
    }

    /// A fetch of an instance that is complete.
    pub(crate) async fn fetch(&self, client: &mut Client<'_>, number: u64) -> Result<()> {
        let path = format!("{}?{}", instance(number), self.query);
        read(client, &path, b"\"plan_id\"").await
    }

    /// A bind that is answered with the credentials.
    pub(crate) async fn bind(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        client
            .expect(201, "PUT", &self::binding(number, binding), Some(&self.bind))
            .await
    }

    /// A bind that is answered with a 202, until it is known to have succeeded.
    pub(crate) async fn bind_later(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        let resource = self::binding(number, binding);
        self.change(client, "PUT", &resource, &self.bind, Answered::Later).await
    }

    /// A binding that takes the place of another one, which stays.
    pub(crate) async fn rotate(&self, client: &mut Client<'_>, number: u64, old: u64, new: u64) -> Result<()> {
        let body = format!(
            r#"{{"service_id":"{}","plan_id":"{}","predecessor_binding_id":"{}"}}"#,
            self.service,
            self.id,
            binding_id(old)
        );
        client
            .expect(201, "PUT", &binding(number, new), Some(body.as_bytes()))
            .await
    }

    /// A fetch of a binding that is complete.
    pub(crate) async fn fetch_binding(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        let path = format!("{}?{}", self::binding(number, binding), self.query);
        read(client, &path, b"\"credentials\"").await
    }

    /// An unbind that is answered when it is done.
    pub(crate) async fn unbind(&self, client: &mut Client<'_>, number: u64, binding: u64) -> Result<()> {
        let path = format!("{}?{}", self::binding(number, binding), self.query);
        client.expect(200, "DELETE", &path, None).await
    }
}

/// The catalog that a broker serves, and its tag if it has one.
pub(crate) async fn catalog(client: &mut Client<'_>) -> Result<(Vec<u8>, Option<String>)> {
    let answer = client.call("GET", "/v2/catalog", None).await?;
    if answer.status != 200 {
        bail!(unexpected("GET", "/v2/catalog", &answer));
    }
    let tag = answer.header("etag").map(str::to_owned);
    Ok((answer.body.to_vec(), tag))
}

/// A look whether the catalog is still the one with this tag, which it is.
pub(crate) async fn same_catalog(client: &mut Client<'_>, condition: &str) -> Result<()> {
    let answer = client.call_with("GET", "/v2/catalog", condition, None).await?;
    if answer.status != 304 {
        bail!(unexpected("GET", "/v2/catalog", &answer));
    }
    Ok(())
}

/// Reads what is there and says so. Looked for as text: parsing would cost the generator more than asking.
async fn read(client: &mut Client<'_>, path: &str, says: &[u8]) -> Result<()> {
    let answer = client.call("GET", path, None).await?;
    let said = answer.body.windows(says.len()).any(|text| text == says);
    if answer.status != 200 || !said {
        bail!(unexpected("GET", path, &answer));
    }
    Ok(())
}

/// The path of an instance: ids look as those of platforms do.
fn instance(number: u64) -> String {
    format!("/v2/service_instances/5a1c1d0e-0000-4000-8000-{number:012x}")
}

fn binding(number: u64, binding: u64) -> String {
    format!("{}/service_bindings/{}", instance(number), binding_id(binding))
}

fn binding_id(binding: u64) -> String {
    format!("7b2d1d0e-0000-4000-8000-{binding:012x}")
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
    fn only_the_expected_answer_is_taken() {
        let taken = |answered: Answered| [200, 201, 202].map(|status| answered.takes(status));
        assert_eq!(taken(Answered::Now(200)), [true, false, false]);
        assert_eq!(taken(Answered::Later), [false, false, true]);
        assert_eq!(taken(Answered::Either(201)), [false, true, true]);
    }

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
