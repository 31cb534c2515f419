//! Rules for every answer, whatever the request was about.

use serde_json::Value;

use super::{Findings, Kind, bindings, is_unreserved};
use crate::answer::Answer;
use crate::call::Op;

/// The most characters of an `operation`.
const MAX_OPERATION: usize = 10_000;

const RESERVED: &[&str] = &[
    "AsyncRequired",
    "ConcurrencyError",
    "RequiresApp",
    "MaintenanceInfoConflict",
];

/// The requirements that are looked at in every answer.
pub(crate) const COVERED: &[&str] = &[
    "OSB-GEN-07",
    "OSB-RID-01",
    "OSB-URL-02",
    "OSB-ERR-02",
    "OSB-ERR-03",
    "OSB-ERR-04",
    "OSB-ERR-05",
    "OSB-ERR-06",
    "OSB-ERR-09",
    "OSB-CT-01",
    "OSB-ASY-03",
    "OSB-ASY-05",
    "OSB-LOI-04",
    "OSB-LOI-08",
    "OSB-LOI-09",
    "OSB-LOI-10",
    "OSB-LOB-03",
    "OSB-PROV-16",
    "OSB-PROV-17",
    "OSB-PROV-18",
    "OSB-GETI-03",
    "OSB-UPD-20",
    "OSB-META-01",
    "OSB-META-02",
    "OSB-BIND-11",
    "OSB-BIND-20",
    "OSB-BIND-21",
    "OSB-BIND-22",
    "OSB-BIND-23",
    "OSB-BIND-24",
    "OSB-BIND-25",
    "OSB-BIND-26",
    "OSB-BIND-27",
    "OSB-BIND-28",
    "OSB-BIND-29",
    "OSB-BIND-30",
    "OSB-GETB-03",
    "OSB-UNB-03",
    "OSB-UNB-09",
    "OSB-DEP-03",
    "OSB-DEP-09",
    "OSB-COMPAT-05",
];

/// Looks at an answer. `identity` is the request identity that was sent, `requires` what the offering of a binding
/// announces, if that is known.
pub(crate) fn look(answer: &Answer, identity: Option<&str>, requires: Option<&[String]>) -> Findings {
    let mut findings = Findings::default();
    findings.that("OSB-GEN-07", !answer.late, || "no answer in time".to_owned());
    // What is no route of the specification has no rules there.
    if !answer.was_answered() || answer.op == Op::Other {
        return findings;
    }
    headers(&mut findings, answer, identity);
    asynchronous(&mut findings, answer);
    if answer.status >= 400 {
        error(&mut findings, answer);
    } else if answer.succeeded() {
        success(&mut findings, answer, requires);
    }
    findings
}

fn headers(findings: &mut Findings, answer: &Answer, identity: Option<&str>) {
    if let Some(identity) = identity {
        findings.that(
            "OSB-RID-01",
            answer.header(crate::wire::REQUEST_IDENTITY) == Some(identity),
            || format!("an answer {} does not carry the request identity", answer.status),
        );
    }
    if !answer.body.is_empty() {
        let media = answer.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        findings.that("OSB-CT-01", media.eq_ignore_ascii_case("application/json"), || {
            format!("an answer {} has the content type {media:?}", answer.status)
        });
    }
}

fn asynchronous(findings: &mut Findings, answer: &Answer) {
    if !matches!(
        answer.op,
        Op::Provision | Op::Update | Op::Deprovision | Op::Bind | Op::Unbind
    ) {
        return;
    }
    if answer.accepting == Some(true) {
        findings.that("OSB-ASY-05", !answer.is_reserved("AsyncRequired"), || {
            format!("{:?} with accepts_incomplete=true is answered AsyncRequired", answer.op)
        });
    }
    if answer.accepting == Some(false) {
        findings.that("OSB-ASY-03", answer.status != 202, || {
            format!("{:?} without accepts_incomplete=true is answered 202", answer.op)
        });
    }
}

