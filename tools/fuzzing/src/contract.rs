//! The OSB contract: JSON, requests, headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use osb_api::context::ContextView;
use osb_api::identity::OriginatingIdentity;
use osb_api::json::{self, BodyError};
use osb_api::request::{BindRequest, MissingOrganization, ProvisionRequest, UpdateRequest};
use osb_api::version::ApiVersion;
use osb_server::Trace;
use serde_json::Value;

use crate::bytes_of;

/// How the names start that serde_json gives a meaning of its own.
const SERDE_NAME: &[u8] = b"$serde_json";

/// Where our readers take a text, they read the same as serde_json; where they do not, it is for a reason that they have.
pub(crate) fn json(data: &[u8]) {
    // A member of such a name means something to serde_json: it is refused, and elsewhere is a text like others.
    if data.windows(SERDE_NAME.len()).any(|window| window == SERDE_NAME) {
        if let (Ok(read), _) = (json::read(data), apimachinery::json::parse_strict(data)) {
            comes_back(&read);
        }
        return;
    }
    let plain = serde_json::from_slice::<Value>(data);
    match (&plain, &json::read(data)) {
        (Ok(plain), Ok(read)) => assert_eq!(plain, read, "a body is read otherwise"),
        (Ok(_), Err(error)) => assert!(
            matches!(error, BodyError::TooDeep | BodyError::Duplicate { .. }),
            "a body is refused: {error}"
        ),
        (Err(error), Ok(_)) => panic!("what is no JSON is taken: {error}"),
        (Err(_), Err(error)) => assert!(
            !matches!(error, BodyError::NoObject),
            "a syntax error is told as another"
        ),
    }
    match (&plain, &apimachinery::json::parse_strict(data)) {
        (Ok(plain), Ok((read, duplicates))) => {
            assert_eq!(*plain, Value::from(read.clone()), "an object is read otherwise");
            assert!(
                duplicates.is_empty() || json::read(data).is_err(),
                "a member that stands twice is passed over"
            );
        }
        (Ok(_), Err(error)) => assert_eq!(error.problem, apimachinery::json::Problem::TooDeep),
        (Err(error), Ok(_)) => panic!("what is no JSON is taken: {error}"),
        (Err(_), Err(_)) => {}
    }
    if let Ok(value) = plain {
        comes_back(&value);
    }
}

/// What is written is read as the same value, by both readers.
fn comes_back(value: &Value) {
    let Ok(text) = serde_json::to_vec(value) else {
        panic!("a value cannot be written")
    };
    for read in [
        json::read(&text).ok(),
        apimachinery::json::parse_strict(&text)
            .ok()
            .map(|(value, _)| value.into()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(read, *value, "a value does not come back");
    }
}

/// A body that is taken is an object of the right members.
pub(crate) fn requests(data: &[u8]) {
    let object = json::read(data).ok().filter(Value::is_object);
    for missing in [MissingOrganization::Refuse, MissingOrganization::FromContext] {
        if let Ok(request) = ProvisionRequest::from_json(data, missing) {
            let object = object.as_ref().expect("only an object is a request");
            assert_eq!(object["service_id"], request.service_id.as_str());
            assert_eq!(object["plan_id"], request.plan_id.as_str());
            assert_eq!(
                object.get("parameters").filter(|value| !value.is_null()).is_some(),
                request.parameters.is_some()
            );
            if let Some(context) = &request.context {
                if let ContextView::CloudFoundry(_) = context.view() {
                    assert_eq!(context.platform(), Some("cloudfoundry"));
                }
                let _ = context.instance_name();
            }
        }
    }
    if let Ok(request) = UpdateRequest::from_json(data) {
        assert_eq!(
            object.as_ref().expect("only an object is a request")["service_id"],
            request.service_id.as_str()
        );
    }
    if let Ok(request) = BindRequest::from_json(data) {
        assert!(object.is_some(), "only an object is a request");
        let _ = (request.check(), request.app_guid());
    }
}

/// What is decoded is decoded again as the same after it was encoded.
pub(crate) fn headers(data: &[u8]) {
    if let Ok(bytes) = osb_api::base64::decode(data) {
        assert_eq!(
            osb_api::base64::decode(osb_api::base64::encode(&bytes).as_bytes()).as_ref(),
            Ok(&bytes)
        );
    }
    let encoded = osb_api::base64::encode(data);
    assert_eq!(osb_api::base64::decode(encoded.as_bytes()).as_deref(), Ok(data));
    let Some(texts) = bytes_of::texts(data, 2) else { return };
    let header = texts[0];
    if let Ok(identity) = OriginatingIdentity::decode(header) {
        assert_eq!(
            OriginatingIdentity::decode(&identity.encode()).as_ref(),
            Ok(&identity),
            "an identity does not come back"
        );
        let user = identity.user_info();
        assert_eq!(
            user.extra.len(),
            identity
                .value
                .get("extra")
                .and_then(Value::as_object)
                .map_or(0, serde_json::Map::len)
        );
    }
    // The JSON of an identity, encoded here: behind Base64 nothing would ever be found.
    let whole = format!("cloudfoundry {}", osb_api::base64::encode(header.as_bytes()));
    if let Ok(identity) = OriginatingIdentity::decode(&whole) {
        assert_eq!(
            json::read(header.as_bytes()).ok(),
            Some(Value::Object(identity.value.clone()))
        );
        let _ = (identity.user_info(), identity.user());
    }
    if let Some(version) = ApiVersion::parse(texts.last().copied().unwrap_or_default()) {
        assert_eq!(
            ApiVersion::parse(&version.to_string()),
            Some(version),
            "a version does not come back"
        );
    }
}

/// A trace that is taken goes on in a header that is taken as the same.
pub(crate) fn trace(data: &[u8]) {
    const NAMES: [&str; 6] = [
        "traceparent",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-b3-flags",
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in NAMES.into_iter().zip(data.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let Some(trace) = Trace::of(&headers) else { return };
    let own = HeaderValue::try_from(trace.traceparent()).expect("hexadecimal digits and hyphens");
    let again = Trace::of(&HeaderMap::from_iter([(HeaderName::from_static("traceparent"), own)]));
    assert_eq!(again, Some(trace), "a trace does not go on");
}
