//! The catalog, asked for again and again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Probe, probe};
use crate::answer::Answer;
use crate::call::{Auth, Call};
use crate::checker::Checker;
use crate::options::Login;
use crate::subject::Ground;

pub(crate) const PROBES: &[Probe] = &[
    probe!(stable, "OSB-CAT-02"),
    probe!(etag, "OSB-CAT-07", "OSB-CAT-09", "OSB-CAT-10"),
    probe!(last_modified, "OSB-CAT-08"),
];

/// Ids by names.
fn ids(answer: &Answer) -> BTreeMap<String, String> {
    let items = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut ids = BTreeMap::new();
    for service in answer.json.iter().flat_map(|catalog| items(catalog, "services")) {
        let name = text(&service, "name");
        for plan in items(&service, "plans") {
            ids.insert(format!("{name}/{}", text(&plan, "name")), text(&plan, "id"));
        }
        ids.insert(name, text(&service, "id"));
    }
    ids
}

async fn stable(check: &Checker, _: &Ground) {
    let first = check.send(Call::catalog()).await;
    for _ in 0..2 {
        let next = check.send(Call::catalog()).await;
        let (before, after) = (ids(&first), ids(&next));
        // What was added or removed meanwhile is allowed.
        let changed = before
            .iter()
            .find(|(name, id)| after.get(*name).is_some_and(|other| other != *id));
        let wrong = changed.map_or_else(String::new, |(name, _)| format!("the id of {name:?} has changed"));
        check.that("OSB-CAT-02", changed.is_none(), wrong, &[&first, &next]);
    }
}

async fn etag(check: &Checker, _: &Ground) {
    let first = check.send(Call::catalog()).await;
    let Some(tag) = first.header("etag") else {
        return check.skip(&["OSB-CAT-07", "OSB-CAT-09", "OSB-CAT-10"], "the catalog has no ETag");
    };
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let quoted = opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"');
    check.that("OSB-CAT-07", quoted, "the ETag is no quoted string", &[&first]);
    let weak = format!("W/{opaque}");
    for condition in [tag, &weak, &format!("\"other\", {tag}"), "*"] {
        let answer = check.send(Call::catalog().header("if-none-match", condition)).await;
        check.answers("OSB-CAT-07", &format!("If-None-Match: {condition}"), &answer, &[304]);
        check.that(
            "OSB-CAT-07",
            answer.status != 304 || answer.body.is_empty(),
            "a 304 has a body",
            &[&answer],
        );
        if answer.status == 304 {
            check.that(
                "OSB-CAT-09",
                answer.header("etag") == Some(tag),
                "a 304 does not repeat the ETag",
                &[&answer],
            );
        }
    }
    let other = check
        .send(Call::catalog().header("if-none-match", "\"osb-check-other\""))
        .await;
    check.answers("OSB-CAT-07", "If-None-Match with another ETag", &other, &[200]);
    let again = check.send(Call::catalog()).await;
    let holds = again.body != first.body || again.header("etag") == Some(tag);
    check.that(
        "OSB-CAT-09",
        holds,
        "the ETag changes though the catalog does not",
        &[&first, &again],
    );
    if matches!(check.options.login, Login::None) {
        return check.skip(&["OSB-CAT-10"], "there is no login");
    }
    let anonymous = check
        .send(Call::catalog().auth(Auth::Absent).header("if-none-match", tag))
        .await;
    check.answers("OSB-CAT-10", "If-None-Match without credentials", &anonymous, &[401]);
}

async fn last_modified(check: &Checker, _: &Ground) {
    let first = check.send(Call::catalog()).await;
    let Some(date) = first.header("last-modified") else {
        return check.skip(&["OSB-CAT-08"], "the catalog has no Last-Modified");
    };
    let since = |date: &str| Call::catalog().header("if-modified-since", date);
    let same = check.send(since(date)).await;
    check.answers(
        "OSB-CAT-08",
        "If-Modified-Since with the date of Last-Modified",
        &same,
        &[304],
    );
    let earlier = check.send(since("Mon, 01 Jan 1990 00:00:00 GMT")).await;
    check.answers("OSB-CAT-08", "If-Modified-Since with an earlier date", &earlier, &[200]);
    let both = check
        .send(since(date).header("if-none-match", "\"osb-check-other\""))
        .await;
    check.answers(
        "OSB-CAT-08",
        "If-Modified-Since beside an If-None-Match that does not match",
        &both,
        &[200],
    );
}
