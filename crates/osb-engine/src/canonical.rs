//! What a request is recognised by when it is sent again: one form for all requests that mean the same.

use osb_api::Object;
use osb_api::id::PlanId;
use osb_api::request::{BindRequest, ProvisionRequest, UpdateRequest};
use serde_json::{Value, json};

/// What a request is recognised by, in one form for all requests that mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canonical {
    /// What stays for the life of the object.
    pub(crate) fixed: Vec<u8>,
    /// What an update may change.
    pub(crate) changing: Option<Vec<u8>>,
}

/// What a request is recognised by (OSB-PROV-15, Amb-11): absent, `null` and empty parameters are equal, the order of
/// members does not matter, `1.0` is `1`. What an update changes is a part of its own.
pub(crate) fn provision(request: &ProvisionRequest) -> Canonical {
    let fixed = canonical(json!([
        "provision",
        request.service_id,
        request.organization_guid,
        request.space_guid,
    ]));
    let parameters = request.parameters.as_ref().cloned().unwrap_or_default();
    Canonical {
        fixed,
        changing: Some(plan(&request.plan_id, parameters)),
    }
}

/// What an update changes of what an instance is recognised by.
pub(crate) fn plan(plan_id: &PlanId, parameters: Object) -> Vec<u8> {
    canonical(json!(["plan", plan_id, parameters]))
}

/// As [`provision`], for a bind (OSB-BIND-13). Its offering and plan are those of the instance, which may
/// change its plan while the binding lives.
pub(crate) fn bind(request: &BindRequest) -> Canonical {
    let fixed = canonical(json!([
        "bind",
        request.bind_resource,
        request.app_guid,
        request.parameters.as_ref().cloned().unwrap_or_default(),
        request.predecessor_binding_id,
    ]));
    Canonical { fixed, changing: None }
}

/// What an update is recognised by: everything that it asks for. What was before is information only.
pub(crate) fn update(request: &UpdateRequest, plan_id: &PlanId) -> Canonical {
    let fixed = canonical(json!([
        "update",
        request.service_id,
        plan_id,
        request.parameters.as_ref().cloned().unwrap_or_default(),
        request.context,
        request.maintenance_info,
    ]));
    Canonical { fixed, changing: None }
}

fn canonical(mut value: Value) -> Vec<u8> {
    integers(&mut value);
    serde_json::to_vec(&value).expect("a JSON value always serialises")
}

/// Writes whole numbers as integers.
fn integers(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(members) => members.values_mut().for_each(integers),
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < EXACT)
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = float as i64;
                *value = whole.into();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> ProvisionRequest {
        serde_json::from_value(body).expect("a request")
    }

    /// OSB-PROV-13, OSB-PROV-15, Amb-11
    #[test]
    fn requests_that_mean_the_same_have_the_same_canonical_form() {
        let base = json!({"service_id": "s", "plan_id": "p", "organization_guid": "o", "space_guid": "g"});
        let with = |member: &str, value: Value| {
            let mut body = base.clone();
            body[member] = value;
            super::provision(&request(body))
        };
        let plain = super::provision(&request(base.clone()));
        assert_eq!(plain, with("parameters", json!({})));
        assert_eq!(plain, with("parameters", Value::Null));
        assert_eq!(plain, with("context", json!({"platform": "x"})));
        assert_ne!(plain, with("parameters", json!({"a": 1})));
        assert_ne!(plain, with("space_guid", json!("h")));
        assert_eq!(
            with("parameters", json!({"a": 1, "b": [2.0]})),
            with("parameters", json!({"b": [2], "a": 1.0}))
        );
        assert_ne!(
            with("parameters", json!({"a": 1.5})),
            with("parameters", json!({"a": 1}))
        );
    }
}
