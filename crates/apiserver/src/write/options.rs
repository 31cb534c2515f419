//! Query parameters and bodies of writes.

use apimachinery::field::FieldError;
use apimachinery::json::{Map, Value};
use apimachinery::status::{Details, Reason, Status};
use bytes::Bytes;
use http::HeaderMap;

use super::tracking::is_printable;
use crate::failure::Failure;
use crate::negotiate::{self, BodyType};
use crate::query::Query;

/// What happens to fields that the schema does not know, and to duplicate ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// The parameters of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    /// Everything but the write.
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
    /// An apply takes what others own.
    pub(crate) force: bool,
}

const LONGEST_MANAGER: usize = 128;

impl WriteOptions {
    /// Reads and checks them. `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(crate) fn parse(kind: &str, query: &Query<'_>) -> Result<WriteOptions, Status> {
        WriteOptions::read(kind, query, false)
    }

    /// Reads and checks those of an apply.
    pub(crate) fn of_apply(query: &Query<'_>) -> Result<WriteOptions, Status> {
        WriteOptions::read("PatchOptions", query, true)
    }

    fn read(kind: &str, query: &Query<'_>, is_apply: bool) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        dry_run_errors(&dry_run, &mut errors);
        let manager = query.first("fieldManager").unwrap_or_default();
        let force = query
            .first("force")
            .is_some_and(|force| !matches!(force, "" | "0" | "false"));
        if is_apply && manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if kind == "PatchOptions" && !is_apply && query.first("force").is_some_and(|force| !force.is_empty()) {
            errors.push(FieldError::forbidden(
                "force",
                "may not be specified for non-apply patch",
            ));
        }
        if manager.len() > LONGEST_MANAGER {
            errors.push(FieldError::too_long("fieldManager", LONGEST_MANAGER as u64));
        }
        if !manager.chars().all(is_printable) {
            errors.push(FieldError::invalid(
                "fieldManager",
                manager,
                "should only contain printable characters",
            ));
        }
        let validation = match query.first("fieldValidation").unwrap_or_default() {
            "" | "Warn" => Validation::Warn,
            "Ignore" => Validation::Ignore,
            "Strict" => Validation::Strict,
            other => {
                errors.push(FieldError::not_supported(
                    "fieldValidation",
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                Validation::Warn
            }
        };
        if errors.is_empty() {
            Ok(WriteOptions {
                dry_run: !dry_run.is_empty(),
                validation,
                force,
            })
        } else {
            Err(Status::invalid_options(kind, errors))
        }
    }
}

fn dry_run_errors(values: &[&str], errors: &mut Vec<FieldError>) {
    if values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported(
            "dryRun",
            Value::from(values.to_vec()),
            &["All"],
        ));
    }
}

/// The parameters of a delete, from its body or query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) dry_run: bool,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// What becomes of those who name the object as their owner.
    pub(crate) policy: Option<Propagation>,
}

/// What becomes of those who name a deleted object as their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They go after it.
    Background,
    /// It goes after them.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// By its name in a request, or by the older `orphanDependents`.
    fn of(name: Option<&str>, orphan: Option<bool>) -> Option<Propagation> {
        match (orphan, name) {
            (Some(true), _) | (None, Some("Orphan")) => Some(Propagation::Orphan),
            (Some(false), _) | (None, Some("Background")) => Some(Propagation::Background),
            (None, Some("Foreground")) => Some(Propagation::Foreground),
            (None, _) => None,
        }
    }
}

