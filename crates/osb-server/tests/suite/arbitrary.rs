//! Anything at all: each request gets an answer of the specification's form, and none of them is the broker's fault.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::harness::*;

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS", "X"])
}

fn segments() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["v2", "catalog", "service_instances", "service_bindings", "last_operation", "i", ""]).prop_map(str::to_owned),
        1 => "[!-~&&[^/?#]]{0,8}",
        1 => "(%[0-9a-fA-F]{2}){1,4}",
    ]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        r#"\{("(service_id|plan_id|parameters|context|space_guid|bind_resource)":("s"|\{\}|null|7|\[\]),){0,4}"organization_guid":"o"\}"#
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    /// OSB-ERR-01, OSB-ERR-09, OSB-URL-01, OSB-CT-01.
    #[test]
    fn every_request_gets_a_proper_answer(
        method in methods(),
        path in prop::collection::vec(segments(), 0..7),
        query in "[!-~&&[^#]]{0,24}",
        name in prop::sample::select(vec!["content-type", "if-none-match", "x-broker-api-originating-identity", "x-broker-api-request-identity"]),
        value: Vec<u8>,
        body in bodies(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let front = Front::new(Script::default());
        let mut request = request(method, &format!("/{}?{query}", path.join("/")));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
            request = request.header(name, value);
        }
        prop_assume!(request.method_ref().is_some());
        let answer = runtime.block_on(front.send(request, body));
        prop_assert!(answer.status.is_success() || answer.status.is_client_error() || answer.status == 304, "{:?}", answer);
        if answer.status.is_client_error() {
            prop_assert!(!answer.description().is_empty());
        }
    }
}
