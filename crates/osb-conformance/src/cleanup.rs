//! Removes what the check has made.

use std::time::Duration;

use crate::answer::Answer;
use crate::call::Call;
use crate::checker::{Checker, Track};
use crate::life::poll_of;
use crate::subject::Ground;

/// How often a removal is tried, and how many polls each may take.
const ATTEMPTS: usize = 4;
const POLLS: usize = 200;

/// Removes everything that may be there; what is left is named.
pub(crate) async fn cleanup(check: &Checker, ground: &Ground) -> Vec<String> {
    let mut left = Vec::new();
    for (id, track) in check.tracks() {
        if !is_removed(check, ground, &id, &track).await && track.made {
            left.push(id);
        }
    }
    left
}

/// Whether nothing is under the id in the end. Its plan is not known for sure: it may have been updated, or have been
/// made by a request that names no plan.
async fn is_removed(check: &Checker, ground: &Ground, id: &str, track: &Track) -> bool {
    let own = track.plans.iter().map(|plan| (track.service.as_str(), plan.as_str()));
    let others = ground
        .any()
        .map(|subject| (subject.offer.service_id.as_str(), subject.offer.plan_id.as_str()));
    for (service, plan) in own.chain(others) {
        for binding in &track.bindings {
            remove(check, &Call::unbind(id, binding, service, plan).accepting()).await;
        }
        if remove(check, &Call::deprovision(id, service, plan).accepting()).await {
            return true;
        }
    }
    false
}

/// Whether it is gone in the end.
async fn remove(check: &Checker, call: &Call) -> bool {
    for _ in 0..ATTEMPTS {
        let answer = check.send_unjudged(call.clone()).await;
        match answer.status {
            200 | 404 | 410 => return true,
            202 if is_done(check, call, &answer).await => return true,
            // Another plan may be the right one.
            400 => return false,
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    false
}

async fn is_done(check: &Checker, call: &Call, accepted: &Answer) -> bool {
    let poll = poll_of(call, accepted.operation());
    for attempt in 0..POLLS {
        let answer = check.send_unjudged(poll.clone()).await;
        match (answer.status, answer.state()) {
            (200, Some("in progress")) => tokio::time::sleep(Duration::from_millis(10 * attempt as u64)).await,
            (200, Some("succeeded")) | (404 | 410, _) => return true,
            _ => return false,
        }
    }
    false
}