impl DeleteOptions {
    /// Reads and checks them; a body wins over the query.
    pub(crate) fn parse(headers: &HeaderMap, body: &Bytes, query: &Query<'_>) -> Result<DeleteOptions, Failure> {
        let object = if body.is_empty() {
            from_query(query)?
        } else {
            delete_body(headers, body)?
        };
        let text = |at: &str| object.pointer(at).and_then(Value::as_str);
        let mut errors = Vec::new();
        let dry_run: Vec<&str> = object
            .get("dryRun")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        dry_run_errors(&dry_run, &mut errors);
        let policy = text("/propagationPolicy");
        let orphan = object.get("orphanDependents").is_some_and(|orphan| !orphan.is_null());
        if let Some(policy) = policy {
            if orphan {
                errors.push(FieldError::invalid(
                    "propagationPolicy",
                    policy,
                    "orphanDependents and deletionPropagation cannot be both set",
                ));
            }
            if !matches!(policy, "Foreground" | "Background" | "Orphan") {
                errors.push(FieldError::not_supported(
                    "propagationPolicy",
                    policy,
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
            }
        }
        if !errors.is_empty() {
            return Err(Status::invalid_options("DeleteOptions", errors).into());
        }
        Ok(DeleteOptions {
            dry_run: !dry_run.is_empty(),
            uid: text("/preconditions/uid").map(str::to_owned),
            resource_version: text("/preconditions/resourceVersion").map(str::to_owned),
            policy: Propagation::of(policy, object.get("orphanDependents").and_then(Value::as_bool)),
        })
    }
}

fn from_query<'q>(query: &'q Query<'_>) -> Result<Value<'q>, Failure> {
    let mut object = Map::new();
    if let Some(seconds) = query.first("gracePeriodSeconds") {
        let seconds: i64 = seconds
            .parse()
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {seconds:?}: invalid syntax")))?;
        object.insert("gracePeriodSeconds", seconds);
    }
    if let Some(policy) = query.first("propagationPolicy") {
        object.insert("propagationPolicy", policy);
    }
    if let Some(orphan) = query.first("orphanDependents") {
        object.insert("orphanDependents", apimachinery::list::query_bool(orphan));
    }
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if !dry_run.is_empty() {
        object.insert("dryRun", dry_run);
    }
    Ok(Value::Object(object))
}

type IsRight = fn(&Value<'_>) -> bool;

/// What the members of a delete's options are made of.
const DELETE_MEMBERS: [(&str, IsRight); 9] = [
    ("/apiVersion", |value| value.is_string()),
    ("/kind", |value| value.is_string()),
    ("/dryRun", |value| {
        value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
    }),
    ("/propagationPolicy", |value| value.is_string()),
    ("/orphanDependents", |value| value.is_boolean()),
    ("/gracePeriodSeconds", |value| value.is_i64()),
    ("/preconditions", |value| value.is_object()),
    ("/preconditions/uid", |value| value.is_string()),
    ("/preconditions/resourceVersion", |value| value.is_string()),
];

fn delete_body<'b>(headers: &HeaderMap, body: &'b Bytes) -> Result<Value<'b>, Failure> {
    let object = decode(headers, body)?.value;
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        return Err(Status::bad_request(format!("{kind:?} is not a kind of options for a delete")).into());
    }
    match DELETE_MEMBERS.iter().find(|(at, is_right)| {
        object
            .pointer(at)
            .is_some_and(|value| !value.is_null() && !is_right(value))
    }) {
        Some((at, _)) => Err(Status::bad_request(format!("DeleteOptions: {at} has the wrong type")).into()),
        None => Ok(object),
    }
}

/// A request body, read.
#[derive(Debug)]
pub(crate) struct Decoded<'b> {
    pub(crate) value: Value<'b>,
    /// `duplicate field "a.b"` for each key that stands twice in an object.
    pub(crate) duplicates: Vec<String>,
}

/// The media types of objects.
const OBJECT_TYPES: [&str; 2] = ["application/json", "application/yaml"];
/// The media types of patches of custom resources.
const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// Reads the body of a create, update or delete: a JSON or YAML object.
pub(crate) fn decode<'b>(headers: &HeaderMap, body: &'b Bytes) -> Result<Decoded<'b>, Failure> {
    let decoded = match negotiate::body_type(headers) {
        BodyType::Json => decode_json(body)?,
        BodyType::Yaml => decode_yaml(body)?,
        BodyType::Protobuf => decode_protobuf(body)?,
        _ => return Err(Status::unsupported_media_type(&OBJECT_TYPES).into()),
    };
    if !decoded.value.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized: it is not an object").into());
    }
    Ok(decoded)
}

/// Refuses protobuf for a custom resource, which has no such form.
pub(crate) fn check_object_type(headers: &HeaderMap, custom: bool) -> Result<(), Failure> {
    if custom && negotiate::body_type(headers) == BodyType::Protobuf {
        return Err(Status::unsupported_media_type(&OBJECT_TYPES).into());
    }
    Ok(())
}

/// The protobuf of a built-in kind. Other kinds have no such form.
fn decode_protobuf(body: &Bytes) -> Result<Decoded<'_>, Failure> {
    match ::kinds::protobuf::decode(body) {
        Ok(value) => Ok(Decoded {
            value,
            duplicates: Vec::new(),
        }),
        Err(::kinds::protobuf::Error::UnknownKind) => Err(Status::unsupported_media_type(&OBJECT_TYPES).into()),
        Err(error) => Err(Status::bad_request(error.to_string()).into()),
    }
}

