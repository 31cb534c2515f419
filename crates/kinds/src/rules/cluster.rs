//! Rules of what configures a cluster, but for roles and bindings, which belong to who decides by them: admission, API services, certificates, priorities, leases.

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;
use apimachinery::meta;

use super::{at, immutable, is_empty, items, joined, not_negative, number, one_of, require, require_one_of, text};
use crate::facts::Kind;

pub(super) fn check(kind: &str, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => webhooks(object, errors),
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            require(object, "", &["spec.policyName"], errors);
        }
        "ValidatingAdmissionPolicy"
            if is_empty(object, "spec.validations") && is_empty(object, "spec.auditAnnotations") =>
        {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required("spec.validations", why));
        }
        "APIService" => api_service(object, errors),
        "CertificateSigningRequest" => {
            require(object, "", &["spec.usages", "spec.signerName"], errors);
            if is_empty(object, "spec.request") {
                errors.push(FieldError::invalid(
                    "spec.request",
                    "",
                    "PEM block type must be CERTIFICATE REQUEST",
                ));
            }
        }
        "PriorityClass" => {
            one_of(
                object,
                "",
                "preemptionPolicy",
                &["Never", "PreemptLowerPriority"],
                errors,
            );
            let name = text(object, "metadata.name");
            if name.starts_with("system-") {
                let why = "priority class names with 'system-' prefix are reserved for system use only";
                errors.push(FieldError::forbidden("metadata.name", why));
            }
        }
        "Lease" => {
            let duration = number(object, "spec.leaseDurationSeconds");
            if let Some(given) = duration.filter(|given| *given <= 0) {
                errors.push(FieldError::invalid(
                    "spec.leaseDurationSeconds",
                    given,
                    "must be greater than 0",
                ));
            }
            not_negative(object, "", &["spec.leaseTransitions"], errors);
        }
        "RuntimeClass" => {
            let handler = text(object, "handler");
            let problems = meta::dns_label_problems(handler).into_iter();
            errors.extend(problems.map(|why| FieldError::invalid("handler", handler.to_owned(), why)));
        }
        "FlowSchema" => require(object, "", &["spec.priorityLevelConfiguration.name"], errors),
        "PriorityLevelConfiguration" => {
            require_one_of(object, "", "spec.type", &["Exempt", "Limited"], errors);
            let response = "spec.limited.limitResponse";
            let queues = text(object, "spec.limited.limitResponse.type") == "Queue";
            if queues && at(object, "spec.limited.limitResponse.queuing").is_none() {
                errors.push(FieldError::required(joined(response, "queuing"), ""));
            }
        }
        "Event" => event(object, errors),
        _ => {}
    }
}

fn webhooks(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    for (position, webhook) in items(object, "webhooks").iter().enumerate() {
        let place = field::index("webhooks", position);
        let name = text(webhook, "name");
        if name.is_empty() {
            errors.push(FieldError::required(joined(&place, "name"), ""));
        } else if name.split('.').count() < 3 || !meta::dns_subdomain_problems(name).is_empty() {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(joined(&place, "name"), name.to_owned(), why));
        }
        let effects = ["None", "NoneOnDryRun"];
        require_one_of(webhook, &place, "sideEffects", &effects, errors);
        if is_empty(webhook, "admissionReviewVersions") {
            errors.push(FieldError::required(joined(&place, "admissionReviewVersions"), ""));
        }
        let config = joined(&place, "clientConfig");
        match (at(webhook, "clientConfig.url"), at(webhook, "clientConfig.service")) {
            (None, None) | (Some(_), Some(_)) => {
                errors.push(FieldError::required(
                    config,
                    "exactly one of url or service is required",
                ));
            }
            (None, Some(service)) => require(service, &joined(&config, "service"), &["name", "namespace"], errors),
            (Some(_), None) => {}
        }
        one_of(webhook, &place, "failurePolicy", &["Fail", "Ignore"], errors);
        one_of(webhook, &place, "matchPolicy", &["Equivalent", "Exact"], errors);
        if let Some(given) = number(webhook, "timeoutSeconds").filter(|given| !(1..=30).contains(given)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(joined(&place, "timeoutSeconds"), given, why));
        }
    }
}

fn api_service(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let (group, version) = (text(object, "spec.group"), text(object, "spec.version"));
    let expected = format!("{version}.{group}");
    let name = text(object, "metadata.name");
    if name != expected {
        let why = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        errors.push(FieldError::invalid("metadata.name", name.to_owned(), why));
    }
    require(object, "", &["spec.version"], errors);
    for (path, most) in [("spec.groupPriorityMinimum", 20_000), ("spec.versionPriority", 1_000)] {
        let given = number(object, path).unwrap_or_default();
        if !(1..=most).contains(&given) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(path, given, why));
        }
    }
    let has_bundle = !is_empty(object, "spec.caBundle");
    let insecure = object.pointer("/spec/insecureSkipTLSVerify").and_then(Value::as_bool) == Some(true);
    match at(object, "spec.service") {
        Some(service) => {
            require(service, "spec.service", &["namespace", "name"], errors);
            if insecure && has_bundle {
                let why = "may not be true if caBundle is present";
                errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", true, why));
            }
        }
        None => {
            if has_bundle {
                let why = "local APIServices may not have a caBundle";
                errors.push(FieldError::invalid("spec.caBundle", "", why));
            }
            if insecure {
                let why = "local APIServices may not have insecureSkipTLSVerify";
                errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", true, why));
            }
        }
    }
}

/// An Event of `events.k8s.io`: who tells it says what he did.
fn event(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let required = [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ];
    require(object, "", &required, errors);
    require_one_of(object, "", "type", &["Normal", "Warning"], errors);
    let controller = text(object, "reportingController");
    if !controller.is_empty() {
        let problems = meta::qualified_name_problems(controller).into_iter();
        errors.extend(problems.map(|why| FieldError::invalid("reportingController", controller.to_owned(), why)));
    }
}

/// What may not change.
pub(super) fn check_change(kind: &Kind, old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    match (kind.group, kind.kind) {
        ("scheduling.k8s.io", "PriorityClass") => {
            if at(old, "value") != at(new, "value") {
                errors.push(FieldError::forbidden("value", "may not be changed in an update."));
            }
            if at(old, "preemptionPolicy") != at(new, "preemptionPolicy") {
                let shown = new["preemptionPolicy"].clone().into_owned();
                errors.push(FieldError::invalid("preemptionPolicy", shown, "field is immutable"));
            }
        }
        ("node.k8s.io", "RuntimeClass") => immutable(old, new, &["handler"], errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => immutable(old, new, &["spec"], errors),
        _ => {}
    }
}
