//! What an operator orders by hand: it stands as an annotation on the object, so it needs rights on it and nothing else.
//!
//! Whoever owns the shard of the instance does it in the instance's lane, removes the annotation in the same write, and
//! writes a line of the audit. What cannot be done is answered in a second annotation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::controller::Orphan;
use crate::resource::{Kind, Outcome, Stored, Verb};

/// The annotation with an [`AdminOrder`].
pub const ADMIN_ANNOTATION: &str = "osb.internal/admin";

/// The annotation with an [`AdminAnswer`].
pub const ADMIN_ANSWER_ANNOTATION: &str = "osb.internal/admin-answer";

/// The annotations of an object may have 256 KiB together.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 500;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminVerb {
    /// What waits is tried now; what has failed is begun again.
    Retry,
    /// The running operation is stopped, and counts as failed.
    MarkFailed,
    /// The running removal or update is stopped, and counts as done.
    MarkSucceeded,
    /// The object goes, with its bindings, and the author is not called.
    Forget,
    /// The object was made by hand, complete.
    Adopt,
    /// What is sealed in the object was shown to somebody.
    Export,
    /// What is in the backend and belongs to nothing is listed; it stands on the `CatalogRecord`.
    Orphans,
}

impl AdminVerb {
    /// As it stands in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::MarkFailed => "mark failed",
            Self::MarkSucceeded => "mark succeeded",
            Self::Forget => "forget",
            Self::Adopt => "adopt",
            Self::Export => "export",
            Self::Orphans => "orphans",
        }
    }

    /// Whether what runs for the object has to stop first.
    pub(crate) fn stops(self) -> bool {
        matches!(self, Self::MarkFailed | Self::MarkSucceeded | Self::Forget)
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminOrder {
    /// Made up by whoever orders, so that the answer can be told from others.
    pub id: String,
    /// What is to be done.
    pub verb: AdminVerb,
    /// Which life of the object is meant.
    pub incarnation: String,
    /// Which operation is meant, for what is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Why.
    pub reason: String,
    /// Who, as he says himself.
    pub by: String,
}

/// What an order comes to that has an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminAnswer {
    /// That of the order.
    pub id: String,
    /// Why it was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What is in the backend and belongs to nothing, as far as an annotation can hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
    /// How many there are of those.
    #[serde(default)]
    pub count: usize,
}

impl AdminAnswer {
    pub(crate) fn refusal(id: &str, why: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            refused: Some(why.into()),
            ..Self::default()
        }
    }

    /// As many orphans as fit.
    pub(crate) fn orphans(id: &str, found: Vec<Orphan>) -> Self {
        let count = found.len();
        let mut room = MAX_ANSWER_BYTES;
        let mut fits = |orphan: &Orphan| {
            let bytes = orphan.offering.len() + orphan.name.len() + 32;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        Self {
            id: id.to_owned(),
            orphans: found.into_iter().take_while(|orphan| fits(orphan)).collect(),
            count,
            ..Self::default()
        }
    }
}

/// The order that stands on an object. One that makes no sense is one as well: it has to be answered.
pub(crate) fn order(annotations: &BTreeMap<String, String>) -> Option<Result<AdminOrder, AdminAnswer>> {
    let text = annotations.get(ADMIN_ANNOTATION)?;
    let read = serde_json::from_str::<AdminOrder>(text);
    let read = read.map_err(|_| AdminAnswer::refusal("", "the order makes no sense"));
    Some(read.map(|mut order| {
        if let Some((end, _)) = order.reason.char_indices().nth(MAX_REASON_CHARS) {
            order.reason.truncate(end);
        }
        order
    }))
}

/// Whether what runs for an object has to stop for the order that stands on it.
pub(crate) fn stops(annotations: &BTreeMap<String, String>) -> bool {
    matches!(order(annotations), Some(Ok(order)) if order.verb.stops())
}

