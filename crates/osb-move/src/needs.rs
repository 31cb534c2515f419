//! What a stored object needs of the home that it comes to: keys, and epochs that are higher than its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use osb_engine::sealed_with;
use serde::Deserialize;

/// The members of an object of a broker's that are sealed, digested or an epoch.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Scan<'a> {
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(borrow)]
    record: Record<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec<'a> {
    #[serde(borrow)]
    parameters: Text<'a>,
    #[serde(borrow)]
    digest: Text<'a>,
    #[serde(borrow)]
    catalog: Text<'a>,
    #[serde(borrow)]
    sealed: Text<'a>,
    #[serde(borrow)]
    history: Vec<Ended<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    epoch: Option<u64>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    outputs: Text<'a>,
    #[serde(borrow)]
    operation: Option<Operation<'a>>,
    #[serde(borrow)]
    steps: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    history: Vec<Ended<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation<'a> {
    #[serde(borrow)]
    digest: Text<'a>,
    #[serde(borrow)]
    request: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ended<'a> {
    #[serde(borrow)]
    digest: Text<'a>,
}

type Text<'a> = Option<Cow<'a, str>>;

/// What an object of a broker's group needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) keys: BTreeSet<String>,
    pub(crate) epoch: Option<u64>,
}

impl Needs {
    /// Of the JSON of an object. An author's own kinds may have members of these names and another type: they need nothing.
    pub(crate) fn of(object: &str) -> Self {
        let Ok(scan) = serde_json::from_str::<Scan<'_>>(object) else {
            return Self::default();
        };
        let Scan { spec, record } = scan;
        let operation = record.operation.unwrap_or_default();
        let sealed = [
            spec.parameters,
            spec.catalog,
            spec.sealed,
            record.data,
            record.outputs,
            operation.request,
        ];
        let sealed = sealed.into_iter().flatten().chain(record.steps.into_values());
        let histories = spec.history.into_iter().chain(record.history);
        let digests = [spec.digest, operation.digest].into_iter();
        let digests = digests.chain(histories.map(|ended| ended.digest)).flatten();
        let of_digest = |digest: Cow<'_, str>| Some(digest.split_once(':')?.0.to_owned());
        let keys = sealed.filter_map(|sealed| sealed_with(&sealed));
        Self {
            keys: keys.chain(digests.filter_map(of_digest)).collect(),
            epoch: record.epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_epochs_are_found_wherever_they_stand() {
        let object = r#"{"spec":{"digest":"aa:x.y","history":[{"digest":"bb:x"}]},
            "record":{"epoch":7,"operation":{"digest":"cc:x","id":"i"},"history":[{"id":"1","digest":"dd:x"}]}}"#;
        let needs = Needs::of(object);
        assert_eq!(needs.epoch, Some(7));
        assert_eq!(needs.keys.into_iter().collect::<Vec<_>>(), ["aa", "bb", "cc", "dd"]);
        for other in ["{}", r#"{"spec":"text"}"#, r#"{"spec":{"parameters":{"a":1}}}"#, "7"] {
            assert_eq!(Needs::of(other), Needs::default(), "{other}");
        }
    }
}
