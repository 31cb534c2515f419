//! Binds and their repeats.

use serde_json::{Value, json};

use super::malformed::against;
use super::{NOT_BINDABLE, Probe, probe};
use crate::call::Call;
use crate::checker::Checker;
use crate::life::Outcome;
use crate::subject::{Ground, Mode, Subject};

pub(crate) const PROBES: &[Probe] = &[
    probe!(
        repeats,
        "OSB-BIND-09",
        "OSB-BIND-12",
        "OSB-BIND-13",
        "OSB-BIND-19",
        "OSB-BIND-21",
        "OSB-LOB-06"
    ),
    probe!(polls, "OSB-LOB-02"),
    probe!(
        malformed,
        "OSB-BIND-01",
        "OSB-BIND-02",
        "OSB-BIND-14",
        "OSB-BIND-32",
        "OSB-GEN-01"
    ),
    probe!(applications, "OSB-BIND-04", "OSB-BIND-05"),
    probe!(requires_app, "OSB-BIND-15"),
    probe!(parameters, "OSB-BIND-06"),
    probe!(nowhere, "OSB-BIND-18"),
];

fn modes(ground: &Ground) -> Vec<&Subject> {
    let of = |mode: Mode| ground.pick(|subject| subject.bind == Some(mode));
    [of(Mode::Sync), of(Mode::Async)].into_iter().flatten().collect()
}

async fn repeats(check: &Checker, ground: &Ground) {
    let covered = [
        "OSB-BIND-09",
        "OSB-BIND-12",
        "OSB-BIND-13",
        "OSB-BIND-19",
        "OSB-BIND-21",
        "OSB-LOB-06",
    ];
    if ground.bound().is_none() {
        return check.skip(&covered, NOT_BINDABLE);
    }
    for subject in modes(ground) {
        let offer = &subject.offer;
        let Some(id) = check.instance(offer, "bound").await else {
            continue;
        };
        let binding = check.id("repeat");
        let first = check.bound(offer, &id, &binding).await;
        if first.is_done() {
            repeat(check, subject, &id, &binding, &first).await;
            conflict(check, subject, &id, &binding).await;
            check.unbound(offer, &id, &binding).await;
        }
        check.deprovisioned(offer, &id).await;
    }
}

async fn repeat(check: &Checker, subject: &Subject, id: &str, binding: &str, first: &Outcome) {
    let offer = &subject.offer;
    if first.followed.is_none() {
        check.answers("OSB-BIND-09", "a new binding, made at once,", &first.answer, &[201]);
        let body = first.answer.json.as_ref().and_then(Value::as_object);
        let delivered = body.is_some_and(|body| body.keys().any(|name| name != "metadata" && name != "operation"));
        let wrong = "a 201 has nothing of the binding, and it cannot be fetched";
        check.that(
            "OSB-BIND-19",
            delivered || offer.bindings_retrievable,
            wrong,
            &[&first.answer],
        );
    } else {
        let wrong = "a bind is asynchronous, but the offering has no bindings_retrievable";
        check.that("OSB-BIND-19", offer.bindings_retrievable, wrong, &[&first.answer]);
        let poll = check
            .send(Call::poll_binding(id, binding).of_operation(first.answer.operation()))
            .await;
        let wrong = format!("a second poll of the finished bind is answered {}", poll.told());
        check.that("OSB-LOB-06", poll.state() == Some("succeeded"), wrong, &[&poll]);
    }
    let again = check
        .send(Call::bind(id, binding, &check.bind_order(offer)).accepting())
        .await;
    check.answers("OSB-BIND-12", "an identical PUT of a complete binding", &again, &[200]);
    let evidence = [&first.answer, &again];
    check.that(
        "OSB-BIND-09",
        again.status != 201,
        "a repeated bind is answered 201 again",
        &evidence,
    );
    if again.status == 200 && first.followed.is_none() {
        let same = again.member("credentials") == first.answer.member("credentials");
        check.that(
            "OSB-BIND-12",
            same,
            "a repeated bind has other credentials than the first one",
            &evidence,
        );
    }
}