/// A patch.
#[derive(Debug)]
pub(crate) enum Patch<'b> {
    Json(apimachinery::patch::JsonPatch<'b>),
    Merge(Decoded<'b>),
    Strategic(Decoded<'b>),
    Apply(Decoded<'b>),
}

/// Whether the body is of a type that [`decode_patch`] reads.
pub(crate) fn check_patch_type(headers: &HeaderMap, custom: bool) -> Result<(), Failure> {
    match negotiate::body_type(headers) {
        BodyType::JsonPatch | BodyType::MergePatch | BodyType::Apply => Ok(()),
        BodyType::StrategicMergePatch if !custom => Ok(()),
        _ if custom => Err(Status::unsupported_media_type(&PATCH_TYPES).into()),
        _ => Err(
            Status::failure(Reason::UnsupportedMediaType, "415: Unsupported Media Type")
                .with_details(Details::default())
                .into(),
        ),
    }
}

/// Reads the body of a patch.
pub(crate) fn decode_patch<'b>(headers: &HeaderMap, body: &'b Bytes) -> Result<Patch<'b>, Failure> {
    match negotiate::body_type(headers) {
        BodyType::JsonPatch => {
            let operations = decode_json(body)?.value;
            apimachinery::patch::JsonPatch::parse(&operations)
                .map(Patch::Json)
                .map_err(|error| error.status().into())
        }
        BodyType::MergePatch => Ok(Patch::Merge(patch_object(decode_json(body)?)?)),
        BodyType::StrategicMergePatch => Ok(Patch::Strategic(patch_object(decode_json(body)?)?)),
        BodyType::Apply => decode_applied(body).map(Patch::Apply),
        _ => Err(Status::unsupported_media_type(&PATCH_TYPES).into()),
    }
}

fn patch_object(decoded: Decoded<'_>) -> Result<Decoded<'_>, Failure> {
    if decoded.value.is_object() {
        Ok(decoded)
    } else {
        Err(Status::bad_request("error decoding patch: it is not an object").into())
    }
}

/// What is applied: YAML, and so JSON as well. Of keys that stand twice the last value counts.
fn decode_applied(body: &Bytes) -> Result<Decoded<'_>, Failure> {
    let broken = || Status::bad_request("error decoding YAML: it is not an object");
    let decoded = match decode_json(body) {
        Ok(decoded) => decoded,
        Err(_) => match decode_yaml(body) {
            Ok(decoded) => decoded,
            Err(_) => decode_last(body)?,
        },
    };
    if decoded.value.is_object() {
        Ok(decoded)
    } else {
        Err(broken().into())
    }
}

/// YAML with keys that stand twice.
fn decode_last(body: &Bytes) -> Result<Decoded<'static>, Failure> {
    let broken = || Status::bad_request("error decoding YAML: invalid YAML");
    let text = std::str::from_utf8(body).map_err(|_| broken())?;
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    let value: serde_json::Value = serde_saphyr::from_str_with_options(text, options).map_err(|_| broken())?;
    Ok(Decoded {
        value: value.into(),
        duplicates: vec!["a key stands twice in an object".to_owned()],
    })
}

fn decode_json(body: &Bytes) -> Result<Decoded<'_>, Failure> {
    let (value, duplicates) =
        apimachinery::json::parse_strict(body).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Decoded {
        value,
        duplicates: duplicates.iter().map(ToString::to_string).collect(),
    })
}

/// YAML as kubectl and the Go libraries read it. A key that stands twice is an error.
fn decode_yaml(body: &Bytes) -> Result<Decoded<'static>, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Status::bad_request("the YAML body is not UTF-8"))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let value: serde_json::Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|_| Status::bad_request("invalid YAML"))?;
    Ok(Decoded {
        value: value.into(),
        duplicates: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let parse = |query| WriteOptions::parse("CreateOptions", &Query::parse(Some(query)));
        let options = parse("dryRun=All&fieldValidation=Strict&fieldManager=osb").expect("right");
        assert!(options.dry_run && options.validation == Validation::Strict);
        for wrong in ["dryRun=Some", "fieldValidation=Bogus", "fieldManager=%07"] {
            assert_eq!(parse(wrong).expect_err(wrong).code(), 422, "{wrong}");
        }
        assert!(WriteOptions::parse("PatchOptions", &Query::parse(Some("force=true"))).is_err());
    }

    #[test]
    fn a_delete_takes_its_options_from_body_or_query() {
        let parse = |body: &'static str, query| {
            DeleteOptions::parse(
                &HeaderMap::new(),
                &Bytes::from_static(body.as_bytes()),
                &Query::parse(Some(query)),
            )
        };
        assert_eq!(parse("", "").expect("right"), DeleteOptions::default());
        assert!(
            parse("", "dryRun=All&propagationPolicy=Background")
                .expect("right")
                .policy
                == Some(Propagation::Background)
        );
        for (query, policy) in [
            ("orphanDependents=true", Propagation::Orphan),
            ("orphanDependents=false", Propagation::Background),
            ("propagationPolicy=Foreground", Propagation::Foreground),
        ] {
            assert_eq!(parse("", query).expect("right").policy, Some(policy), "{query}");
        }
        let options = parse(r#"{"preconditions":{"uid":"x","resourceVersion":"4"}}"#, "dryRun=All").expect("right");
        assert_eq!(
            (
                options.uid.as_deref(),
                options.resource_version.as_deref(),
                options.dry_run
            ),
            (Some("x"), Some("4"), false)
        );
        for wrong in [
            r#"{"propagationPolicy":"Bogus"}"#,
            r#"{"dryRun":["Some"]}"#,
            r#"{"kind":"Pod"}"#,
            "[]",
            "{",
        ] {
            assert!(parse(wrong, "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn yaml_is_read_like_json() {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/yaml"),
        )]);
        let body = Bytes::from_static(b"kind: X\nspec:\n  mode: 0644\n  on: true\n");
        let decoded = decode(&headers, &body).expect("right");
        assert_eq!(
            decoded.value,
            apimachinery::json!({"kind": "X", "spec": {"mode": 420, "on": true}})
        );
    }
}
