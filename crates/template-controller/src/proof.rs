//! How it is known that the requester of an instance has asked for it.
//!
//! The objects of an instance are made with the rights of its `spec.requester`, so whoever could write another name there would
//! borrow that user's rights. The API server has to keep people from that, when an instance is written:
//!
//! - The embedded API server by [`Admission`], hooks in its own process: they write the requester where it is missing, and refuse
//!   one that is not the caller in each part.
//! - A cluster by a ValidatingAdmissionPolicy ([`policy`]), whose presence the controller checks. Where the cluster has
//!   MutatingAdmissionPolicies, a second one ([`stamping`]) writes the requester where it is missing.
//!
//! In both whoever may act for everybody, above all a broker, may name others.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use crate::api::{Api, ApiError};
use crate::names::GROUP;
use crate::resources::TemplateInstance;

mod admission;

pub use admission::Admission;

/// The name of the policy and of its binding.
pub const POLICY: &str = "templateinstance-requester.template.osb.internal";

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

/// How long after its creation a policy is taken to be in effect everywhere.
pub(crate) const SETTLED: Duration = Duration::from_secs(30);

/// Who keeps people from naming others as requesters.
#[derive(Clone, Debug, Default)]
pub struct Proof(pub(crate) Kind);

#[derive(Clone, Debug, Default)]
pub(crate) enum Kind {
    /// The policy [`POLICY`], which has to be there since before the instance.
    #[default]
    Policy,
    /// Hooks of the API server, from its first request on.
    Admission,
}

impl Proof {
    /// The policy of the cluster: [`policy`] has to be applied, and older than the instances.
    pub fn policy() -> Self {
        Self(Kind::Policy)
    }
}

/// The policy and its binding, to be applied by an administrator.
///
/// Users may name themselves only, whole: name, uid, groups and extra. Whoever may impersonate all users and groups, and the uids
/// and extras that he names, may name others.
pub fn policy() -> [Value; 2] {
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": POLICY},
            "spec": policy_spec(),
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": POLICY},
            "spec": binding_spec(),
        }),
    ]
}

fn binding_spec() -> Value {
    json!({"policyName": POLICY, "validationActions": ["Deny"]})
}

fn rules() -> Value {
    json!({"resourceRules": [{
        "apiGroups": [GROUP], "apiVersions": ["*"], "resources": ["templateinstances"],
        "operations": ["CREATE", "UPDATE"],
    }]})
}

fn policy_spec() -> Value {
    let refused = |expression: &str, what: &str| {
        json!({
            "expression": expression,
            "message": format!("spec.requester is not you, and {what}; leave it out where the server fills it in, \
                or write yourself, as `kubectl auth whoami -o yaml` shows you"),
            "reason": "Forbidden",
        })
    };
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": rules(),
        "matchConditions": [{
            "name": "what-is-to-be-made-changes",
            "expression": "oldObject == null || object.spec != oldObject.spec",
        }],
        "variables": [
            {"name": "requester", "expression": "has(object.spec.requester) ? object.spec.requester : {}"},
            {"name": "uid", "expression": "has(variables.requester.uid) ? variables.requester.uid : ''"},
            {"name": "groups", "expression": "has(variables.requester.groups) ? variables.requester.groups : []"},
            {"name": "extra", "expression": "has(variables.requester.extra) ? variables.requester.extra : {}"},
            {"name": "userUid", "expression": "has(request.userInfo.uid) ? request.userInfo.uid : ''"},
            {"name": "userGroups", "expression": "has(request.userInfo.groups) ? request.userInfo.groups : []"},
            {"name": "userExtra", "expression": "has(request.userInfo.extra) ? request.userInfo.extra : {}"},
            {"name": "own", "expression": OWN},
        ],
        "validations": [
            {
                "expression": "has(variables.requester.username) && variables.requester.username != ''",
                "message": "spec.requester.username is missing: write in whose name the objects are to be made, \
                    yourself, as `kubectl auth whoami -o yaml` shows you",
            },
            refused("variables.own || authorizer.group('').resource('users').check('impersonate').allowed()",
                "you may not impersonate every user"),
            refused("variables.own || size(variables.groups) == 0 || \
                authorizer.group('').resource('groups').check('impersonate').allowed()",
                "you may not impersonate every group"),
            refused("variables.own || variables.uid == '' || \
                authorizer.group('authentication.k8s.io').resource('uids').check('impersonate').allowed()",
                "you may not impersonate every uid"),
            refused("variables.own || variables.extra.all(key, authorizer.group('authentication.k8s.io')\
                .resource('userextras').subresource(key).check('impersonate').allowed())",
                "you may not impersonate every extra"),
        ],
    })
}

/// Each part of the identity is the caller's.
const OWN: &str = "has(variables.requester.username) && variables.requester.username == request.userInfo.username && \
    variables.uid == variables.userUid && \
    variables.groups.all(group, group in variables.userGroups) && \
    variables.userGroups.all(group, group in variables.groups) && \
    variables.extra.all(key, key in variables.userExtra && \
        variables.extra[key].all(value, value in variables.userExtra[key]) && \
        variables.userExtra[key].all(value, value in variables.extra[key])) && \
    variables.userExtra.all(key, key in variables.extra)";

