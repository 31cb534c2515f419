//! Lists, a page at a time, all of one moment.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Api, ApiError, escaped};
use crate::archive::Resource;

/// The first page is small: nobody knows yet how large the objects are.
const FIRST_PAGE: usize = 50;

const MOST: usize = 1000;

/// A page is to have about so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// A part of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Reads a list to its end.
pub(crate) struct Pages<'a> {
    api: &'a Api,
    path: String,
    /// The moment; the newest one when absent.
    at: Option<&'a str>,
    next: Option<String>,
    limit: usize,
    begun: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn of(api: &'a Api, resource: &Resource, at: Option<&'a str>) -> Self {
        Self {
            api,
            path: resource.path(None),
            at,
            next: None,
            limit: FIRST_PAGE,
            begun: false,
        }
    }

    /// The bytes of the next page, which [`parse`] reads.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.begun && self.next.is_none() {
            return Ok(None);
        }
        let mut path = format!("{}?limit={}", self.path, self.limit);
        match (&self.next, self.at) {
            (Some(next), _) => path += &format!("&continue={}", escaped(next)),
            (None, Some(at)) => path += &format!("&resourceVersion={at}&resourceVersionMatch=Exact"),
            (None, None) => {}
        }
        self.begun = true;
        let bytes = self.api.get(&path).await?;
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|_| ApiError::NoAnswer)?;
        self.next = meta.metadata.next.filter(|next| !next.is_empty());
        self.limit = match bytes.len() {
            0..PAGE_BYTES => (2 * self.limit).min(MOST),
            _ => (self.limit / 2).max(1),
        };
        Ok(Some(bytes))
    }
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    metadata: PageMeta,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let page: Page<'_> = serde_json::from_slice(bytes).map_err(|_| ApiError::NoAnswer)?;
    Ok(page.items.unwrap_or_default())
}

/// The newest moment of a home.
pub(crate) async fn newest(api: &Api, resource: &Resource) -> Result<String, ApiError> {
    let bytes = api.get(&format!("{}?limit=1", resource.path(None))).await?;
    let meta: Meta = serde_json::from_slice(&bytes).map_err(|_| ApiError::NoAnswer)?;
    Ok(meta.metadata.resource_version)
}
