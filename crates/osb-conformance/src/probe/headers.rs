//! Authentication and versions.

use super::{NO_PLAN, Probe, probe};
use crate::answer::Answer;
use crate::call::{Auth, Call, Casing};
use crate::checker::Checker;
use crate::options::Login;
use crate::subject::{Ground, Offer};
use crate::wire::basic;

pub(crate) const PROBES: &[Probe] = &[
    probe!(credentials, "OSB-AUTH-01", "OSB-AUTH-02", "OSB-AUTH-04"),
    probe!(unauthenticated, "OSB-AUTH-03", "OSB-AUTH-07"),
    probe!(
        versions,
        "OSB-VER-02",
        "OSB-VER-03",
        "OSB-VER-05",
        "OSB-VER-06",
        "OSB-VER-07",
        "OSB-VER-08",
        "OSB-VER-09"
    ),
    probe!(header_name, "OSB-VER-10"),
    probe!(refused_version, "OSB-VER-11", "OSB-VER-12"),
    probe!(older, "OSB-COMPAT-01", "OSB-COMPAT-04"),
];

const NO_LOGIN: &str = "there is no login";

/// One request for each endpoint, about something that is not there.
fn everywhere(check: &Checker, offer: &Offer) -> Vec<Call> {
    let (id, binding) = (check.id("nobody"), check.id("nobody"));
    let (service, plan) = (&offer.service_id, &offer.plan_id);
    vec![
        Call::catalog(),
        Call::provision(&id, &check.order(offer)).accepting(),
        Call::fetch_instance(&id),
        Call::update(&id, &check.order(offer)).accepting(),
        Call::poll_instance(&id),
        Call::bind(&id, &binding, &check.bind_order(offer)).accepting(),
        Call::fetch_binding(&id, &binding),
        Call::poll_binding(&id, &binding),
        Call::unbind(&id, &binding, service, plan).accepting(),
        Call::deprovision(&id, service, plan).accepting(),
    ]
}

