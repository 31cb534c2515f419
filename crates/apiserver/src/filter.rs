//! Selectors of a list or watch, and which keys have to be looked at for them.

use apimachinery::json::Value;
use std::borrow::Cow;

use apimachinery::field_selector::{FieldOperator, FieldSelector, FieldTerm};
use apimachinery::label_selector::LabelSelector;
use apimachinery::status::Status;
use objectstore::Revision;

use crate::codec::{Damaged, Stored};
use crate::registry::{Index, Resource, Version};

/// What a list or watch selects, beside the namespace in the path.
#[derive(Debug)]
pub(crate) struct Filter {
    labels: LabelSelector,
    /// On the name and namespace, which stand in the key.
    key_terms: Vec<FieldTerm>,
    /// On fields inside the object.
    object_terms: FieldSelector,
}

/// Where the selected objects are found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Among all of the namespace.
    Scan,
    /// It is this one.
    Name(String),
    /// In the index of a field, which is complete since a revision: those with this value, or with any that is not
    /// empty.
    Index {
        field: String,
        value: Option<String>,
        since: Revision,
    },
}

impl Filter {
    /// Checks that the resource can be selected by these fields.
    pub(crate) fn new(resource: &Resource, labels: LabelSelector, fields: FieldSelector) -> Result<Filter, Status> {
        if let Some(unknown) = fields.terms.iter().find(|term| !resource.is_selectable(&term.path)) {
            return Err(unsupported(resource, &unknown.path));
        }
        let (key_terms, object_terms) = fields.terms.into_iter().partition(|term| is_key_field(&term.path));
        Ok(Filter {
            labels,
            key_terms,
            object_terms: FieldSelector { terms: object_terms },
        })
    }

    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.key_terms.is_empty() && self.object_terms.is_empty()
    }

    /// The one name that is selected, if any.
    pub(crate) fn name(&self) -> Option<&str> {
        self.key_term("metadata.name")
    }

    /// The one namespace that is selected, if any.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.key_term("metadata.namespace")
    }

    /// The cheapest way to the selected objects. `namespace` is the one that they lie in, if it is known.
    pub(crate) fn plan(&self, resource: &Resource, namespace: Option<&str>) -> Plan {
        if let Some(name) = self.name()
            && (namespace.is_some() || !resource.namespaced)
        {
            return Plan::Name(name.to_owned());
        }
        let complete = |term: &FieldTerm| match index(resource, term) {
            Some(Index::Complete(since)) => Some(since),
            _ => None,
        };
        let terms = self.object_terms.terms.iter();
        let usable = terms.filter_map(|term| Some((term, complete(term)?)));
        let one = usable.clone().find(|(term, _)| is_one(term));
        match one.or_else(|| usable.clone().find(|(term, _)| is_any(term))) {
            Some((term, since)) => Plan::Index {
                field: term.path.clone(),
                value: is_one(term).then(|| term.value.clone()),
                since,
            },
            None => Plan::Scan,
        }
    }

    /// The fields whose index would be of use to the selectors and is not there.
    pub(crate) fn missing_indexes<'f>(&'f self, resource: &'f Resource) -> impl Iterator<Item = &'f str> {
        let terms = self.object_terms.terms.iter();
        terms
            .filter(|term| is_one(term) || is_any(term))
            .filter(|term| index(resource, term) == Some(Index::Absent))
            .map(|term| term.path.as_str())
    }

    /// Whether an object is selected. Parses of it only what the selectors ask about.
    pub(crate) fn matches(
        &self,
        resource: &Resource,
        version: &Version,
        namespace: &str,
        name: &str,
        stored: &Stored,
    ) -> Result<bool, Damaged> {
        if !self.key_matches(namespace, name) {
            return Ok(false);
        }
        if !self.labels.is_empty() {
            let text = stored.metadata();
            let metadata = text.members()?;
            let labels = metadata.get("labels").and_then(Value::as_object);
            if !self.labels.matches_with(|key| labels?.get(key)?.as_str()) {
                return Ok(false);
            }
        }
        if self.object_terms.is_empty() {
            return Ok(true);
        }
        let text = stored.object(&version.opening, Revision(0));
        let object = text.value()?;
        Ok(self.object_terms.matches(|label| Some(resource.field(label, &object))))
    }

    fn key_matches(&self, namespace: &str, name: &str) -> bool {
        self.key_terms.iter().all(|term| {
            let value = if term.path == "metadata.name" { name } else { namespace };
            (value == term.value) == (term.operator == FieldOperator::Equals)
        })
    }

    fn key_term(&self, path: &str) -> Option<&str> {
        self.key_terms
            .iter()
            .find(|term| term.path == path && term.operator == FieldOperator::Equals)
            .map(|term| term.value.as_str())
    }
}

/// How far the index is that a term could use; `None` when its field has none.
fn index(resource: &Resource, term: &FieldTerm) -> Option<Index> {
    let known = resource.fields.iter().find(|known| known.field.label == term.path);
    known.map(|known| known.index)
}

/// Whether a term selects one value, which is not empty.
fn is_one(term: &FieldTerm) -> bool {
    term.operator == FieldOperator::Equals && !term.value.is_empty()
}

/// Whether a term selects all values that are not empty.
fn is_any(term: &FieldTerm) -> bool {
    term.operator == FieldOperator::NotEquals && term.value.is_empty()
}

fn is_key_field(path: &str) -> bool {
    matches!(path, "metadata.name" | "metadata.namespace")
}

fn unsupported(resource: &Resource, label: &str) -> Status {
    let message: Cow<'_, str> = match resource.builtin() {
        Some(builtin) if builtin.selectable.is_empty() => {
            format!("\"{label}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"").into()
        }
        _ => format!("field label not supported: {label}").into(),
    };
    Status::bad_request(message)
}
