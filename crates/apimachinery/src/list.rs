//! Parameters and pages of list and watch requests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::field::FieldError;
use crate::field_selector::FieldSelector;
use crate::label_selector::LabelSelector;
use crate::status::Status;

/// Where a list goes on: the token in `metadata.continue`. Opaque to clients, survives a restart of the server.
///
/// Encoded as unpadded base64url of `{"v":"meta.k8s.io/v1","rv":R,"start":"KEY"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinueToken {
    /// The revision that all pages are served at; `None` (−1 in the token): the latest state, after the old one expired.
    pub revision: Option<u64>,
    /// The first key of the page, relative to the list; the server chooses its form.
    pub start: String,
    /// How many items there are from that key on, if the server knows.
    pub remaining: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WireToken {
    v: String,
    rv: i64,
    start: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// Longest token that is decoded, in bytes; longer ones were not made here.
const MAX_TOKEN_BYTES: usize = 8192;

impl ContinueToken {
    /// The token's text.
    pub fn encode(&self) -> String {
        let rv = self.revision.map_or(-1, |r| i64::try_from(r).unwrap_or(i64::MAX));
        let wire = WireToken {
            v: TOKEN_VERSION.to_owned(),
            rv,
            start: self.start.clone(),
            left: self.remaining,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).expect("two strings and a number always serialise"))
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// 400 when it was not made by [`ContinueToken::encode`].
    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid =
            |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("too long"));
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|_| invalid("not base64url"))?;
        let wire: WireToken = serde_json::from_slice(&bytes).map_err(|_| invalid("not a token of this server"))?;
        if wire.v != TOKEN_VERSION {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let revision = match wire.rv {
            0 | i64::MIN..=-2 => {
                return Err(invalid(
                    "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
                ));
            }
            -1 => None,
            rv => Some(rv.unsigned_abs()),
        };
        if wire.start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        Ok(Self {
            revision,
            start: wire.start,
            remaining: wire.left,
        })
    }
}

/// How `resourceVersion` of a list is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// A state at least as new.
    NotOlderThan,
    /// Exactly that state.
    Exact,
}

/// The query parameters of a list, watch or deletecollection, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// `labelSelector`.
    pub label_selector: LabelSelector,
    /// `fieldSelector`. Whether the kind supports its fields is not checked here.
    pub field_selector: FieldSelector,
    /// `limit`; `None`: no limit.
    pub limit: Option<u64>,
    /// `continue`.
    pub continue_token: Option<ContinueToken>,
    /// `resourceVersion`; `None` for the empty one, `Some(0)` for "any state".
    pub resource_version: Option<u64>,
    /// `resourceVersionMatch`.
    pub version_match: Option<VersionMatch>,
    /// `timeoutSeconds`.
    pub timeout: Option<Duration>,
    /// `watch`.
    pub watch: bool,
    /// `allowWatchBookmarks`.
    pub allow_bookmarks: bool,
    /// `sendInitialEvents`; `None` when not given.
    pub send_initial_events: Option<bool>,
}

/// A boolean query parameter: `false` and `0` are false, any other value, the empty one too, is true.
pub fn query_bool(value: &str) -> bool {
    !(value.eq_ignore_ascii_case("false") || value == "0")
}

/// The unsigned number in a resourceVersion of a request; `None` for the empty one.
///
/// # Errors
///
/// 400 when it is no number.
pub fn resource_version(value: &str) -> Result<Option<u64>, Status> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    if let Some(revision) = digits.then(|| value.parse().ok()).flatten() {
        return Ok(Some(revision));
    }
    let error = FieldError::invalid(
        "resourceVersion",
        value,
        format!("strconv.ParseUint: parsing {}: invalid syntax", crate::go::quote(value)),
    );
    Err(Status::bad_request(format!("invalid resource version: {error}")))
}

