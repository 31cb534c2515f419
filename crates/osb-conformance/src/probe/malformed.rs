//! Provisions that cannot be carried out as they stand, and those that only look so.

use serde_json::{Value, json};

use super::{NO_PLAN, Probe, probe};
use crate::call::{Call, Op};
use crate::checker::Checker;
use crate::subject::{Ground, Offer};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        fields,
        "OSB-PROV-01",
        "OSB-PROV-02",
        "OSB-PROV-03",
        "OSB-PROV-04",
        "OSB-PROV-20"
    ),
    probe!(bodies, "OSB-PROV-09", "OSB-ERR-01", "OSB-PROV-20"),
    probe!(routes, "OSB-ERR-01"),
    probe!(content_types, "OSB-CT-03", "OSB-CT-04"),
    probe!(lenient, "OSB-GEN-01", "OSB-GEN-03", "OSB-GEN-08"),
    probe!(parameters, "OSB-PROV-06", "OSB-SCH-07"),
    probe!(maintenance, "OSB-PROV-12", "OSB-MNT-03", "OSB-MNT-04"),
];

/// Sends a provision that has to be refused with 400, and looks that nothing came of it.
async fn refused(check: &Checker, offer: &Offer, id: &'static str, what: &str, call: impl FnOnce(&str) -> Call) {
    let instance = check.id("malformed");
    let answer = check.send(call(&instance).accepting()).await;
    check.answers(id, what, &answer, &[400]);
    check.that(
        "OSB-ERR-01",
        answer.status < 500,
        format!("{what} is answered {}", answer.told()),
        &[&answer],
    );
    if answer.refused() {
        let delete = check.delete(offer, &instance).await;
        let wrong = format!("{what} is refused, and yet there is something under the id");
        check.that("OSB-PROV-20", delete.is(&[404, 410]), wrong, &[&answer, &delete]);
    }
}

/// The required fields: missing, of another type, empty, unknown.
async fn fields(check: &Checker, ground: &Ground) {
    let covered = [
        "OSB-PROV-01",
        "OSB-PROV-02",
        "OSB-PROV-03",
        "OSB-PROV-04",
        "OSB-PROV-20",
    ];
    let Some(subject) = ground.any() else {
        return check.skip(&covered, NO_PLAN);
    };
    let offer = &subject.offer;
    for (requirement, name) in [
        ("OSB-PROV-01", "service_id"),
        ("OSB-PROV-02", "plan_id"),
        ("OSB-PROV-03", "organization_guid"),
        ("OSB-PROV-04", "space_guid"),
    ] {
        let mut order = check.order(offer);
        if let Some(members) = order.as_object_mut() {
            members.remove(name);
        }
        let what = format!("a provision without `{name}`");
        refused(check, offer, requirement, &what, |id| Call::provision(id, &order)).await;
        for wrong in [json!(7), json!({"x": 1}), json!(["x"]), json!("")] {
            let what = format!("a provision with {wrong} as `{name}`");
            order[name] = wrong;
            refused(check, offer, requirement, &what, |id| Call::provision(id, &order)).await;
        }
    }
    for (requirement, name) in [("OSB-PROV-01", "service_id"), ("OSB-PROV-02", "plan_id")] {
        let mut order = check.order(offer);
        order[name] = json!("osb-check-unknown");
        let what = format!("a provision with an unknown `{name}`");
        refused(check, offer, requirement, &what, |id| Call::provision(id, &order)).await;
    }
    if let Some(foreign) = ground.offers.iter().find(|other| other.service_id != offer.service_id) {
        let mut order = check.order(offer);
        order["plan_id"] = json!(foreign.plan_id);
        refused(
            check,
            offer,
            "OSB-PROV-02",
            "a provision with a plan of another offering",
            |id| Call::provision(id, &order),
        )
        .await;
    }
}

