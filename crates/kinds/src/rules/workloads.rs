//! Rules of pods and of what makes them.

use apimachinery::field::FieldError;
use apimachinery::json::{Map, Value};
use apimachinery::label_selector::LabelSelector;

use super::{IMMUTABLE, at, immutable, is_empty, items, joined, not_negative, number, one_of, pods, require, text};
use crate::facts::Kind;

pub(super) fn check(kind: &str, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "Pod" => pods::check(&object["spec"], "spec", errors),
        "PodTemplate" => pods::check(&object["template"]["spec"], "template.spec", errors),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => keeper(kind, object, errors),
        "ReplicationController" => controller(object, errors),
        "Job" => {
            not_negative(object, "", &JOB_NUMBERS, errors);
            job(&object["spec"], "spec", errors);
        }
        "CronJob" => cron_job(object, errors),
        "HorizontalPodAutoscaler" => autoscaler(object, errors),
        "PodDisruptionBudget"
            if at(object, "spec.minAvailable").is_some() && at(object, "spec.maxUnavailable").is_some() =>
        {
            let shown = object["spec"].clone().into_owned();
            let why = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid("spec", shown, why));
        }
        _ => {}
    }
}

const JOB_NUMBERS: [&str; 5] = [
    "spec.parallelism",
    "spec.completions",
    "spec.activeDeadlineSeconds",
    "spec.backoffLimit",
    "spec.ttlSecondsAfterFinished",
];

/// What keeps pods of one template running.
fn keeper(kind: &str, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let numbers = ["spec.replicas", "spec.minReadySeconds", "spec.revisionHistoryLimit"];
    not_negative(object, "", &numbers, errors);
    match at(object, "spec.selector") {
        None => {
            errors.push(FieldError::required("spec.selector", ""));
            mismatch(object, errors);
        }
        Some(selector) if LabelSelector::of_object(selector).is_none_or(|selector| selector.is_empty()) => {
            let why = format!("empty selector is invalid for {}", kind.to_lowercase());
            errors.push(FieldError::invalid("spec.selector", selector.clone().into_owned(), why));
        }
        Some(selector) => matches_template(selector, object, errors),
    }
    // Each claim of a StatefulSet becomes a volume of its pods.
    let claims = items(object, "spec.volumeClaimTemplates").iter();
    let claims: Vec<&str> = claims.map(|claim| text(claim, "metadata.name")).collect();
    pods::check_with(
        &object["spec"]["template"]["spec"],
        &claims,
        "spec.template.spec",
        errors,
    );
    let policy = text(object, "spec.template.spec.restartPolicy");
    if !matches!(policy, "" | "Always") {
        let path = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(path, policy.to_owned(), &["Always"]));
    }
    let (field, other) = match kind {
        "Deployment" => ("spec.strategy.type", "Recreate"),
        "StatefulSet" | "DaemonSet" => ("spec.updateStrategy.type", "OnDelete"),
        _ => return,
    };
    one_of(object, "", field, &[other, "RollingUpdate"], errors);
}

const LABELS: &str = "spec.template.metadata.labels";

/// The pods of the template must be those that the selector finds.
fn matches_template(selector: &Value<'_>, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let none = Map::new();
    let labels = at(object, LABELS).and_then(Value::as_object).unwrap_or(&none);
    if LabelSelector::of_object(selector).is_some_and(|selector| !selector.matches(labels)) {
        mismatch(object, errors);
    }
}

fn mismatch(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let labels = at(object, LABELS).cloned().unwrap_or_default().into_owned();
    let why = "`selector` does not match template `labels`";
    errors.push(FieldError::invalid(LABELS, labels, why));
}

fn controller(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    not_negative(object, "", &["spec.replicas", "spec.minReadySeconds"], errors);
    require(object, "", &["spec.selector", "spec.template"], errors);
    if at(object, "spec.template").is_some() {
        if let Some(selector) = at(object, "spec.selector") {
            matches_template(selector, object, errors);
        }
        pods::check(&object["spec"]["template"]["spec"], "spec.template.spec", errors);
    }
}

