//! Files with templates: JSON or YAML, one or many.

use crate::json::{self, Document, ReadError, Value};
use crate::model::Template;
use crate::problem::Problems;
use crate::yaml;

/// The largest text that is read, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// How deep lists may stand in each other.
const MAX_LISTS: usize = 8;

/// Why there are no templates in a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_TEXT_BYTES`].
    #[error("the text is larger than 64 MiB")]
    TooLarge,
    /// Neither JSON nor YAML.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is none in it.
    #[error("there is no Template in it; write kind: Template")]
    NoTemplate,
    /// One that is none.
    #[error("{0}")]
    Template(Problems),
}

/// Reads the documents of a text: JSON when it begins with a brace or bracket, else YAML.
///
/// # Errors
///
/// When it can be read as neither, or is too large.
pub fn read(text: &str) -> Result<Vec<Document<'_>>, DocumentError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(DocumentError::TooLarge);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(if text.trim_start().starts_with(['{', '[']) {
        json::read_all(text)?
    } else {
        yaml::read_all(text)?
    })
}

/// The templates of a text, in their order: documents of kind Template, those in a List, and the one that a TemplateInstance
/// carries. Other objects are passed over.
///
/// # Errors
///
/// When the text cannot be read, has no template, or one whose fields have wrong types.
///
/// ```
/// let templates = template::document::templates("kind: Template\napiVersion: template.openshift.io/v1\n").unwrap();
/// assert_eq!(templates.len(), 1);
/// ```
pub fn templates(text: &str) -> Result<Vec<Template<'_>>, DocumentError> {
    let templates = each(text)?.into_iter();
    templates
        .map(|template| template.map_err(DocumentError::Template))
        .collect()
}

/// The same, where each template may be one whose fields have wrong types.
///
/// # Errors
///
/// When the text cannot be read, or has no template.
pub fn each(text: &str) -> Result<Vec<Result<Template<'_>, Problems>>, DocumentError> {
    let mut found = Vec::new();
    for document in read(text)? {
        find(document, MAX_LISTS, &mut found);
    }
    if found.is_empty() {
        return Err(DocumentError::NoTemplate);
    }
    Ok(found)
}

fn find<'t>(document: Document<'t>, depth: usize, found: &mut Vec<Result<Template<'t>, Problems>>) {
    match document.value["kind"].as_str() {
        Some("Template") => found.push(Template::decode(document)),
        Some("List" | "TemplateList") if depth > 0 => {
            let Value::Object(mut list) = document.value else {
                return;
            };
            let Some(Value::Array(items)) = list.remove("items") else {
                return;
            };
            for (position, value) in items.into_iter().enumerate() {
                let twice = inside(&document.twice, &format!("items[{position}]."));
                find(Document { value, twice }, depth - 1, found);
            }
        }
        Some("TemplateInstance") => {
            let Value::Object(mut instance) = document.value else {
                return;
            };
            let template = instance.get_mut("spec").and_then(Value::as_object_mut);
            if let Some(value) = template.and_then(|spec| spec.remove("template")) {
                let twice = inside(&document.twice, "spec.template.");
                found.push(Template::decode(Document { value, twice }));
            }
        }
        _ => {}
    }
}

/// The places below a prefix, without it.
fn inside(places: &[String], prefix: &str) -> Vec<String> {
    let places = places.iter().filter_map(|place| place.strip_prefix(prefix));
    places.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_found_wherever_they_are() {
        let names = |text: &str| {
            let templates = templates(text).unwrap();
            templates
                .iter()
                .map(|template| template.name().to_owned())
                .collect::<Vec<_>>()
        };
        let list = r#"{"kind":"List","items":[{"kind":"Template","metadata":{"name":"a"}},{"kind":"Secret"},
            {"kind":"List","items":[{"kind":"Template","metadata":{"name":"b"}}]}]}"#;
        assert_eq!(names(list), ["a", "b"]);
        let instance = "kind: TemplateInstance\nspec:\n  template:\n    metadata: {name: c}\n---\nkind: Template\n";
        assert_eq!(names(instance), ["c", ""]);
        assert_eq!(
            names("\u{feff}{\"kind\":\"Template\"}\n{\"kind\":\"Template\"}"),
            ["", ""]
        );
    }

    #[test]
    fn what_has_no_template_says_so() {
        assert_eq!(templates("").unwrap_err(), DocumentError::NoTemplate);
        assert_eq!(templates("kind: Pod").unwrap_err(), DocumentError::NoTemplate);
        assert!(matches!(templates("{").unwrap_err(), DocumentError::Read(_)));
        assert!(matches!(
            templates("kind: Template\nobjects: 1").unwrap_err(),
            DocumentError::Template(_)
        ));
        assert_eq!(
            templates(&" ".repeat(MAX_TEXT_BYTES + 1)).unwrap_err(),
            DocumentError::TooLarge
        );
    }

    #[test]
    fn members_that_stand_twice_are_told_in_the_template_they_are_in() {
        let text = r#"{"kind":"List","items":[{"kind":"Template","objects":[{"a":1,"a":2}]}]}"#;
        let taken = &templates(text).unwrap()[0].taken;
        assert_eq!(
            taken[0].to_string(),
            "objects[0].a: stands more than once; keep one of them: only the last one counts"
        );
    }
}