/// Bodies that are no order at all.
async fn bodies(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-PROV-09", "OSB-ERR-01", "OSB-PROV-20"], NO_PLAN);
    };
    let offer = &subject.offer;
    let order = check.order(offer).to_string();
    let cut = order.trim_end_matches('}').to_owned();
    let nested = format!("{cut},\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let mut invalid_text = format!("{cut},\"x\":\"").into_bytes();
    invalid_text.extend_from_slice(b"\xff\xfe\"}");
    let bodies: [(&str, Vec<u8>); 8] = [
        ("an empty body", Vec::new()),
        ("a body that is no JSON", b"{nonsense".to_vec()),
        ("a body that is cut off", cut.clone().into_bytes()),
        ("a body with something after it", format!("{order} x").into_bytes()),
        ("an array as body", format!("[{order}]").into_bytes()),
        ("a string as body", b"\"x\"".to_vec()),
        ("null as body", b"null".to_vec()),
        ("a body that is no UTF-8", invalid_text),
    ];
    for (what, body) in bodies {
        refused(check, offer, "OSB-PROV-09", what, |id| {
            Call::provision(id, &Value::Null).bytes(body)
        })
        .await;
    }
    for name in ["parameters", "context", "maintenance_info"] {
        for wrong in [json!("x"), json!(["x"]), json!(7)] {
            let what = format!("a provision with {wrong} as `{name}`");
            let mut order = check.order(offer);
            order[name] = wrong;
            refused(check, offer, "OSB-PROV-09", &what, |id| Call::provision(id, &order)).await;
        }
    }
    // It may be too deep for a broker: it must not be too much for it.
    let id = check.id("deep");
    let deep = check
        .send(
            Call::provision(&id, &Value::Null)
                .bytes(nested.into_bytes())
                .accepting(),
        )
        .await;
    let holds = deep.was_answered() && deep.status < 500;
    check.that(
        "OSB-ERR-01",
        holds,
        format!("deeply nested JSON is answered {}", deep.told()),
        &[&deep],
    );
}

async fn routes(check: &Checker, _: &Ground) {
    let calls = [
        Call::new(Op::Other, http::Method::GET, "/v2/osb_check".to_owned()),
        Call::new(Op::Other, http::Method::POST, "/v2/catalog".to_owned()),
        Call::new(
            Op::Other,
            http::Method::POST,
            "/v2/service_instances/osb-check-none".to_owned(),
        ),
        Call::new(
            Op::Other,
            http::Method::GET,
            "/v2/service_instances/%ff/last_operation".to_owned(),
        ),
        Call::new(
            Op::Other,
            http::Method::GET,
            "/v2/service_instances/%zz/last_operation".to_owned(),
        ),
    ];
    for call in calls {
        let what = format!("{} {}", call.method, call.path);
        let answer = check.send(call).await;
        let holds = answer.was_answered() && answer.status < 500;
        check.that(
            "OSB-ERR-01",
            holds,
            format!("{what} is answered {}", answer.told()),
            &[&answer],
        );
    }
}

async fn content_types(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-CT-03", "OSB-CT-04"], NO_PLAN);
    };
    let offer = &subject.offer;
    for (requirement, media) in [
        ("OSB-CT-04", "application/json; charset=utf-8"),
        ("OSB-CT-04", "Application/JSON;charset=UTF-8"),
        ("OSB-CT-03", "text/plain"),
        ("OSB-CT-03", "application/x-www-form-urlencoded"),
    ] {
        let id = check.id("media");
        let call = Call::provision(&id, &check.order(offer))
            .content_type(media)
            .accepting();
        let made = check.finished(call, offer).await;
        // Another type may be processed all the same.
        let holds = made.is_done() || requirement == "OSB-CT-03" && made.answer.status == 400;
        let wrong = format!("a provision as {media} is answered {}", made.answer.told());
        check.that(requirement, holds, wrong, &made.evidence());
        check.deprovisioned(offer, &id).await;
    }
    let broken = check
        .send(Call::provision(&check.id("media"), &json!({})).bytes(b"{".to_vec()))
        .await;
    check.answers("OSB-CT-03", "a body that is no JSON", &broken, &[400]);
}

/// What has to be taken although it is unusual.
async fn lenient(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.any() else {
        return check.skip(&["OSB-GEN-01", "OSB-GEN-03", "OSB-GEN-08"], NO_PLAN);
    };
    let offer = &subject.offer;
    let mut unknown = check.order(offer);
    unknown["osb_check_unknown"] = json!({"a": [1, null]});
    unknown["context"] = json!({"platform": "osb-check", "osb_check_unknown": [1]});
    if let Some(version) = &offer.maintenance {
        unknown["maintenance_info"] = json!({"version": version, "osb_check_unknown": 1});
    }
    let mut minimal = check.order(offer);
    if let (Some(members), None) = (minimal.as_object_mut(), &check.options.parameters) {
        members.remove("parameters");
    }
    let mut nulls = check.order(offer);
    for name in ["context", "maintenance_info"] {
        nulls[name] = Value::Null;
    }
    for (requirement, what, order, query) in [
        ("OSB-GEN-01", "a provision with unknown fields", unknown, None),
        (
            "OSB-GEN-03",
            "a provision with the required fields only",
            minimal.clone(),
            None,
        ),
        ("OSB-GEN-03", "a provision with null for optional fields", nulls, None),
        (
            "OSB-GEN-08",
            "a provision with an unknown query parameter",
            minimal,
            Some("osb_check_unknown"),
        ),
    ] {
        let id = check.id("lenient");
        let mut call = Call::provision(&id, &order).accepting();
        if let Some(name) = query {
            call = call.query(name, "x y");
        }
        let made = check.finished(call, offer).await;
        let wrong = format!("{what} is answered {}", made.answer.told());
        check.that(requirement, made.is_done(), wrong, &made.evidence());
        check.deprovisioned(offer, &id).await;
    }
}

