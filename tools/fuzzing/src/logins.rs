//! Who may call: the `Authorization` header, signed tokens, the keys of their issuer.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use osb_server::{Algorithm, Config, Issuer, IssuerKeys, Logins, Platform, PlatformOf, Server, Token, key_set};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bytes_of;
use crate::front::{EveryAnswer, paused_runtime};

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "osb";
const TOKEN: &str = "a-token-that-is-known-beforehand";
const LOGIN: &str = "cf:a long password";
const CLOCK_SKEW: Duration = Duration::from_secs(60);

struct Fixture {
    runtime: Runtime,
    key: Ed25519KeyPair,
    server: Server<EveryAnswer>,
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

fn keys_of(key: &Ed25519KeyPair) -> Vec<u8> {
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]})
        .to_string()
        .into_bytes()
}

fn issuer(keys: IssuerKeys) -> Issuer {
    Issuer {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        keys: Arc::new(keys),
        clock_skew: CLOCK_SKEW,
        platform: PlatformOf::Always(Platform("cf".into())),
    }
}

impl Fixture {
    fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed");
        let keys = key_set(&keys_of(&key)).expect("it is a key set");
        let platform = Platform("cf".into());
        let mut config = Config::default().user("cf", "a long password", platform.clone());
        config.logins.tokens.push(Token {
            name: "ci".to_owned(),
            token: TOKEN.to_owned(),
            platform,
        });
        config.logins.issuers.push(issuer(IssuerKeys::fixed(keys)));
        Self {
            runtime: paused_runtime(),
            server: Server::new(Arc::new(EveryAnswer), &config).expect("the settings are right"),
            key,
        }
    }

    /// Whether a request with this header is let in.
    fn lets_in(&self, authorization: &[u8]) -> bool {
        let Ok(value) = HeaderValue::from_bytes(authorization) else {
            return false;
        };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = http::Uri::from_static("/v2/catalog");
        request.headers_mut().insert("authorization", value);
        request
            .headers_mut()
            .insert("x-broker-api-version", HeaderValue::from_static("2.17"));
        match self.runtime.block_on(self.server.handle(request)).status().as_u16() {
            200 => true,
            401 => false,
            status => panic!("a login is answered {status}"),
        }
    }
}

/// Only the logins that are known are let in. Parts of the input: a header, or the header of a token; the claims of the
/// token, which is signed here; a key set.
pub(crate) fn logins(data: &[u8]) {
    FIXTURE.with_borrow_mut(|fixture| {
        let fixture = fixture.get_or_insert_with(Fixture::new);
        let parts = bytes_of::parts(data, 3);
        if fixture.lets_in(parts[0]) {
            assert!(is_known(parts[0]), "an unknown login is let in");
        }
        let Some(claims) = parts.get(1) else { return };
        token(fixture, parts[0], claims);
        let Some(keys) = parts.get(2) else { return };
        if let Ok(keys) = key_set(keys) {
            let logins = Logins {
                issuers: vec![issuer(IssuerKeys::fixed(keys))],
                ..Logins::default()
            };
            let server = fixture.server.clone();
            server.set_logins(&logins).expect("an issuer with keys");
            token(fixture, parts[0], claims);
            *fixture = Fixture::new();
        }
    });
}

/// Whether a header carries one of the two secrets.
fn is_known(header: &[u8]) -> bool {
    let text = String::from_utf8_lossy(header);
    let Some((scheme, rest)) = text.split_once(' ') else {
        return false;
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        return rest.trim() == TOKEN;
    }
    let login = osb_api::base64::encode(LOGIN.as_bytes());
    scheme.eq_ignore_ascii_case("basic") && rest.trim().trim_end_matches('=') == login.trim_end_matches('=')
}

/// A token is believed only with a right signature, audience and time.
fn token(fixture: &Fixture, header: &[u8], claims: &[u8]) {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = fixture.key.sign(signed.as_bytes());
    let bearer = |signature: &[u8]| format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if fixture.lets_in(bearer(signature.as_ref()).as_bytes()) {
        assert!(may_be_believed(header, claims), "a token is believed that is not right");
    }
    let mut wrong = signature.as_ref().to_vec();
    wrong[0] ^= 1;
    assert!(
        !fixture.lets_in(bearer(&wrong).as_bytes()),
        "a wrong signature is believed"
    );
    assert!(
        !fixture.lets_in(bearer(&[]).as_bytes()),
        "a token without a signature is believed"
    );
}

fn may_be_believed(header: &[u8], claims: &[u8]) -> bool {
    let (Ok(header), Ok(claims)) = (
        serde_json::from_slice::<Value>(header),
        serde_json::from_slice::<Value>(claims),
    ) else {
        return false;
    };
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (earliest, latest) = ((now - CLOCK_SKEW).as_secs_f64(), (now + CLOCK_SKEW).as_secs_f64());
    let for_us = match &claims["aud"] {
        Value::Array(several) => several.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    for_us
        && header["alg"] == "EdDSA"
        && header.get("crit").is_none_or(Value::is_null)
        && claims["iss"] == ISSUER
        && claims["exp"].as_f64().is_some_and(|expires| expires > earliest)
        && claims
            .get("nbf")
            .is_none_or(|first| first.as_f64().is_some_and(|first| first <= latest))
}
