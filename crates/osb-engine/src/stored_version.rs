//! In which version what is stored is: it stands on the ShardTable, which every process looks at before anything else.

use std::collections::BTreeMap;

use serde_json::json;

use crate::engine::StartError;
use crate::home::{Home, HomeError};
use crate::resource::{Kind, Meta};

/// The version of the stored form that this program writes, and the newest that it reads.
pub const STORED_VERSION: u32 = 1;

/// On the ShardTable: the version of what is stored. Without it the version is 1.
pub const STORED_VERSION_LABEL: &str = "osb.internal/stored-version";

/// On the ShardTable as long as an archive is being restored: which one.
pub const RESTORING_LABEL: &str = "osb.internal/restoring";

const TABLE: &str = "shards";

/// How often the label is tried again when another process changes the table at the same time.
const TRIES: usize = 5;

#[derive(serde::Deserialize)]
struct Table {
    metadata: Meta,
}

/// What a home says of what is stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It says nothing: it is new, or older than the label.
    Nothing,
    Version(u32),
}

/// Refuses what this program must not touch: newer forms, and what is being restored.
pub(crate) async fn check(home: &Home, namespace: &str) -> Result<Noted, StartError> {
    let found: Result<Option<Table>, HomeError> = home.get(Kind::ShardTable, namespace, TABLE).await;
    let found = found.map_err(|error| StartError::Home {
        doing: "looking for the version of what is stored",
        error,
    })?;
    match found {
        Some(found) => of_labels(&found.metadata.labels),
        None => Ok(Noted::Nothing),
    }
}

fn of_labels(labels: &BTreeMap<String, String>) -> Result<Noted, StartError> {
    if labels.contains_key(RESTORING_LABEL) {
        return Err(StartError::Restoring);
    }
    let Some(label) = labels.get(STORED_VERSION_LABEL) else {
        return Ok(Noted::Nothing);
    };
    match label.parse() {
        Ok(version) if version <= STORED_VERSION => Ok(Noted::Version(version)),
        _ => Err(StartError::Newer(label.clone())),
    }
}

/// Notes the version, for programs that are older than this one. A failure is told and nothing more: whoever starts next
/// does it again.
pub(crate) async fn note(home: &Home, namespace: &str, noted: Noted) {
    if noted == Noted::Version(STORED_VERSION) {
        return;
    }
    for _ in 0..TRIES {
        let Ok(Some(table)) = home.get::<Table>(Kind::ShardTable, namespace, TABLE).await else {
            break;
        };
        let patch = json!({"metadata": {
            "resourceVersion": table.metadata.resource_version,
            "labels": {STORED_VERSION_LABEL: STORED_VERSION.to_string()},
        }});
        match home.patch_all(Kind::ShardTable, &table.metadata, &patch).await {
            Ok(_) => return,
            Err(HomeError::Conflict) => {}
            Err(_) => break,
        }
    }
    tracing::warn!("the version of what is stored could not be noted; the next start does it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn newer_forms_and_unfinished_restores_are_refused() {
        assert!(matches!(of_labels(&labels(&[])), Ok(Noted::Nothing)));
        assert!(matches!(
            of_labels(&labels(&[(STORED_VERSION_LABEL, "1")])),
            Ok(Noted::Version(1))
        ));
        for newer in ["2", "1.1", "next", ""] {
            let refused = of_labels(&labels(&[(STORED_VERSION_LABEL, newer)]));
            assert!(
                matches!(refused, Err(StartError::Newer(found)) if found == newer),
                "{newer}"
            );
        }
        let restoring = labels(&[(RESTORING_LABEL, "ab"), (STORED_VERSION_LABEL, "1")]);
        assert!(matches!(of_labels(&restoring), Err(StartError::Restoring)));
    }
}