/// What an order comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The annotation goes, and whatever is to be done for the object is done now.
    GoOn,
    /// An operation of this verb is begun again.
    Begin(Verb),
    /// The running operation ends so.
    End(Outcome),
    /// The object goes without the author.
    Forget,
    Refuse(&'static str),
}

/// What an order means for an object as it stands. Pure.
pub(crate) fn decide(stored: &Stored, order: &AdminOrder) -> Decision {
    if order.incarnation != stored.spec.incarnation {
        return Decision::Refuse("it is about another life of that id");
    }
    let running = stored.running();
    let other = |wanted: &String| running.is_none_or(|running| running.id.as_str() != wanted);
    if order.verb != AdminVerb::Retry && order.operation.as_ref().is_some_and(other) {
        return Decision::Refuse("that operation is not running any more");
    }
    match (order.verb, running) {
        (AdminVerb::Adopt | AdminVerb::Export, _) | (AdminVerb::Retry, Some(_)) => Decision::GoOn,
        (AdminVerb::Retry, None) => again(stored),
        (AdminVerb::Forget, _) => Decision::Forget,
        (AdminVerb::Orphans, _) => Decision::Refuse("that is no order for an instance or binding"),
        (AdminVerb::MarkFailed | AdminVerb::MarkSucceeded, None) => Decision::Refuse("nothing is being done for it"),
        (AdminVerb::MarkFailed, Some(_)) => Decision::End(Outcome::Failed),
        (AdminVerb::MarkSucceeded, Some(running)) => match running.verb {
            Verb::Deprovision | Verb::Unbind => Decision::Forget,
            Verb::Update => Decision::End(Outcome::Succeeded),
            Verb::Provision | Verb::Bind => Decision::Refuse(
                "what it would have made is not known: mark it as failed, or forget it and adopt what there is",
            ),
        },
    }
}

fn again(stored: &Stored) -> Decision {
    let last = stored.record.as_ref().and_then(|record| record.history.last());
    let Some(last) = last.filter(|last| last.outcome != Outcome::Succeeded) else {
        return Decision::Refuse("nothing of it has failed");
    };
    match last.verb {
        Verb::Update => Decision::Refuse("what a failed update was to change is not stored: update it again"),
        Verb::Provision | Verb::Bind if stored.is_complete() => Decision::Refuse("nothing of it has failed"),
        verb if verb.removes() || stored.which() == kind_of(verb) => Decision::Begin(verb),
        _ => Decision::Refuse("nothing of it has failed"),
    }
}

fn kind_of(verb: Verb) -> Kind {
    match verb {
        Verb::Bind | Verb::Unbind => Kind::Binding,
        _ => Kind::Instance,
    }
}

#[cfg(test)]
mod tests {
    use osb_api::id::{InstanceId, OfferingId, PlanId};

    use super::*;
    use crate::objects::ended;
    use crate::resource::{Meta, Record, Running, Spec};

    fn instance(running: Option<Verb>, last: Option<(Verb, Outcome)>, complete: bool) -> Stored {
        let running = running.map(|verb| Running {
            id: Record::operation_id("i", 2),
            verb,
            accepted_at: None,
            progress: None,
            plan_id: None,
            digest: None,
            request: None,
            bound: None,
            trace: None,
        });
        let last = last.map(|(verb, outcome)| {
            ended(
                Record::operation_id("i", 1),
                verb,
                outcome,
                None,
                jiff::Timestamp::UNIX_EPOCH,
            )
        });
        Stored {
            api_version: String::new(),
            kind: String::new(),
            metadata: Meta::default(),
            spec: Spec {
                instance_id: InstanceId::new("a").expect("a valid id"),
                binding_id: None,
                incarnation: "i".to_owned(),
                instance_incarnation: None,
                service_id: OfferingId::new("s").expect("a valid id"),
                plan_id: PlanId::new("p").expect("a valid id"),
                digest: None,
                maintenance: None,
                context: None,
                parameters: None,
            },
            record: Some(Record {
                operation: running,
                history: last.into_iter().collect(),
                outputs: complete.then(String::new),
                ..Record::default()
            }),
            status: None,
            ext: None,
        }
    }

