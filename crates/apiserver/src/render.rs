//! Objects, lists and tables as they are served.

use apimachinery::json::Value;
use std::borrow::Cow;

use apimachinery::status::ListMeta;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use objectstore::Revision;

use crate::body::Body;
use crate::codec::{Damaged, Draft, Opening, Stored};
use crate::failure::Failure;
use crate::negotiate::{Encoding, Form, Wanted};
use crate::registry::{Kept, Resource, Version};
use crate::table;

/// How much of an object a table's row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    Nothing,
}

/// What is needed to serve objects of a version of a resource in the form that a client wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'r> {
    pub(crate) resource: &'r Resource,
    pub(crate) version: &'r Version,
    pub(crate) form: Form,
    pub(crate) include: Include,
}

impl View<'_> {
    /// The object as the current schema shows it: as stored, unless the schema has changed since.
    pub(crate) fn current<'s>(&self, stored: &'s Stored) -> Result<Cow<'s, Stored>, Damaged> {
        current(self.version, stored)
    }

    /// Appends an object that stands alone: an answer, or in an event. `columns` asks for a table's header.
    pub(crate) fn object(
        &self,
        stored: &Stored,
        revision: Option<Revision>,
        columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        let stored = self.current(stored)?;
        match self.form {
            Form::Object => stored.write(&self.version.opening, revision, out),
            Form::Partial(api_version) => stored.write_partial(&Opening::partial(api_version), revision, out),
            Form::Table(api_version) => {
                let metadata = ListMeta {
                    resource_version: revision.map(|revision| revision.0.to_string()).unwrap_or_default(),
                    ..ListMeta::default()
                };
                table::open(api_version, &metadata, columns.then_some(self.version), out);
                self.row(&stored, revision, Timestamp::now(), out)?;
                out.extend_from_slice(b"]}");
            }
        }
        Ok(())
    }

    /// Appends a list.
    pub(crate) fn list(
        &self,
        items: &[(Stored, Revision)],
        metadata: &ListMeta,
        out: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        let partial;
        let (api_version, kind, opening) = match self.form {
            Form::Table(api_version) => {
                table::open(api_version, metadata, Some(self.version), out);
                let now = Timestamp::now();
                for (position, (stored, revision)) in items.iter().enumerate() {
                    separate(position, out);
                    self.row(self.current(stored)?.as_ref(), Some(*revision), now, out)?;
                }
                out.extend_from_slice(b"]}");
                return Ok(());
            }
            Form::Partial(api_version) => {
                partial = Opening::partial(api_version);
                (api_version, "PartialObjectMetadataList", &partial)
            }
            Form::Object => (
                self.version.api_version.as_str(),
                self.resource.list_kind.as_str(),
                &self.version.item_opening,
            ),
        };
        // A list of custom resources says so when it goes no further.
        let says_end = self.form == Form::Object && self.resource.definition.is_some();
        open_list(api_version, kind, metadata, says_end, out);
        for (position, (stored, revision)) in items.iter().enumerate() {
            separate(position, out);
            let stored = self.current(stored)?;
            match self.form {
                Form::Object => stored.write(opening, Some(*revision), out),
                _ => stored.write_partial(opening, Some(*revision), out),
            }
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn row(
        &self,
        stored: &Stored,
        revision: Option<Revision>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        let text = stored.object(&self.version.opening, revision.unwrap_or_default());
        out.extend_from_slice(br#"{"cells":"#);
        table::write_cells(self.version, &text.value()?, now, out);
        out.extend_from_slice(br#","object":"#);
        let api_version = if let Form::Table(api_version) = self.form {
            api_version
        } else {
            "meta.k8s.io/v1"
        };
        match self.include {
            Include::Metadata => stored.write_partial(&Opening::partial(api_version), revision, out),
            Include::Object => stored.write(&self.version.opening, revision, out),
            Include::Nothing => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
        Ok(())
    }
}

/// The object as a version shows it. As on a real server it is brought into the form of the version in which objects are stored,
/// and of what that has, another version shows what it knows.
pub(crate) fn current<'s>(version: &Version, stored: &'s Stored) -> Result<Cow<'s, Stored>, Damaged> {
    let is_storage = version.stamp == version.stored_stamp;
    let is_current = stored.stamp() == version.stored_stamp;
    if is_current && is_storage && version.kept == Kept::Own {
        return Ok(Cow::Borrowed(stored));
    }
    let text = stored.object(&version.opening, Revision(0));
    let mut object = text.value()?;
    if version.kept == Kept::CoreEvent {
        ::kinds::events::from_core(&mut object);
    }
    match version.facts {
        Some(facts) => {
            // What an earlier version of the program has stored is shown as far as it is understood.
            let _ = facts.object_type().shape(&mut object);
            facts.object_type().default(&mut object);
        }
        None => {
            if !is_current {
                version.stored_schema.prune(&mut object);
                version.stored_schema.default(&mut object);
            }
            if !is_storage {
                version.schema.prune(&mut object);
            }
        }
    }
    let object = object.as_object().ok_or(Damaged)?;
    let metadata = object.get("metadata").and_then(Value::as_object).ok_or(Damaged)?;
    Ok(Cow::Owned(Draft::new(object).finish(version.stored_stamp, metadata)))
}

fn open_list(api_version: &str, kind: &str, metadata: &ListMeta, says_end: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"#);
    write_json(kind, out);
    out.extend_from_slice(br#","apiVersion":"#);
    write_json(api_version, out);
    out.extend_from_slice(br#","metadata":"#);
    write_json(metadata, out);
    if says_end && metadata.continue_token.is_empty() {
        out.pop();
        out.extend_from_slice(br#","continue":""}"#);
    }
    out.extend_from_slice(br#","items":["#);
}

fn separate(position: usize, out: &mut Vec<u8>) {
    if position > 0 {
        out.push(b',');
    }
}

pub(crate) fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text keys and no foreign types: this can always be written");
}

/// The answer with a JSON document, turned into YAML if that is wanted. Warnings become headers.
pub(crate) fn answer(
    code: StatusCode,
    json: Vec<u8>,
    encoding: Encoding,
    warnings: &[String],
) -> Result<Response<Body>, Failure> {
    let body = match encoding {
        Encoding::Json => json,
        Encoding::Yaml => yaml(&json)?.into_bytes(),
    };
    let mut response = respond(code, encoding.content_type(), body);
    for warning in warnings {
        add_warning(&mut response, warning);
    }
    Ok(response)
}

fn yaml(json: &[u8]) -> Result<String, Failure> {
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| Damaged)?;
    serde_saphyr::to_string(&value)
        .map_err(|_| apimachinery::status::Status::internal("the answer cannot be written as YAML").into())
}

/// An answer of any type.
pub(crate) fn respond(code: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer to people.
pub(crate) fn text(code: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    respond(code, "text/plain; charset=utf-8", text)
}

/// Why a request was refused.
pub(crate) fn refusal(failure: &Failure) -> Response<Body> {
    let status = match failure {
        Failure::NoSuchPath => return text(StatusCode::NOT_FOUND, "404 page not found\n"),
        Failure::Status(status) => status,
    };
    let mut body = Vec::with_capacity(256);
    write_json(status.as_ref(), &mut body);
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(code, Wanted::JSON.encoding.content_type(), body);
    if let Some(seconds) = status.retry_after_seconds() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds a `Warning` header, which kubectl prints. Characters that a header cannot carry are left out.
pub(crate) fn add_warning(response: &mut Response<Body>, warning: &str) {
    let mut quoted = String::with_capacity(warning.len() + 8);
    quoted.push_str("299 - \"");
    for character in warning.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    if let Ok(value) = HeaderValue::from_str(&quoted) {
        response.headers_mut().append(header::WARNING, value);
    }
}