fn error(findings: &mut Findings, answer: &Answer) {
    let object = answer.json.as_ref().filter(|json| json.is_object());
    let found = if answer.is(&[409, 410]) {
        "OSB-COMPAT-05"
    } else {
        "OSB-ERR-09"
    };
    findings.that(found, object.is_some(), || {
        format!("the body of a {} is no JSON object", answer.status)
    });
    let Some(object) = object else { return };
    // 401, 404, 409 and 410 say enough by themselves.
    if answer.is(&[400, 412, 422]) {
        findings.that("OSB-ERR-09", object.get("description").is_some(), || {
            format!("a {} has no `description`", answer.status)
        });
    }
    if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        findings.that("OSB-ERR-02", error.as_str().is_some_and(word), || {
            format!("`error` of a {} is {error}", answer.status)
        });
    }
    if let Some(description) = object.get("description").filter(|description| !description.is_null()) {
        findings.that("OSB-ERR-03", Kind::Word.fits(description), || {
            format!(
                "`description` of a {} is {}",
                answer.status,
                crate::answer::short(&description.to_string(), 80)
            )
        });
    }
    let usable = object.get("instance_usable").is_some();
    findings.that(
        "OSB-ERR-04",
        !usable || matches!(answer.op, Op::Update | Op::Deprovision),
        || format!("an error of {:?} has `instance_usable`", answer.op),
    );
    findings.that(
        "OSB-ERR-05",
        object.get("update_repeatable").is_none() || answer.op == Op::Update,
        || format!("an error of {:?} has `update_repeatable`", answer.op),
    );
    reserved(findings, answer);
}

fn reserved(findings: &mut Findings, answer: &Answer) {
    let Some(code) = answer.text("error").filter(|code| RESERVED.contains(code)) else {
        return;
    };
    let place = match code {
        "RequiresApp" => answer.op == Op::Bind,
        "MaintenanceInfoConflict" => matches!(answer.op, Op::Provision | Op::Update),
        "AsyncRequired" => {
            matches!(
                answer.op,
                Op::Provision | Op::Update | Op::Deprovision | Op::Bind | Op::Unbind
            )
        }
        _ => !matches!(answer.op, Op::Catalog | Op::Other),
    };
    findings.that("OSB-ERR-06", answer.status == 422 && place, || {
        format!("{:?} is answered {} {code}", answer.op, answer.status)
    });
}

fn success(findings: &mut Findings, answer: &Answer, requires: Option<&[String]>) {
    match answer.op {
        Op::Provision => provision(findings, answer),
        Op::Update => update(findings, answer),
        Op::FetchInstance => fetched_instance(findings, answer),
        Op::PollInstance => poll(findings, answer, "OSB-LOI-04", "OSB-LOI-08"),
        Op::PollBinding => poll(findings, answer, "OSB-LOB-03", "OSB-LOB-03"),
        Op::Bind => {
            findings.that("OSB-BIND-09", answer.is(&[200, 201, 202]), || {
                format!("a bind is answered {}", answer.status)
            });
            if let Some(object) = object(findings, answer, "OSB-BIND-09") {
                bindings::look(findings, object, answer.status, requires);
            }
        }
        Op::FetchBinding => {
            if let Some(object) = object(findings, answer, "OSB-GETB-03") {
                bindings::look(findings, object, answer.status, requires);
                findings.optional("OSB-GETB-03", object, "a fetched binding", "parameters", Kind::Object);
            }
        }
        Op::Unbind => removal(findings, answer, "OSB-UNB-03", "OSB-UNB-09"),
        Op::Deprovision => removal(findings, answer, "OSB-DEP-03", "OSB-DEP-09"),
        Op::Catalog | Op::Other => {}
    }
}

fn object<'a>(findings: &mut Findings, answer: &'a Answer, id: &'static str) -> Option<&'a Value> {
    let object = answer.json.as_ref().filter(|json| json.is_object());
    findings.that(id, object.is_some(), || {
        format!("the body of a {} is no JSON object", answer.status)
    });
    object
}

fn provision(findings: &mut Findings, answer: &Answer) {
    findings.that("OSB-PROV-16", answer.is(&[200, 201, 202]), || {
        format!("a provision is answered {}", answer.status)
    });
    let Some(body) = object(findings, answer, "OSB-PROV-16") else {
        return;
    };
    findings.optional("OSB-PROV-17", body, "a provision", "dashboard_url", Kind::Text);
    operation(findings, body, answer.status, "OSB-PROV-18");
    metadata(findings, body, "a provision");
}

