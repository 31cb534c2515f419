//! Templates of a folder, as objects of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use http::{Method, Request, header};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use template::document::{self, DocumentError};
use template::json::{Object, Value};
use template_controller::names::API_VERSION;
use template_controller::resources::Template;

/// On templates that came of a folder; those that are not in it any more are deleted.
const LOADED: &str = "template.osb.internal/loaded-from-folder";

/// How deep lists may stand in each other.
const MAX_LISTS: usize = 8;

/// A template of a folder, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// The name of the template.
    pub name: String,
    /// The template.
    json: String,
}

/// Why templates are not loaded.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder or a file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has no templates in it.
    #[error("{path}: {source}", path = .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// A template has no name.
    #[error("{path}: a template has no metadata.name; give it one", path = .path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// Two templates have the same name.
    #[error("{first} and {second} both have a template {name:?}; rename one of them", first = .first.display(), second = .second.display())]
    Twice {
        /// The name.
        name: String,
        /// The file that was read first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The API server does not take one.
    #[error("{path}: the template {name:?} is refused", path = .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The API server does not answer.
    #[error("the API server does not give the templates that were loaded before")]
    Api(#[from] kube::Error),
}

/// The templates in the files `*.yaml`, `*.yml` and `*.json` of a folder, not of those below it, in the order of the files'
/// names.
///
/// # Errors
/// [`FolderError`].
pub fn read(folder: &Path) -> Result<Vec<Found>, FolderError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::File { path, source }
    };
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(file(folder))? {
        let path = entry.map_err(file(folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
            files.insert(path);
        }
    }
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut templates = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(file(&path))?;
        for (name, json) in in_text(&path, &text)? {
            if let Some(first) = found.insert(name.clone(), path.clone()) {
                let second = path;
                return Err(FolderError::Twice { name, first, second });
            }
            templates.push(Found {
                file: path.clone(),
                name,
                json,
            });
        }
    }
    Ok(templates)
}

fn in_text(path: &Path, text: &str) -> Result<Vec<(String, String)>, FolderError> {
    let wrong = |source| FolderError::Document {
        path: path.to_owned(),
        source,
    };
    let documents = document::read(text).map_err(wrong)?;
    let mut values = Vec::new();
    for document in documents {
        collect(document.value, MAX_LISTS, &mut values);
    }
    if values.is_empty() {
        return Err(wrong(DocumentError::NoTemplate));
    }
    let named = values.into_iter().map(|mut value| {
        let name = value.get("metadata").and_then(|metadata| metadata.get("name"));
        let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(FolderError::NoName { path: path.to_owned() });
        }
        if let Some(members) = value.as_object_mut() {
            // As it was called before there were groups.
            members.set("apiVersion", Value::String(API_VERSION.into()));
            if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
                mark(metadata);
            }
        }
        Ok((name, value.to_string()))
    });
    named.collect()
}

/// It lies in the namespace where it is loaded, whatever it says.
fn mark(metadata: &mut Object<'_>) {
    metadata.remove("namespace");
    if metadata.get("labels").and_then(Value::as_object).is_none() {
        metadata.set("labels", Value::Object(Object::default()));
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.set(LOADED, Value::String("true".into()));
    }
}

/// Templates, also those in lists.
fn collect<'t>(value: Value<'t>, lists: usize, found: &mut Vec<Value<'t>>) {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind == "Template" {
        found.push(value);
    } else if kind.ends_with("List")
        && lists > 0
        && let Some(Value::Array(items)) = value.as_object().and_then(|list| list.get("items")).cloned()
    {
        items.into_iter().for_each(|item| collect(item, lists - 1, found));
    }
}

/// Makes a namespace have the templates of a folder: new ones are created, others changed, and what came of a folder before and
/// is not in it any more is deleted. Templates that somebody else has made stay as they are, unless they have such a name.
///
/// # Errors
/// [`FolderError`].
pub async fn load(client: &Client, namespace: &str, templates: &[Found]) -> Result<(), FolderError> {
    let api: Api<Template> = Api::namespaced(client.clone(), namespace);
    for found in templates {
        let refused = |source| FolderError::Refused {
            path: found.file.clone(),
            name: found.name.clone(),
            source,
        };
        put(client, &api, namespace, found).await.map_err(refused)?;
    }
    let before = api.list_metadata(&ListParams::default().labels(LOADED)).await?;
    for template in before {
        let name = template.metadata.name.unwrap_or_default();
        if !templates.iter().any(|found| found.name == name) {
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                deleted => {
                    deleted?;
                }
            }
        }
    }
    Ok(())
}

/// Creates a template, or replaces the one that is there. It is not applied: many templates have fields that no template has, which
/// a server passes over in a write and refuses in an apply.
async fn put(client: &Client, api: &Api<Template>, namespace: &str, found: &Found) -> Result<(), kube::Error> {
    let path = format!("/apis/{API_VERSION}/namespaces/{namespace}/templates");
    let there = api.get_metadata_opt(&found.name).await?;
    let (method, path, body) = match there.and_then(|there| there.metadata.resource_version) {
        Some(version) => (
            Method::PUT,
            format!("{path}/{}", found.name),
            with_version(&found.json, version),
        ),
        None => (Method::POST, path, found.json.clone()),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?fieldManager=osb-templates"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}

/// A write says what it replaces.
fn with_version(json: &str, version: String) -> String {
    let mut value = template::json::read(json)
        .map(|document| document.value)
        .unwrap_or_default();
    let metadata = value.as_object_mut().and_then(|members| members.get_mut("metadata"));
    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
        metadata.set("resourceVersion", Value::String(version.into()));
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = read(folder.path()).map_err(|error| error.to_string())?;
        Ok(found
            .into_iter()
            .map(|found| format!("{} {}", found.name, found.json))
            .collect())
    }

    #[test]
    fn templates_are_found_in_lists_and_files_of_several_and_numbers_stay() {
        let found = folder(&[
            ("b.json", r#"{"kind": "List", "items": [{"kind": "Template", "apiVersion": "v1", "metadata": {"name": "b", "namespace": "x"}}]}"#),
            ("a.yaml", "kind: Template\nmetadata: {name: a, labels: {l: m}}\nobjects: [{n: 1.10}]\n---\nkind: ConfigMap\n"),
            ("notes.txt", "no template"),
        ])
        .unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("a ") && found[0].contains("1.10") && found[0].contains(r#""l":"m""#),
            "{}",
            found[0]
        );
        assert!(
            found[1].contains(API_VERSION) && !found[1].contains("namespace"),
            "{}",
            found[1]
        );
        assert!(found.iter().all(|found| found.contains(LOADED)));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file() {
        let template = "kind: Template\nmetadata: {name: a}\n";
        let twice = folder(&[("a.yaml", template), ("b.yaml", template)]).unwrap_err();
        assert!(
            twice.contains("a.yaml") && twice.contains("b.yaml") && twice.contains("rename"),
            "{twice}"
        );
        let nameless = folder(&[("c.yaml", "kind: Template\n")]).unwrap_err();
        assert!(
            nameless.contains("c.yaml") && nameless.contains("metadata.name"),
            "{nameless}"
        );
        let nothing = folder(&[("d.yaml", "kind: ConfigMap\n")]).unwrap_err();
        assert!(
            nothing.contains("d.yaml") && nothing.contains("no Template"),
            "{nothing}"
        );
    }
}
