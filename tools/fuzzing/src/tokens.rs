//! Bearer tokens of the Kubernetes API: those of service accounts, with signatures that are right, too.

use std::cell::RefCell;

use apiserver::{ApiServer, Authorization, Options, Service, UserInfo};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use objectstore::{Transaction, Write};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower_service::Service as _;

use crate::bytes_of;
use crate::front::paused_runtime;

/// Where the server keeps its key.
const KEY: &[u8] = b"/server/service-account-key";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

thread_local! {
    static WORLD: RefCell<Option<(Runtime, World)>> = const { RefCell::new(None) };
}

/// A server with one account, and the key that it signs with.
struct World {
    service: Service,
    pair: EcdsaKeyPair,
    key_id: String,
    uid: String,
}

/// Only a token that this server could have issued, for an account that exists, makes a user of somebody. Parts of the
/// input: header and claims as JSON, in which `<kid>` and `<uid>` are what they should be; they are signed. Of one part the token is
/// taken as it is.
pub(crate) fn tokens(data: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        let (runtime, world) = world.get_or_insert_with(|| {
            let runtime = paused_runtime();
            let world = runtime.block_on(World::new());
            (runtime, world)
        });
        runtime.block_on(world.look_at(data));
    });
}

impl World {
    async fn new() -> World {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("there is randomness");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .expect("a key that was just made can be read");
        let put = Write::Put(Bytes::from_static(KEY), Bytes::copy_from_slice(document.as_ref()));
        let written = store.transact(Transaction {
            compares: Vec::new(),
            writes: vec![put],
        });
        written.await.expect("a store in memory takes a key");
        let options = Options {
            authorization: Authorization::Rbac,
            ..Options::default()
        };
        let api = ApiServer::open(store, options)
            .await
            .expect("a server in memory starts");
        let account = json!({"metadata": {"name": "robot"}}).to_string();
        let (code, made) = send(&mut api.service_as(UserInfo::admin()), ACCOUNTS, None, account).await;
        assert_eq!(code, 201, "{made}");
        let id = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        World {
            service: api.service(),
            key_id: URL_SAFE_NO_PAD.encode(id),
            pair,
            uid: made["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        }
    }

    async fn look_at(&mut self, data: &[u8]) {
        let parts = bytes_of::parts(data, 2);
        let Ok(first) = std::str::from_utf8(parts[0]) else {
            return;
        };
        let Some(claims) = parts.get(1) else {
            let (code, _) = self.ask(first).await;
            assert!(code != 201, "a token without a signature of ours is believed");
            return;
        };
        let Ok(claims) = std::str::from_utf8(claims) else {
            return;
        };
        let filled = |text: &str| text.replace("<kid>", &self.key_id).replace("<uid>", &self.uid);
        let (header, claims) = (filled(first), filled(claims));
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&header),
            URL_SAFE_NO_PAD.encode(&claims)
        );
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .expect("there is randomness");
        let (code, told) = self
            .ask(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
            .await;
        if code == 201 {
            self.believed(&header, &claims, &told);
        }
    }

    async fn ask(&mut self, token: &str) -> (u16, Value) {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let (code, told) = send(&mut self.service, WHO, Some(token), review).await;
        assert!(matches!(code, 0 | 201 | 400 | 401 | 403), "{code} {told}");
        (code, told)
    }

    /// Looks again at what the server has believed.
    fn believed(&self, header: &str, claims: &str, told: &Value) {
        let (header, claims): (Value, Value) = match (serde_json::from_str(header), serde_json::from_str(claims)) {
            (Ok(header), Ok(claims)) => (header, claims),
            _ => panic!("a token that is no JSON is believed"),
        };
        assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!(self.key_id)));
        let account = &claims["kubernetes.io"]["serviceaccount"];
        assert_eq!((&account["uid"], &account["name"]), (&json!(self.uid), &json!("robot")));
        assert_eq!(claims["kubernetes.io"]["namespace"], "default");
        let now = jiff::Timestamp::now().as_second();
        assert!(
            claims["exp"].as_i64().is_some_and(|end| end + 60 >= now),
            "a token that has ended is believed"
        );
        assert_eq!(
            told["status"]["userInfo"]["username"],
            "system:serviceaccount:default:robot"
        );
    }
}

/// The status and body of the answer to a POST; status 0 for a token that cannot stand in a header.
async fn send(service: &mut Service, path: &str, token: Option<&str>, body: String) -> (u16, Value) {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let Ok(request) = request.body(Full::new(Bytes::from(body))) else {
        return (0, Value::Null);
    };
    let answer = match service.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let code = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}