async fn credentials(check: &Checker, _: &Ground) {
    let wrong = match &check.options.login {
        Login::None => return check.skip(&["OSB-AUTH-01", "OSB-AUTH-02", "OSB-AUTH-04"], NO_LOGIN),
        Login::Basic { username, password } => {
            vec![
                basic(username, &format!("{password}x")),
                basic(username, ""),
                basic("osb-check-nobody", password),
            ]
        }
        Login::Bearer(token) => vec![format!("Bearer {token}x")],
    };
    let served = check.send(Call::catalog()).await;
    check.answers(
        "OSB-AUTH-01",
        "the catalog with the agreed credentials",
        &served,
        &[200],
    );
    let malformed = ["", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Unknown abc", "garbage"].map(str::to_owned);
    let values = malformed.into_iter().chain(wrong).map(Auth::Value);
    for auth in std::iter::once(Auth::Absent).chain(values) {
        let what = if auth == Auth::Absent {
            "a request without credentials"
        } else {
            "a request with wrong credentials"
        };
        let answer = check.send(Call::catalog().auth(auth)).await;
        check.that(
            "OSB-AUTH-01",
            !answer.succeeded(),
            format!("{what} is served"),
            &[&answer],
        );
        check.answers("OSB-AUTH-02", what, &answer, &[401]);
        if answer.status == 401 {
            let told = answer.header("www-authenticate").is_some();
            check.that("OSB-AUTH-04", told, "a 401 has no WWW-Authenticate", &[&answer]);
            let object = answer.json.as_ref().is_some_and(serde_json::Value::is_object);
            check.that("OSB-AUTH-04", object, "the body of a 401 is no JSON object", &[&answer]);
        }
    }
}

async fn unauthenticated(check: &Checker, ground: &Ground) {
    let ids = &["OSB-AUTH-03", "OSB-AUTH-07"];
    if matches!(check.options.login, Login::None) {
        return check.skip(ids, NO_LOGIN);
    }
    let Some(subject) = ground.any() else {
        return check.skip(ids, NO_PLAN);
    };
    let offer = &subject.offer;
    for call in everywhere(check, offer) {
        let what = format!("{:?} without credentials", call.op);
        let answer = check.send(call.auth(Auth::Absent)).await;
        check.answers("OSB-AUTH-03", &what, &answer, &[401]);
    }
    let id = check.id("anonymous");
    let put = check
        .send(Call::provision(&id, &check.order(offer)).accepting().auth(Auth::Absent))
        .await;
    let delete = check.delete(offer, &id).await;
    let wrong = "a PUT without credentials has made an instance";
    check.that("OSB-AUTH-07", delete.is(&[404, 410]), wrong, &[&put, &delete]);
    let Some(id) = check.instance(offer, "guarded").await else {
        return;
    };
    let call = Call::deprovision(&id, &offer.service_id, &offer.plan_id).accepting();
    let anonymous = check.send(call.auth(Auth::Absent)).await;
    let (there, never) = (Call::poll_instance(&id), Call::poll_instance(&check.id("never")));
    let (there, never) = (
        check.send(there.auth(Auth::Absent)).await,
        check.send(never.auth(Auth::Absent)).await,
    );
    let told = there.status != never.status;
    check.that(
        "OSB-AUTH-07",
        !told,
        "without credentials one sees which instances are there",
        &[&there, &never],
    );
    let removed = check.deprovisioned(offer, &id).await;
    let holds = removed.answer.is(&[200, 202]);
    check.that(
        "OSB-AUTH-07",
        holds,
        "a DELETE without credentials removes",
        &[&anonymous, &removed.answer],
    );
}

async fn versions(check: &Checker, _: &Ground) {
    let get = |version: &str| check.send(Call::catalog().version(version));
    for version in ["2.18", "2.99"] {
        check.answers("OSB-VER-02", &format!("version {version}"), &get(version).await, &[200]);
    }
    let answer = get("2.100").await;
    check.answers("OSB-VER-07", "version 2.100", &answer, &[200]);
    for version in ["1.0", "3.0"] {
        let answer = get(version).await;
        check.that(
            "OSB-VER-08",
            !answer.succeeded(),
            format!("version {version} is served"),
            &[&answer],
        );
        if !answer.succeeded() {
            check.answers("OSB-VER-03", &format!("version {version}"), &answer, &[412]);
        }
        if answer.status == 412 {
            let named = answer.text("description").is_some_and(|text| text.contains("2."));
            check.that(
                "OSB-VER-05",
                named,
                "`description` of a 412 names no version",
                &[&answer],
            );
        }
    }
    for version in ["abc", "2", "", "2.x", "2.17.0", "-2.17", "99999999999999999999.1"] {
        let answer = get(version).await;
        let holds = answer.succeeded() || answer.is(&[400, 412]);
        let wrong = format!("version {version:?} is answered {}, not 400 or 412", answer.told());
        check.that("OSB-VER-09", holds, wrong, &[&answer]);
    }
    let answer = check.send(Call::catalog().without_version()).await;
    check.answers("OSB-VER-06", "a request without version", &answer, &[200, 400]);
}

async fn header_name(check: &Checker, _: &Ground) {
    for casing in [Casing::Lower, Casing::Title] {
        let answer = check
            .send(Call {
                casing,
                ..Call::catalog()
            })
            .await;
        check.answers(
            "OSB-VER-10",
            &format!("the header's name in {casing:?} case"),
            &answer,
            &[200],
        );
    }
}

async fn refused_version(check: &Checker, ground: &Ground) {
    let ids = &["OSB-VER-11", "OSB-VER-12"];
    let Some(subject) = ground.any() else {
        return check.skip(ids, NO_PLAN);
    };
    let catalog = check.send(Call::catalog().version("3.0")).await;
    if !catalog.refused() {
        return check.skip(ids, "version 3.0 is served");
    }
    for call in everywhere(check, &subject.offer) {
        let what = format!("{:?} with version 3.0", call.op);
        let answer = check.send(call.version("3.0")).await;
        check.answers("OSB-VER-12", &what, &answer, &[catalog.status]);
    }
    let id = check.id("version");
    let put = check
        .send(
            Call::provision(&id, &check.order(&subject.offer))
                .accepting()
                .version("3.0"),
        )
        .await;
    let delete = check.delete(&subject.offer, &id).await;
    let wrong = "a PUT with version 3.0 has made an instance";
    check.that("OSB-VER-11", delete.is(&[404, 410]), wrong, &[&put, &delete]);
}

/// A platform of another time: fewer fields, fewer answers that it can take.
async fn older(check: &Checker, ground: &Ground) {
    let ids = &["OSB-COMPAT-01", "OSB-COMPAT-04"];
    let Some(subject) = ground.any() else {
        return check.skip(ids, NO_PLAN);
    };
    let offer = &subject.offer;
    for version in ["2.11", "2.13", "2.15"] {
        let catalog = check.send(Call::catalog().version(version)).await;
        check.answers("OSB-COMPAT-04", &format!("version {version}"), &catalog, &[200, 412]);
        if catalog.status != 200 {
            check.skip(&["OSB-COMPAT-01"], "older versions are refused");
            continue;
        }
        let id = check.id("older");
        let put = check
            .send(Call::provision(&id, &check.order(offer)).accepting().version(version))
            .await;
        check.that(
            "OSB-COMPAT-04",
            put.status != 412,
            same_policy(version),
            &[&catalog, &put],
        );
        let wrong = format!("a provision with version {version} is answered {}", put.told());
        check.that("OSB-COMPAT-01", put.succeeded(), wrong, &[&put]);
        settle(check, &id, &put).await;
        check.deprovisioned(offer, &id).await;
    }
}

fn same_policy(version: &str) -> String {
    format!("version {version} gets a catalog and no provision")
}

async fn settle(check: &Checker, id: &str, put: &Answer) {
    if put.status == 202 {
        check
            .follow(&Call::poll_instance(id).of_operation(put.operation()))
            .await;
    }
}