/// The specification of a Job, which stands at `base`.
fn job(spec: &Value<'_>, base: &str, errors: &mut Vec<FieldError>) {
    pods::check(&spec["template"]["spec"], &joined(base, "template.spec"), errors);
    let policy = text(spec, "template.spec.restartPolicy");
    if !matches!(policy, "OnFailure" | "Never") {
        let why = r#"valid values: "OnFailure", "Never""#;
        errors.push(FieldError::required(joined(base, "template.spec.restartPolicy"), why));
    }
    one_of(spec, base, "completionMode", &["Indexed", "NonIndexed"], errors);
}

fn cron_job(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    const LONGEST_NAME: usize = 52;
    if is_empty(object, "spec.schedule") {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if !is_schedule(text(object, "spec.schedule")) {
        let given = text(object, "spec.schedule").to_owned();
        errors.push(FieldError::invalid(
            "spec.schedule",
            given,
            "is no schedule in the form of cron",
        ));
    }
    let name = text(object, "metadata.name");
    if name.len() > LONGEST_NAME {
        let why = format!("must be no more than {LONGEST_NAME} characters");
        errors.push(FieldError::invalid("metadata.name", name.to_owned(), why));
    }
    one_of(
        object,
        "",
        "spec.concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        errors,
    );
    let numbers = [
        "spec.startingDeadlineSeconds",
        "spec.successfulJobsHistoryLimit",
        "spec.failedJobsHistoryLimit",
    ];
    not_negative(object, "", &numbers, errors);
    job(&object["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec", errors);
}

/// Five fields, or a word with an at sign.
fn is_schedule(text: &str) -> bool {
    const WORDS: [&str; 7] = [
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "@hourly",
    ];
    if text.starts_with('@') {
        return WORDS.contains(&text) || text.starts_with("@every ");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b',' | b'-' | b'/' | b'?');
    text.split_ascii_whitespace().count() == 5 && text.split_ascii_whitespace().all(|part| part.bytes().all(allowed))
}

fn autoscaler(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    require(
        object,
        "",
        &["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"],
        errors,
    );
    let (least, most) = (
        number(object, "spec.minReplicas"),
        number(object, "spec.maxReplicas").unwrap_or_default(),
    );
    if let Some(least) = least.filter(|least| *least < 1) {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            least,
            "must be greater than or equal to 1",
        ));
    }
    if is_empty(object, "spec.scaleTargetRef.apiVersion") {
        let why = "must be the group and version of the kind";
        errors.push(FieldError::invalid("spec.scaleTargetRef.apiVersion", "", why));
    }
    if most == 0 {
        errors.push(FieldError::required("spec.maxReplicas", ""));
    }
    if most < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", most, why));
    }
}

/// What may not change.
pub(super) fn check_change(kind: &Kind, old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    match (kind.group, kind.kind) {
        ("", "Pod") => pods::check_change(old, new, errors),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => immutable(old, new, &["spec.selector"], errors),
        ("apps", "StatefulSet") => stateful_set(old, new, errors),
        ("apps", "ControllerRevision") => immutable(old, new, &["data"], errors),
        ("batch", "Job") => {
            immutable(
                old,
                new,
                &["spec.selector", "spec.completionMode", "spec.podFailurePolicy"],
                errors,
            );
            if at(old, "spec.completionMode").is_none_or(|mode| *mode == "NonIndexed") {
                immutable(old, new, &["spec.completions"], errors);
            }
            // The template of a Job that is suspended and was never started may still be directed elsewhere.
            let suspended = old.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
            if !suspended && at(old, "spec.template") != at(new, "spec.template") {
                let shown = new["spec"]["template"].clone().into_owned();
                errors.push(FieldError::invalid("spec.template", shown, IMMUTABLE));
            }
        }
        _ => {}
    }
}

fn stateful_set(old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    const FREE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |object: &Value<'_>| {
        let mut spec = object["spec"].clone().into_owned();
        if let Some(members) = spec.as_object_mut() {
            members.retain(|name, _| !FREE.contains(&name));
        }
        spec
    };
    if fixed(old) != fixed(new) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
            'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden("spec", why));
    }
}