async fn conflict(check: &Checker, subject: &Subject, id: &str, binding: &str) {
    let mut other = check.bind_order(&subject.offer);
    other["bind_resource"] = json!({"app_guid": "osb-check-other"});
    let answer = check.send(Call::bind(id, binding, &other).accepting()).await;
    check.answers(
        "OSB-BIND-13",
        "a bind of the same id for another application",
        &answer,
        &[409],
    );
    let again = check
        .send(Call::bind(id, binding, &check.bind_order(&subject.offer)).accepting())
        .await;
    let changed = again.is(&[201, 409]) && answer.status == 409;
    let wrong = format!(
        "a refused bind has changed the binding: the first order is now {}",
        again.told()
    );
    check.that("OSB-BIND-13", !changed, wrong, &[&answer, &again]);
}

async fn polls(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-LOB-02"], NOT_BINDABLE);
    };
    if !ground.subjects.iter().any(|subject| subject.bind == Some(Mode::Async)) {
        return check.skip(
            &["OSB-LOB-02"],
            "no bind is asynchronous, so the endpoint is not needed",
        );
    }
    let Some(id) = check.instance(&subject.offer, "polled").await else {
        return;
    };
    let never = check.send(Call::poll_binding(&id, &check.id("never"))).await;
    check.answers("OSB-LOB-02", "a poll of a binding that was never there", &never, &[404]);
    check.deprovisioned(&subject.offer, &id).await;
}

async fn malformed(check: &Checker, ground: &Ground) {
    let covered = ["OSB-BIND-01", "OSB-BIND-02", "OSB-BIND-14", "OSB-BIND-32", "OSB-GEN-01"];
    let Some(subject) = ground.bound() else {
        return check.skip(&covered, NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "malformed").await else {
        return;
    };
    for (requirement, what, body) in malformed_bodies(&check.bind_order(offer)) {
        let binding = check.id("malformed");
        let answer = check
            .send(Call::bind(&id, &binding, &Value::Null).bytes(body).accepting())
            .await;
        check.answers(requirement, &what, &answer, &[400]);
        if answer.refused() {
            let delete = check.delete_binding(offer, &id, &binding).await;
            let wrong = format!("{what} is refused, and yet there is something under the id");
            check.that("OSB-BIND-32", delete.is(&[404, 410]), wrong, &[&answer, &delete]);
        }
    }
    let binding = check.id("lenient");
    let mut order = check.bind_order(offer);
    order["osb_check_unknown"] = json!([1]);
    order["bind_resource"]["osb_check_unknown"] = json!(1);
    order["context"] = json!({"platform": "osb-check", "osb_check_unknown": 1});
    let made = check
        .finished(Call::bind(&id, &binding, &order).accepting(), offer)
        .await;
    let wrong = format!("a bind with unknown fields is answered {}", made.answer.told());
    check.that("OSB-GEN-01", made.is_done(), wrong, &made.evidence());
    check.unbound(offer, &id, &binding).await;
    check.deprovisioned(offer, &id).await;
}

fn malformed_bodies(order: &Value) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut bodies = Vec::new();
    for (requirement, name) in [("OSB-BIND-01", "service_id"), ("OSB-BIND-02", "plan_id")] {
        let mut missing = order.clone();
        if let Some(members) = missing.as_object_mut() {
            members.remove(name);
        }
        bodies.push((
            requirement,
            format!("a bind without `{name}`"),
            missing.to_string().into_bytes(),
        ));
        for wrong in [json!(7), json!(["x"]), json!("osb-check-unknown")] {
            let mut body = order.clone();
            let what = format!("a bind with {wrong} as `{name}`");
            body[name] = wrong;
            bodies.push((requirement, what, body.to_string().into_bytes()));
        }
    }
    for name in ["parameters", "context", "bind_resource"] {
        let mut body = order.clone();
        body[name] = json!("x");
        bodies.push((
            "OSB-BIND-14",
            format!("a bind with a string as `{name}`"),
            body.to_string().into_bytes(),
        ));
    }
    for body in [&b"{nonsense"[..], b"[]", b"null", b""] {
        bodies.push(("OSB-BIND-14", "a bind that is no JSON object".to_owned(), body.to_vec()));
    }
    bodies
}

