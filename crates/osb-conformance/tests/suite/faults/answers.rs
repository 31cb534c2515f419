//! Answers with one thing wrong.

use serde_json::{Value, json};

use super::catalog;
use crate::broker::{Ask, Reply, Route};

/// Makes a right answer wrong, as the fault wants it.
pub(crate) fn spoil(fault: &str, ask: &Ask, reply: &mut Reply) {
    let status = reply.status;
    match fault {
        "OSB-VER-05" if status == 412 => reply.set("description", json!("No.")),
        "OSB-RID-01" if status == 404 => drop(reply.headers.remove("x-broker-api-request-identity")),
        "OSB-AUTH-04" => drop(reply.headers.remove("www-authenticate")),
        "OSB-ERR-02" if status == 400 => reply.set("error", json!("Bad Request!")),
        "OSB-ERR-03" if status == 400 => reply.set("description", json!("")),
        "OSB-ERR-04" if status == 400 => reply.set("instance_usable", json!(true)),
        "OSB-ERR-05" if status == 400 => reply.set("update_repeatable", json!(true)),
        "OSB-ERR-06" if status == 422 => reply.status = 400,
        "OSB-ERR-09" if status == 400 => reply.body = Some(json!(["no"])),
        "OSB-CT-01" if status == 404 => drop(reply.headers.insert("content-type".into(), "text/html".into())),
        "OSB-CAT-09" if status == 304 => drop(reply.headers.remove("etag")),
        "OSB-BLK-02" if is_reserved(reply, "ConcurrencyError") => *reply = Reply::refused(423, "Locked."),
        "OSB-LOI-10" if status == 200 => {
            let date = "Sat, 01 Mar 2025 10:00:00 GMT".to_owned();
            if let Some(wait) = reply.headers.get_mut("retry-after") {
                *wait = date;
            }
        }
        "OSB-COMPAT-05" if status == 410 => reply.body = None,
        _ => by_route(fault, ask, reply),
    }
    if ask.route == Route::Catalog
        && status == 200
        && let Some(body) = &mut reply.body
    {
        catalog::spoil(fault, body);
    }
}

fn is_reserved(reply: &Reply, code: &str) -> bool {
    reply.body.as_ref().is_some_and(|body| body["error"] == code)
}

fn by_route(fault: &str, ask: &Ask, reply: &mut Reply) {
    match ask.route {
        Route::Provision | Route::Update | Route::FetchInstance => instances(fault, ask, reply),
        Route::Bind | Route::FetchBinding => bindings(fault, ask, reply),
        Route::PollInstance | Route::PollBinding => polls(fault, ask, reply),
        Route::Deprovision | Route::Unbind => removals(fault, ask, reply),
        Route::Catalog | Route::Unknown => {}
    }
}

/// AsyncRequired without its code.
fn unnamed(fault: &str, id: &str, reply: &mut Reply) {
    if fault == id && is_reserved(reply, "AsyncRequired") {
        *reply = Reply::refused(422, "Accept it.");
    }
}

fn instances(fault: &str, ask: &Ask, reply: &mut Reply) {
    let (put, patch, get) = (
        ask.route == Route::Provision,
        ask.route == Route::Update,
        ask.route == Route::FetchInstance,
    );
    let done = reply.status < 300;
    match fault {
        "OSB-PROV-06" if put && told(reply, "The parameters do not fit.") => reply.status = 422,
        "OSB-PROV-10" if put && reply.status == 201 => reply.status = 200,
        "OSB-PROV-16" if put && reply.status == 201 => reply.body = Some(json!([])),
        "OSB-PROV-17" if put && done => reply.set("dashboard_url", json!(5)),
        "OSB-PROV-18" if put && reply.status == 202 => reply.set("operation", json!("x".repeat(10_001))),
        "OSB-GETI-03" if get && done => reply.set("parameters", json!("x")),
        "OSB-UPD-10" if patch && reply.status == 200 => reply.status = 201,
        "OSB-UPD-20" if patch && done => reply.set("dashboard_url", json!(5)),
        "OSB-META-01" if done => reply.set("metadata", json!({"labels": "x"})),
        "OSB-META-02" if done => reply.set("metadata", json!({"attributes": "x"})),
        _ if put => unnamed(fault, "OSB-PROV-11", reply),
        _ if patch => unnamed(fault, "OSB-UPD-15", reply),
        _ => {}
    }
}

fn told(reply: &Reply, text: &str) -> bool {
    reply.body.as_ref().is_some_and(|body| body["description"] == text)
}

fn bindings(fault: &str, ask: &Ask, reply: &mut Reply) {
    let put = ask.route == Route::Bind;
    let rotation = ask.member("predecessor_binding_id").is_some();
    unnamed(fault, "OSB-BIND-16", reply);
    if put && reply.status == 202 {
        match fault {
            "OSB-BIND-11" => reply.set("credentials", json!({"user": "x"})),
            "OSB-BIND-20" => reply.set("operation", json!("x".repeat(10_001))),
            _ => {}
        }
    }
    if !matches!(reply.status, 200 | 201) {
        return;
    }
    match fault {
        "OSB-BIND-09" if put => reply.status = 200,
        "OSB-ROT-02" if put && rotation => reply.status = 200,
        "OSB-GETB-03" if !put => reply.set("parameters", json!("x")),
        "OSB-GETB-04" if !put => reply.body = Some(json!({})),
        "OSB-BIND-21" => reply.set("credentials", json!("x")),
        "OSB-BIND-27" => reply.set("endpoints", json!({})),
        "OSB-BIND-28" => reply.set("endpoints", json!([{"host": "h", "ports": [443]}])),
        "OSB-BIND-25" => change(reply, "/volume_mounts/0/mode", json!("x")),
        "OSB-BIND-26" => change(reply, "/volume_mounts/0/device", json!({})),
        "OSB-BIND-29" => change(reply, "/metadata/expires_at", json!("2031-05-04T03:02:01Z")),
        "OSB-BIND-30" => change(reply, "/metadata/renew_before", json!("2032-05-04T03:02:01.0Z")),
        _ => {}
    }
}

fn change(reply: &mut Reply, place: &str, value: Value) {
    if let Some(found) = reply.body.as_mut().and_then(|body| body.pointer_mut(place)) {
        *found = value;
    }
}

fn polls(fault: &str, ask: &Ask, reply: &mut Reply) {
    if reply.status != 200 {
        return;
    }
    let state = |reply: &Reply, state: &str| reply.body.as_ref().is_some_and(|body| body["state"] == state);
    let of_instance = ask.route == Route::PollInstance;
    match fault {
        "OSB-LOI-04" if of_instance && state(reply, "in progress") => reply.set("state", json!("in_progress")),
        "OSB-LOB-03" if !of_instance && state(reply, "in progress") => reply.set("state", json!("in_progress")),
        "OSB-LOI-08" if of_instance => reply.set("description", json!("")),
        "OSB-LOI-09" if of_instance => reply.set("instance_usable", json!(true)),
        _ => {}
    }
}

fn removals(fault: &str, ask: &Ask, reply: &mut Reply) {
    let long = json!("x".repeat(10_001));
    let (bare, operation, unaccepted) = match ask.route {
        Route::Unbind => ("OSB-UNB-03", "OSB-UNB-09", "OSB-UNB-06"),
        _ => ("OSB-DEP-03", "OSB-DEP-09", "OSB-DEP-06"),
    };
    unnamed(fault, unaccepted, reply);
    if fault == bare && reply.status == 200 {
        reply.body = None;
    }
    if fault == operation && reply.status == 202 {
        reply.set("operation", long);
    }
}