    fn decided(stored: &Stored, verb: AdminVerb) -> String {
        let order = AdminOrder {
            id: "1".to_owned(),
            verb,
            incarnation: "i".to_owned(),
            operation: None,
            reason: "because".to_owned(),
            by: "me".to_owned(),
        };
        match decide(stored, &order) {
            Decision::Refuse(_) => "refuse".to_owned(),
            decision => format!("{decision:?}"),
        }
    }

    #[test]
    fn what_orders_mean_for_what_stands_there() {
        use AdminVerb::{Adopt, Forget, MarkFailed, MarkSucceeded, Retry};
        use Outcome::{Failed, Succeeded};
        let provisioning = instance(Some(Verb::Provision), None, false);
        let updating = instance(Some(Verb::Update), Some((Verb::Provision, Succeeded)), true);
        let removing = instance(Some(Verb::Deprovision), Some((Verb::Provision, Succeeded)), true);
        let idle = instance(None, Some((Verb::Provision, Succeeded)), true);
        let unmade = instance(None, Some((Verb::Provision, Failed)), false);
        let kept = instance(None, Some((Verb::Deprovision, Failed)), true);
        let stale = instance(None, Some((Verb::Update, Failed)), true);
        let verbs = [Retry, MarkFailed, MarkSucceeded, Forget, Adopt];
        for (name, stored, expected) in [
            (
                "provisioning",
                &provisioning,
                ["GoOn", "End(Failed)", "refuse", "Forget", "GoOn"],
            ),
            (
                "updating",
                &updating,
                ["GoOn", "End(Failed)", "End(Succeeded)", "Forget", "GoOn"],
            ),
            (
                "removing",
                &removing,
                ["GoOn", "End(Failed)", "Forget", "Forget", "GoOn"],
            ),
            ("idle", &idle, ["refuse", "refuse", "refuse", "Forget", "GoOn"]),
            (
                "unmade",
                &unmade,
                ["Begin(Provision)", "refuse", "refuse", "Forget", "GoOn"],
            ),
            (
                "kept",
                &kept,
                ["Begin(Deprovision)", "refuse", "refuse", "Forget", "GoOn"],
            ),
            ("stale", &stale, ["refuse", "refuse", "refuse", "Forget", "GoOn"]),
        ] {
            assert_eq!(verbs.map(|verb| decided(stored, verb)), expected, "{name}");
        }
    }

    #[test]
    fn an_order_is_about_one_life_and_one_operation() {
        let stored = instance(Some(Verb::Deprovision), None, true);
        let order = |incarnation: &str, operation: Option<&str>| AdminOrder {
            id: "1".to_owned(),
            verb: AdminVerb::MarkFailed,
            incarnation: incarnation.to_owned(),
            operation: operation.map(str::to_owned),
            reason: String::new(),
            by: String::new(),
        };
        let refused = |order| matches!(decide(&stored, &order), Decision::Refuse(_));
        assert!(refused(order("j", None)) && refused(order("i", Some("i.1"))));
        assert!(!refused(order("i", Some("i.2"))));
    }

    #[test]
    fn orders_that_make_no_sense_are_answered_and_long_reasons_cut() {
        let annotations = |text: &str| [(ADMIN_ANNOTATION.to_owned(), text.to_owned())].into();
        assert!(order(&BTreeMap::new()).is_none());
        assert!(matches!(order(&annotations("{}")), Some(Err(_))));
        let long = format!(
            r#"{{"id":"1","verb":"mark-failed","incarnation":"i","by":"me","reason":"{}"}}"#,
            "é".repeat(2 * MAX_REASON_CHARS)
        );
        let Some(Ok(read)) = order(&annotations(&long)) else {
            panic!("readable")
        };
        assert_eq!(read.reason.chars().count(), MAX_REASON_CHARS);
        assert!(stops(&annotations(&long)));
    }
}