fn update(findings: &mut Findings, answer: &Answer) {
    let Some(body) = object(findings, answer, "OSB-UPD-20") else {
        return;
    };
    findings.optional("OSB-UPD-20", body, "an update", "dashboard_url", Kind::Text);
    operation(findings, body, answer.status, "OSB-UPD-20");
    metadata(findings, body, "an update");
}

fn fetched_instance(findings: &mut Findings, answer: &Answer) {
    let Some(body) = object(findings, answer, "OSB-GETI-03") else {
        return;
    };
    for name in ["service_id", "plan_id", "dashboard_url"] {
        findings.optional("OSB-GETI-03", body, "a fetched instance", name, Kind::Text);
    }
    findings.optional("OSB-GETI-03", body, "a fetched instance", "parameters", Kind::Object);
    if let Some(info) = body.get("maintenance_info").filter(|info| !info.is_null()) {
        findings.required(
            "OSB-GETI-03",
            info,
            "maintenance_info of a fetched instance",
            "version",
            Kind::Word,
        );
    }
    metadata(findings, body, "a fetched instance");
}

fn metadata(findings: &mut Findings, body: &Value, place: &str) {
    let Some(metadata) = body.get("metadata").filter(|metadata| !metadata.is_null()) else {
        return;
    };
    findings.that("OSB-META-01", metadata.is_object(), || {
        format!("{place}: `metadata` is no object")
    });
    findings.optional("OSB-META-01", metadata, place, "labels", Kind::Object);
    findings.optional("OSB-META-02", metadata, place, "attributes", Kind::Object);
}

fn removal(findings: &mut Findings, answer: &Answer, success: &'static str, of: &'static str) {
    findings.that(success, answer.is(&[200, 202]), || {
        format!("a removal is answered {}", answer.status)
    });
    if let Some(body) = object(findings, answer, success) {
        operation(findings, body, answer.status, of);
    }
}

/// `operation` of a success. It means something with a 202 only.
pub(crate) fn operation(findings: &mut Findings, body: &Value, status: u16, id: &'static str) {
    let Some(operation) = body
        .get("operation")
        .filter(|operation| !operation.is_null() && status == 202)
    else {
        return;
    };
    let fits = operation
        .as_str()
        .is_some_and(|text| !text.is_empty() && text.chars().count() <= MAX_OPERATION);
    findings.that(id, fits, || {
        "`operation` is no string of 1 to 10,000 characters".to_owned()
    });
    if let Some(text) = operation.as_str() {
        findings.that("OSB-URL-02", is_unreserved(text), || {
            "`operation` has reserved characters".to_owned()
        });
    }
}

fn poll(findings: &mut Findings, answer: &Answer, state: &'static str, description: &'static str) {
    findings.that(state, answer.status == 200, || {
        format!("a poll is answered {}", answer.status)
    });
    let Some(body) = object(findings, answer, state) else {
        return;
    };
    let known = ["in progress", "succeeded", "failed"];
    findings.that(
        state,
        answer.state().is_some_and(|state| known.contains(&state)),
        || format!("`state` is {}", body.get("state").unwrap_or(&Value::Null)),
    );
    findings.optional(description, body, "a poll", "description", Kind::Word);
    let extra = ["instance_usable", "update_repeatable"];
    if answer.op == Op::PollInstance {
        let failed = answer.state() == Some("failed");
        for name in extra {
            findings.that("OSB-LOI-09", failed || body.get(name).is_none(), || {
                format!("a poll that has not failed has `{name}`")
            });
            findings.optional("OSB-LOI-09", body, "a poll", name, Kind::Boolean);
        }
    } else {
        let found = extra.iter().find(|name| body.get(**name).is_some());
        findings.that("OSB-LOB-03", found.is_none(), || {
            format!("a poll of a binding has `{}`", found.unwrap_or(&""))
        });
    }
    if let Some(wait) = answer.header("retry-after") {
        findings.that("OSB-LOI-10", wait.trim().parse::<u64>().is_ok(), || {
            format!("`Retry-After` is {wait:?}")
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::requirement::Requirement;

    #[test]
    fn what_is_covered_is_in_the_table() {
        for id in super::COVERED {
            assert!(Requirement::of(id).is_some(), "{id}");
        }
    }
}