/// The parameters as they were given; the first of repeated ones counts.
#[derive(Default)]
struct Raw<'a> {
    label_selector: Option<&'a str>,
    field_selector: Option<&'a str>,
    limit: Option<&'a str>,
    continue_token: Option<&'a str>,
    resource_version: Option<&'a str>,
    version_match: Option<&'a str>,
    timeout_seconds: Option<&'a str>,
    watch: Option<&'a str>,
    allow_bookmarks: Option<&'a str>,
    send_initial_events: Option<&'a str>,
}

impl<'a> Raw<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "labelSelector" => &mut self.label_selector,
            "fieldSelector" => &mut self.field_selector,
            "limit" => &mut self.limit,
            "continue" => &mut self.continue_token,
            "resourceVersion" => &mut self.resource_version,
            "resourceVersionMatch" => &mut self.version_match,
            "timeoutSeconds" => &mut self.timeout_seconds,
            "watch" => &mut self.watch,
            "allowWatchBookmarks" => &mut self.allow_bookmarks,
            "sendInitialEvents" => &mut self.send_initial_events,
            _ => return None,
        })
    }
}

impl ListOptions {
    /// Reads decoded query pairs; parameters of other meaning are ignored.
    ///
    /// # Errors
    ///
    /// 400 for a number, selector, token or revision that cannot be read, or `continue` together with a `resourceVersion`; 422 for
    /// combinations that are not allowed.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Status> {
        let mut raw = Raw::default();
        for (name, value) in pairs {
            if let Some(slot) = raw.slot(name) {
                slot.get_or_insert(value);
            }
        }
        let limit = raw.limit.map_or(Ok(0), integer)?;
        let timeout = raw.timeout_seconds.map_or(Ok(0), integer)?;
        let label_selector = raw
            .label_selector
            .map_or_else(|| Ok(LabelSelector::default()), LabelSelector::parse)?;
        let field_selector = raw
            .field_selector
            .map_or_else(|| Ok(FieldSelector::default()), FieldSelector::parse)?;
        let watch = raw.watch.is_some_and(query_bool);
        let version_match = check_combinations(&raw, watch)?;
        let resource_version = resource_version(raw.resource_version.unwrap_or(""))?;
        let continue_token = match raw.continue_token.filter(|token| !token.is_empty()) {
            Some(_) if resource_version.is_some_and(|r| r != 0) && !watch => {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            Some(token) => Some(ContinueToken::decode(token)?),
            None => None,
        };
        Ok(Self {
            label_selector,
            field_selector,
            limit: u64::try_from(limit).ok().filter(|n| *n > 0),
            continue_token,
            resource_version,
            version_match,
            timeout: u64::try_from(timeout).ok().filter(|n| *n > 0).map(Duration::from_secs),
            watch,
            allow_bookmarks: raw.allow_bookmarks.is_some_and(query_bool),
            send_initial_events: raw.send_initial_events.map(query_bool),
        })
    }
}

fn integer(value: &str) -> Result<i64, Status> {
    let quoted = || crate::go::quote(value);
    value.parse().map_err(|e: std::num::ParseIntError| {
        let why = match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quoted()))
    })
}