/// A MutatingAdmissionPolicy and its binding, which write the caller as requester where none is named. For clusters that have
/// them; without it users write themselves.
pub fn stamping() -> [Value; 2] {
    let name = "templateinstance-requester-stamp.template.osb.internal";
    let spec = json!({
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": rules(),
        "matchConditions": [{"name": "no-requester", "expression": "!has(object.spec.requester)"}],
        "variables": [],
        "mutations": [{
            "patchType": "JSONPatch",
            "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/spec/requester', value: Object.spec.requester{\
                username: request.userInfo.username, \
                uid: has(request.userInfo.uid) ? request.userInfo.uid : '', \
                groups: has(request.userInfo.groups) ? request.userInfo.groups : [], \
                extra: has(request.userInfo.extra) ? request.userInfo.extra : {}}}]"},
        }],
    });
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        }),
    ]
}

/// Why a requester is not believed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotProven {
    #[error(
        "nobody keeps people from naming others as requesters here: the ValidatingAdmissionPolicy {POLICY} {0}; have the \
        administrator apply it, then create the instance again"
    )]
    NoPolicy(&'static str),
    #[error("the instance is not younger than the policy {POLICY} that proves its requester; create it again")]
    TooOld,
    #[error("looking for the policy {POLICY}: {0}")]
    Unknown(ApiError),
}

/// Whether the requester of an instance is proven.
pub(crate) async fn check(
    proof: &Proof,
    api: &Api<'_>,
    instance: &TemplateInstance,
    settled: Duration,
) -> Result<(), NotProven> {
    if matches!(proof.0, Kind::Admission) {
        return Ok(());
    }
    let policy = look(api, POLICIES).await?.ok_or(NotProven::NoPolicy("is not there"))?;
    let binding = look(api, BINDINGS).await?.ok_or(NotProven::NoPolicy("is not bound"))?;
    if !same(&policy["spec"], &policy_spec()) {
        return Err(NotProven::NoPolicy("is not the one that this version needs"));
    }
    if !same(&binding["spec"], &binding_spec()) {
        return Err(NotProven::NoPolicy("is not bound as this version needs it"));
    }
    let since = [&policy, &binding].map(created);
    let made = instance.metadata.creation_timestamp.as_ref().map(|time| time.0);
    match (since, made) {
        ([Some(policy), Some(binding)], Some(made)) if made.duration_since(policy.max(binding)) >= signed(settled) => {
            Ok(())
        }
        _ => Err(NotProven::TooOld),
    }
}

fn signed(duration: Duration) -> k8s_openapi::jiff::SignedDuration {
    k8s_openapi::jiff::SignedDuration::from_secs(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

fn created(object: &Value) -> Option<Timestamp> {
    object["metadata"]["creationTimestamp"].as_str()?.parse().ok()
}

async fn look(api: &Api<'_>, path: &str) -> Result<Option<Value>, NotProven> {
    match api.get(&format!("{path}/{POLICY}")).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(NotProven::Unknown(error)),
    }
}

/// Whether two specs mean the same: what a server adds as defaults does not count, everything else does.
fn same(found: &Value, wanted: &Value) -> bool {
    lean(found) == lean(wanted)
}

fn lean(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members
                .iter()
                .map(|(name, value)| (name, lean(value)))
                .filter(|(name, value)| {
                    let is_default = match name.as_str() {
                        "scope" => value == "*",
                        "matchPolicy" => value == "Equivalent",
                        _ => false,
                    };
                    let is_empty = match value {
                        Value::Null => true,
                        Value::Object(members) => members.is_empty(),
                        Value::Array(items) => items.is_empty(),
                        _ => false,
                    };
                    !is_default && !is_empty
                });
            Value::Object(kept.map(|(name, value)| (name.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(lean).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_weakened_is_none() {
        let spec = policy_spec();
        let with = |change: fn(&mut Value)| {
            let mut found = spec.clone();
            change(&mut found);
            same(&found, &spec)
        };
        assert!(with(|found| {
            found["matchConstraints"]["matchPolicy"] = json!("Equivalent");
            found["matchConstraints"]["namespaceSelector"] = json!({});
            found["matchConstraints"]["resourceRules"][0]["scope"] = json!("*");
        }));
        assert!(!with(|found| found["failurePolicy"] = json!("Ignore")));
        assert!(!with(
            |found| found["matchConstraints"]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}})
        ));
        assert!(!with(
            |found| found["matchConstraints"]["resourceRules"][0]["operations"] = json!(["CREATE"])
        ));
        assert!(!with(|found| found["validations"][1]["expression"] = json!("true")));
        assert!(!with(|found| drop(found["validations"].as_array_mut().unwrap().pop())));
        assert!(!with(|found| found["matchConditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "x", "expression": "false"}))));
    }
}
