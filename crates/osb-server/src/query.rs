//! The query of a request: four known names, all others ignored (OSB-GEN-08).

use std::borrow::Cow;

use osb_api::id::{IdError, OperationId};
use osb_api::request::{FetchQuery, Incomplete, PollQuery, RemovalQuery};

use crate::percent::{Plus, decode};

/// Why a query cannot be used: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// Not percent-encoded UTF-8.
    #[error("the query is not valid percent-encoded UTF-8")]
    Encoding,
    /// It is not said which one counts.
    #[error("the query parameter `{0}` stands twice")]
    Repeated(&'static str),
    /// A removal needs it (OSB-DEP-01, OSB-UNB-01).
    #[error("the query parameter `{0}` is required")]
    Missing(&'static str),
    /// No identifier.
    #[error("the query parameter `{0}` {1}")]
    Unusable(&'static str, IdError),
}

/// The parameters, decoded. An empty one counts as absent.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    service_id: Option<Cow<'a, str>>,
    plan_id: Option<Cow<'a, str>>,
    operation: Option<Cow<'a, str>>,
    accepts_incomplete: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Splits, then decodes (OSB-URL-03).
    pub(crate) fn parse(text: &'a str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text| decode(text, Plus::Space).map_err(|_| QueryError::Encoding);
            let (name, value) = (decoded(name)?, decoded(value)?);
            query.set(&name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), QueryError> {
        let (name, slot) = match name {
            "service_id" => ("service_id", &mut self.service_id),
            "plan_id" => ("plan_id", &mut self.plan_id),
            "operation" => ("operation", &mut self.operation),
            "accepts_incomplete" => ("accepts_incomplete", &mut self.accepts_incomplete),
            _ => return Ok(()),
        };
        if value.is_empty() {
            return Ok(());
        }
        if slot.replace(value).is_some() {
            Err(QueryError::Repeated(name))
        } else {
            Ok(())
        }
    }

    /// Only the exact value `true` accepts a 202 (OSB-ASY-10).
    pub(crate) fn incomplete(&self) -> Incomplete {
        if self.accepts_incomplete.as_deref() == Some("true") {
            Incomplete::Accepted
        } else {
            Incomplete::Refused
        }
    }

    /// For deprovision and unbind: both ids are required (OSB-DEP-01, OSB-UNB-01).
    pub(crate) fn removal(self) -> Result<RemovalQuery, QueryError> {
        Ok(RemovalQuery {
            service_id: id("service_id", self.service_id)?.ok_or(QueryError::Missing("service_id"))?,
            plan_id: id("plan_id", self.plan_id)?.ok_or(QueryError::Missing("plan_id"))?,
        })
    }

    /// For polls: everything is optional (OSB-LOI-01, OSB-LOB-01).
    pub(crate) fn poll(self) -> Result<PollQuery, QueryError> {
        Ok(PollQuery {
            service_id: id("service_id", self.service_id)?,
            plan_id: id("plan_id", self.plan_id)?,
            operation: id::<OperationId>("operation", self.operation)?,
        })
    }

    /// For fetches: everything is optional (OSB-GETI-02, OSB-GETB-05).
    pub(crate) fn fetch(self) -> Result<FetchQuery, QueryError> {
        Ok(FetchQuery {
            service_id: id("service_id", self.service_id)?,
            plan_id: id("plan_id", self.plan_id)?,
        })
    }
}

fn id<T: TryFrom<String, Error = IdError>>(
    name: &'static str,
    value: Option<Cow<'_, str>>,
) -> Result<Option<T>, QueryError> {
    value
        .map(|value| T::try_from(value.into_owned()).map_err(|error| QueryError::Unusable(name, error)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// OSB-DEP-01, OSB-UNB-01, OSB-GEN-08, OSB-URL-03.
    #[test]
    fn both_ids_of_a_removal_are_required() {
        let removal = |text| Query::parse(text).and_then(Query::removal);
        let query = removal("x=y&plan_id=a%2Fb+c&service_id=%26&z").unwrap();
        assert_eq!((query.service_id.as_str(), query.plan_id.as_str()), ("&", "a/b c"));
        assert_eq!(removal(""), Err(QueryError::Missing("service_id")));
        assert_eq!(removal("service_id=s&plan_id="), Err(QueryError::Missing("plan_id")));
        assert_eq!(
            removal("service_id=s&service_id=s"),
            Err(QueryError::Repeated("service_id"))
        );
        assert_eq!(removal("service_id=%zz"), Err(QueryError::Encoding));
        let long = format!("service_id={}", "x".repeat(1025));
        assert_eq!(
            removal(&long),
            Err(QueryError::Unusable("service_id", IdError::TooLong))
        );
    }

    /// OSB-LOI-01, OSB-LOI-02, OSB-PROV-18.
    #[test]
    fn a_poll_may_say_nothing_and_operations_may_be_long() {
        assert_eq!(
            Query::parse("operation=").and_then(Query::poll),
            Ok(PollQuery::default())
        );
        let long = format!("operation={}", "x".repeat(10_000));
        assert_eq!(
            Query::parse(&long)
                .and_then(Query::poll)
                .unwrap()
                .operation
                .unwrap()
                .as_str()
                .len(),
            10_000
        );
        assert!(Query::parse(&format!("{long}x")).and_then(Query::poll).is_err());
    }

    /// OSB-ASY-10.
    #[test]
    fn only_true_accepts_incompleteness() {
        let incomplete = |text| Query::parse(text).unwrap().incomplete();
        assert_eq!(incomplete("accepts_incomplete=true"), Incomplete::Accepted);
        assert_eq!(incomplete("accepts_incomplete=%74rue"), Incomplete::Accepted);
        for text in [
            "",
            "accepts_incomplete",
            "accepts_incomplete=",
            "accepts_incomplete=True",
            "accepts_incomplete=1",
            "accepts_incomplete=false",
        ] {
            assert_eq!(incomplete(text), Incomplete::Refused, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in r"\PC*|([a-z_]{0,18}[=&%]?){0,8}") {
            let _ = Query::parse(&text).and_then(Query::removal);
        }
    }
}