/// The rules between `resourceVersionMatch` and its neighbours.
fn check_combinations(raw: &Raw<'_>, watch: bool) -> Result<Option<VersionMatch>, Status> {
    const MATCH: &str = "resourceVersionMatch";
    let given = raw.version_match.unwrap_or("");
    let version_match = match given {
        "NotOlderThan" => Some(VersionMatch::NotOlderThan),
        "Exact" => Some(VersionMatch::Exact),
        _ => None,
    };
    let mut errors = Vec::new();
    let mut forbid = |when: bool, field: &str, why: &str| {
        if when {
            errors.push(FieldError::forbidden(field, why));
        }
    };
    let matched = !given.is_empty();
    let continued = raw.continue_token.is_some_and(|token| !token.is_empty());
    let initial = raw.send_initial_events.is_some();
    let not_older = version_match == Some(VersionMatch::NotOlderThan);
    if watch {
        forbid(
            initial && !not_older,
            MATCH,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        forbid(
            matched && !initial,
            MATCH,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    } else {
        let version = raw.resource_version.unwrap_or("");
        forbid(
            matched && version.is_empty(),
            MATCH,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
    }
    forbid(
        matched && continued,
        MATCH,
        "resourceVersionMatch is forbidden when continue is provided",
    );
    if matched && watch && !not_older {
        errors.push(FieldError::not_supported(MATCH, given, &["NotOlderThan"]));
    }
    if matched && !watch && version_match.is_none() {
        errors.push(FieldError::not_supported(MATCH, given, &["Exact", "NotOlderThan", ""]));
    }
    if !watch && version_match == Some(VersionMatch::Exact) && raw.resource_version == Some("0") {
        errors.push(FieldError::forbidden(
            MATCH,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ));
    }
    if !watch && initial {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if errors.is_empty() {
        Ok(version_match)
    } else {
        Err(Status::invalid_options("ListOptions", errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &[(&str, &str)]) -> (u16, String) {
        let status = ListOptions::parse(query.iter().copied()).unwrap_err();
        (status.code(), status.message)
    }

    #[test]
    fn booleans_are_false_only_when_they_say_so() {
        assert_eq!(
            ["false", "False", "0", "true", "1", "", "no"].map(query_bool),
            [false, false, false, true, true, true, true]
        );
    }

    #[test]
    fn a_plain_list_has_no_bounds() {
        let options = ListOptions::parse([("limit", "-1"), ("pretty", "1"), ("resourceVersion", "")]).unwrap();
        assert_eq!(options, ListOptions::default());
    }

    #[test]
    fn a_page_is_asked_for_by_its_token() {
        let token = ContinueToken {
            revision: Some(7),
            start: "/c1\0".to_owned(),
            remaining: None,
        };
        let text = token.encode();
        let options = ListOptions::parse([("limit", "2"), ("continue", text.as_str())]).unwrap();
        assert_eq!((options.limit, options.continue_token), (Some(2), Some(token)));
        let (code, message) = refused(&[("continue", &text), ("resourceVersion", "7")]);
        assert_eq!(
            (code, message.as_str()),
            (400, "specifying resource version is not allowed when using continue")
        );
    }

    #[test]
    fn tokens_of_real_servers_are_understood() {
        let token = URL_SAFE_NO_PAD.encode("{\"v\":\"meta.k8s.io/v1\",\"rv\":-1,\"start\":\"/c1\\u0000\"}");
        let expected = ContinueToken {
            revision: None,
            start: "/c1\0".to_owned(),
            remaining: None,
        };
        assert_eq!(ContinueToken::decode(&token).unwrap(), expected);
        for bad in ["garbage", "e30", "", "%%", &"A".repeat(9000)] {
            assert!(
                ContinueToken::decode(bad)
                    .unwrap_err()
                    .message
                    .starts_with("invalid continue token: "),
                "{bad}"
            );
        }
        for rv in [0, -2] {
            let token = URL_SAFE_NO_PAD.encode(format!("{{\"v\":\"meta.k8s.io/v1\",\"rv\":{rv},\"start\":\"a\"}}"));
            assert_eq!(ContinueToken::decode(&token).unwrap_err().code(), 400);
        }
    }

    #[test]
    fn initial_events_need_a_watch_and_their_match() {
        let ok = ListOptions::parse([
            ("watch", "1"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
        ]);
        assert_eq!(ok.unwrap().send_initial_events, Some(true));
        assert_eq!(refused(&[("sendInitialEvents", "true")]).0, 422);
        assert_eq!(refused(&[("watch", "1"), ("sendInitialEvents", "true")]).0, 422);
        assert_eq!(
            refused(&[
                ("watch", "1"),
                ("resourceVersionMatch", "NotOlderThan"),
                ("resourceVersion", "1")
            ])
            .0,
            422
        );
    }
}