/// The application: in its old place, and not at all.
async fn applications(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-BIND-04", "OSB-BIND-05"], NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let Some(id) = check.instance(offer, "application").await else {
        return;
    };
    let mut old = check.bind_order(offer);
    old["app_guid"] = json!("osb-check-application");
    let mut both = old.clone();
    both["bind_resource"] = json!({"app_guid": "osb-check-application"});
    let mut absent = check.bind_order(offer);
    for order in [&mut old, &mut absent] {
        if let Some(members) = order.as_object_mut() {
            members.remove("bind_resource");
        }
    }
    let mut empty = absent.clone();
    empty["bind_resource"] = json!({});
    for (requirement, what, order) in [
        ("OSB-BIND-04", "a bind with `app_guid`", old),
        ("OSB-BIND-04", "a bind with `app_guid` in both places", both),
        ("OSB-BIND-05", "a bind without `bind_resource`", absent),
        ("OSB-BIND-05", "a bind with an empty `bind_resource`", empty),
    ] {
        let binding = check.id("application");
        let made = check
            .finished(Call::bind(&id, &binding, &order).accepting(), offer)
            .await;
        let holds = made.is_done() || requirement == "OSB-BIND-05" && made.answer.is_reserved("RequiresApp");
        let wrong = format!("{what} is answered {}", made.answer.told());
        check.that(requirement, holds, wrong, &made.evidence());
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}

/// Plans that want an application have to say so in the one way that there is.
async fn requires_app(check: &Checker, ground: &Ground) {
    let mut found = false;
    for subject in ground.subjects.iter().filter(|subject| subject.bind.is_some()) {
        let offer = &subject.offer;
        let Some(id) = check.instance(offer, "app").await else {
            continue;
        };
        let mut order = check.bind_order(offer);
        if let Some(members) = order.as_object_mut() {
            members.remove("bind_resource");
        }
        let binding = check.id("app");
        let made = check
            .finished(Call::bind(&id, &binding, &order).accepting(), offer)
            .await;
        if made.answer.refused() {
            found = true;
            check.reserved(
                "OSB-BIND-15",
                "a bind without application, which is refused,",
                &made.answer,
                "RequiresApp",
            );
        } else {
            check.unbound(offer, &id, &binding).await;
        }
        check.deprovisioned(offer, &id).await;
    }
    if !found {
        check.skip(&["OSB-BIND-15"], "no plan wants an application");
    }
}

async fn parameters(check: &Checker, ground: &Ground) {
    let with_schema = |subject: &Subject| {
        let schema = subject.offer.schema("service_binding", "create");
        subject.bind.is_some() && schema.is_some_and(|schema| !against(schema, None).is_empty())
    };
    let Some(subject) = ground.pick(with_schema) else {
        return check.skip(
            &["OSB-BIND-06"],
            "no plan has a schema of binding parameters that refuses something",
        );
    };
    let offer = &subject.offer;
    let schema = offer.schema("service_binding", "create").cloned().unwrap_or_default();
    let Some(id) = check.instance(offer, "parameters").await else {
        return;
    };
    for (what, parameters) in against(&schema, check.bind_order(offer).get("parameters")) {
        let binding = check.id("parameters");
        let mut order = check.bind_order(offer);
        order["parameters"] = parameters;
        let made = check
            .finished(Call::bind(&id, &binding, &order).accepting(), offer)
            .await;
        check.answers(
            "OSB-BIND-06",
            &format!("a bind with {what}, which the schema refuses,"),
            &made.answer,
            &[400],
        );
        let told = made.answer.member("description").is_some();
        check.that(
            "OSB-BIND-06",
            told,
            "invalid parameters are refused without description",
            &[&made.answer],
        );
        check.unbound(offer, &id, &binding).await;
    }
    check.deprovisioned(offer, &id).await;
}

/// Binds of what is not there, or cannot be bound.
async fn nowhere(check: &Checker, ground: &Ground) {
    let Some(subject) = ground.bound() else {
        return check.skip(&["OSB-BIND-18"], NOT_BINDABLE);
    };
    let offer = &subject.offer;
    let (id, binding) = (check.id("never"), check.id("never"));
    let answer = check
        .send(Call::bind(&id, &binding, &check.bind_order(offer)).accepting())
        .await;
    let wrong = format!(
        "a bind of an instance that was never there is answered {}",
        answer.told()
    );
    check.that("OSB-BIND-18", answer.refused(), wrong, &[&answer]);
    let Some(closed) = ground.pick(|subject| !subject.offer.bindable) else {
        return check.skip(&["OSB-BIND-18"], "every plan can be bound");
    };
    let offer = &closed.offer;
    let Some(id) = check.instance(offer, "closed").await else {
        return;
    };
    let answer = check
        .send(Call::bind(&id, &binding, &check.bind_order(offer)).accepting())
        .await;
    let wrong = format!("a bind of a plan that cannot be bound is answered {}", answer.told());
    check.that("OSB-BIND-18", answer.refused(), wrong, &[&answer]);
    check.deprovisioned(offer, &id).await;
}