/// Parameters that the published schema refuses: with each, what was given of the others.
pub(crate) fn against(schema: &Value, given: Option<&Value>) -> Vec<(String, Value)> {
    let base = given
        .filter(|given| given.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut found = Vec::new();
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        let mut wrong = base.clone();
        wrong["osb_check_unknown"] = json!(1);
        found.push(("an unknown parameter".to_owned(), wrong));
    }
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let kinds: Vec<&str> = match property.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let candidates = [
            ("boolean", json!(true)),
            ("string", json!("osb-check")),
            ("array", json!([])),
        ];
        let misfit = candidates.into_iter().find(|(kind, _)| !kinds.contains(kind));
        if let Some((_, value)) = misfit {
            let mut wrong = base.clone();
            wrong[name] = value;
            found.push((format!("another type as {name:?}"), wrong));
        }
    }
    found
}

async fn parameters(check: &Checker, ground: &Ground) {
    let covered = ["OSB-PROV-06", "OSB-SCH-07"];
    let with_schema = |subject: &crate::subject::Subject| {
        subject
            .offer
            .schema("service_instance", "create")
            .is_some_and(|schema| !against(schema, None).is_empty())
    };
    let Some(subject) = ground.pick(with_schema) else {
        return check.skip(&covered, "no plan has a schema of parameters that refuses something");
    };
    let offer = &subject.offer;
    let schema = offer.schema("service_instance", "create").cloned().unwrap_or_default();
    for (what, parameters) in against(&schema, check.order(offer).get("parameters")) {
        let id = check.id("parameters");
        let mut order = check.order(offer);
        order["parameters"] = parameters;
        let made = check.finished(Call::provision(&id, &order).accepting(), offer).await;
        let wrong = format!("{what}, which the schema refuses, is answered {}", made.answer.told());
        check.that("OSB-SCH-07", !made.is_done(), wrong, &[&made.answer]);
        if made.answer.refused() {
            check.answers("OSB-PROV-06", &what, &made.answer, &[400]);
            let told = made.answer.member("description").is_some();
            check.that(
                "OSB-PROV-06",
                told,
                "invalid parameters are refused without description",
                &[&made.answer],
            );
        }
        check.deprovisioned(offer, &id).await;
    }
}

async fn maintenance(check: &Checker, ground: &Ground) {
    let Some(any) = ground.any() else {
        return check.skip(&["OSB-PROV-12", "OSB-MNT-03", "OSB-MNT-04"], NO_PLAN);
    };
    let maintained = ground.pick(|subject| subject.offer.maintenance.is_some());
    let offer = &maintained.unwrap_or(any).offer;
    let provision = async |version: Value| {
        let id = check.id("maintenance");
        let mut order = check.order(offer);
        order["maintenance_info"] = version;
        let made = check.finished(Call::provision(&id, &order).accepting(), offer).await;
        check.deprovisioned(offer, &id).await;
        made
    };
    let other = provision(json!({"version": "987.65.4"})).await;
    check.reserved(
        "OSB-PROV-12",
        "another maintenance version",
        &other.answer,
        "MaintenanceInfoConflict",
    );
    let Some(version) = &offer.maintenance else {
        return check.skip(&["OSB-MNT-03", "OSB-MNT-04"], "no plan has maintenance_info");
    };
    let same = provision(json!({"version": version, "description": "another one", "more": 1})).await;
    let wrong = format!(
        "the catalog's maintenance version with another description is answered {}",
        same.answer.told()
    );
    check.that("OSB-MNT-03", same.is_done(), wrong, &same.evidence());
    let core = version.split('+').next().unwrap_or_default();
    let built = provision(json!({"version": format!("{core}+osb.check")})).await;
    let what = "a maintenance version with other build metadata";
    check.reserved("OSB-MNT-04", what, &built.answer, "MaintenanceInfoConflict");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_a_schema_refuses() {
        let schema = json!({
            "additionalProperties": false,
            "properties": {"flag": {"type": "boolean"}, "any": {}, "both": {"type": ["boolean", "string"]}},
        });
        let found: Vec<Value> = against(&schema, Some(&json!({"kept": 1})))
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        let expected = [
            json!({"kept": 1, "osb_check_unknown": 1}),
            json!({"kept": 1, "both": []}),
            json!({"kept": 1, "flag": "osb-check"}),
        ];
        assert_eq!(found, expected);
        assert!(against(&json!({}), None).is_empty());
    }
}
