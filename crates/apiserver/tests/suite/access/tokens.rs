//! Tokens of service accounts.

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

use super::on_both;
use crate::support::TestServer;

/// A token of the account `robot`, which is made when it is missing.
pub(super) async fn robot(server: &TestServer, spec: Value) -> crate::support::Answer {
    let accounts = format!("{}/serviceaccounts", server.namespace_path());
    server.post(&accounts, json!({"metadata": {"name": "robot"}})).await;
    let body = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec});
    server.post(&format!("{accounts}/robot/token"), body).await
}

fn token_of(answer: &Value) -> String {
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

const ME: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn who(server: &TestServer, token: &str) -> crate::support::Answer {
    let headers = [("content-type", "application/json")];
    server.with_token(Some(token), Method::POST, ME, &headers, "{}").await
}

on_both! {
    async fn a_token_is_its_account(server: TestServer) {
        let answer = robot(&server, json!({})).await;
        assert_eq!(answer.code, 201);
        let answer = answer.ok();
        assert_eq!(
            (answer["kind"].as_str(), answer["apiVersion"].as_str(), answer["metadata"]["name"].as_str()),
            (Some("TokenRequest"), Some("authentication.k8s.io/v1"), Some("robot"))
        );
        assert_eq!(answer["spec"]["expirationSeconds"], 3600);
        let token = token_of(&answer);
        let account = server.get(&format!("{}/serviceaccounts/robot", server.namespace_path())).await.ok();
        let claims = claims(&token);
        let name = format!("system:serviceaccount:{}:robot", server.namespace);
        assert_eq!(claims["sub"], name.as_str());
        assert_eq!(claims["iss"], "https://kubernetes.default.svc.cluster.local");
        assert_eq!(claims["aud"], json!(["https://kubernetes.default.svc.cluster.local"]));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        assert_eq!(
            claims["kubernetes.io"],
            json!({"namespace": server.namespace, "serviceaccount": {"name": "robot", "uid": account["metadata"]["uid"]}})
        );
        let me = who(&server, &token).await;
        assert_eq!(me.code, 201, "{me:?}");
        let user = me.ok()["status"]["userInfo"].clone();
        assert_eq!((user["username"].as_str(), &user["uid"]), (Some(name.as_str()), &account["metadata"]["uid"]));
        let groups = json!(["system:serviceaccounts", format!("system:serviceaccounts:{}", server.namespace), "system:authenticated"]);
        assert_eq!(user["groups"], groups);
        let jti = format!("JTI={}", claims["jti"].as_str().unwrap());
        assert_eq!(user["extra"]["authentication.kubernetes.io/credential-id"], json!([jti]));
        // Rights come by the namespace and name.
        let list = async || server.with_token(Some(&token), Method::GET, &server.maps(), &[], "").await.code.as_u16();
        assert_eq!(list().await, 403);
        let rules = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]);
        server.post(&server.roles(), json!({"metadata": {"name": "r"}, "rules": rules})).await.ok();
        let binding = json!({
            "metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "robot"}],
        });
        server.post(&server.bindings(), binding).await.ok();
        server.soon(list, |code| *code == 200).await;
    }

    async fn a_token_ends_with_its_account(server: TestServer) {
        let token = token_of(&robot(&server, json!({})).await.ok());
        assert_eq!(who(&server, &token).await.code, 201);
        let account = format!("{}/serviceaccounts/robot", server.namespace_path());
        server.delete(&account).await.ok();
        let refused = async || who(&server, &token).await.code.as_u16();
        server.soon(refused, |code| *code == 401).await;
        // One of the same name is another one.
        let new = token_of(&robot(&server, json!({})).await.ok());
        assert_eq!((who(&server, &new).await.code.as_u16(), refused().await), (201, 401));
    }

    async fn a_token_ends_with_what_it_is_bound_to(server: TestServer) {
        let secrets = format!("{}/secrets", server.namespace_path());
        let secret = server.post(&secrets, json!({"metadata": {"name": "s"}})).await.ok();
        let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s"}, "expirationSeconds": 600});
        let answer = robot(&server, bound.clone()).await.ok();
        let token = token_of(&answer);
        assert_eq!(
            claims(&token)["kubernetes.io"]["secret"],
            json!({"name": "s", "uid": secret["metadata"]["uid"]})
        );
        assert_eq!(who(&server, &token).await.code, 201);
        server.delete(&format!("{secrets}/s")).await.ok();
        server.soon(async || who(&server, &token).await.code.as_u16(), |code| *code == 401).await;
        let missing = robot(&server, bound).await;
        assert_eq!(missing.refused(), (404, "NotFound".into()));
        for (reference, code) in [
            (json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "s"}), 400),
            (json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "s"}), 400),
        ] {
            assert_eq!(robot(&server, json!({"boundObjectRef": reference})).await.refused().0, code, "{reference}");
        }
    }

    async fn a_token_is_for_its_audience(server: TestServer) {
        let token = token_of(&robot(&server, json!({"audiences": ["vault"]})).await.ok());
        assert_eq!(who(&server, &token).await.code, 401);
        let review = async |token: &str, audiences: Value| {
            let body = json!({"spec": {"token": token, "audiences": audiences}});
            server.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.ok()["status"].clone()
        };
        let good = review(&token, json!(["other", "vault"])).await;
        assert_eq!((&good["authenticated"], &good["audiences"]), (&json!(true), &json!(["vault"])));
        assert_eq!(good["user"]["username"], format!("system:serviceaccount:{}:robot", server.namespace));
        for audiences in [json!([]), json!(["other"])] {
            let bad = review(&token, audiences).await;
            assert_eq!((bad.get("authenticated"), &bad["user"]), (None, &json!({})), "{bad}");
            assert!(bad["error"].as_str().unwrap().contains("invalid"), "{bad}");
        }
        let own = token_of(&robot(&server, json!({})).await.ok());
        assert_eq!(review(&own, json!([])).await["authenticated"], true);
    }

    async fn what_is_no_token_is_401(server: TestServer) {
        let token = token_of(&robot(&server, json!({})).await.ok());
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let mut forged = claims(&token);
        forged["sub"] = json!("system:serviceaccount:kube-system:default");
        forged["kubernetes.io"]["namespace"] = json!("kube-system");
        parts[1] = engine.encode(forged.to_string());
        let unsigned = format!("{}.{}.", engine.encode("{\"alg\":\"none\"}"), parts[1]);
        for wrong in [parts.join("."), unsigned, token[..token.len() - 10].to_owned(), "nonsense".to_owned(), "a.b.c".to_owned()] {
            let refused = who(&server, &wrong).await;
            assert_eq!(refused.refused(), (401, "Unauthorized".into()), "{wrong}");
        }
        let anonymous = server.with_token(None, Method::GET, &server.maps(), &[], "").await;
        assert_eq!(anonymous.refused().0, 403);
        assert!(anonymous.json()["message"].as_str().unwrap().contains("User \"system:anonymous\" cannot list"));
        assert_eq!(server.with_token(None, Method::GET, "/livez", &[], "").await.code, 200);
    }

    async fn requests_for_tokens_are_checked(server: TestServer) {
        for (spec, code) in [
            (json!({"expirationSeconds": 599}), 422),
            (json!({"expirationSeconds": 4_294_967_297_u64}), 422),
            (json!({"expirationSeconds": "600"}), 400),
        ] {
            assert_eq!(robot(&server, spec.clone()).await.refused().0, code, "{spec}");
        }
        let token = robot(&server, json!({"expirationSeconds": 86400})).await.ok();
        assert_eq!(token["spec"]["expirationSeconds"], 86400);
        let path = format!("{}/serviceaccounts", server.namespace_path());
        let body = |metadata: Value| json!({"metadata": metadata, "spec": {}});
        assert_eq!(server.post(&format!("{path}/nobody/token"), body(json!({}))).await.refused(), (404, "NotFound".into()));
        assert_eq!(server.post(&format!("{path}/robot/token"), body(json!({"name": "other"}))).await.refused().0, 422);
        assert_eq!(server.post(&format!("{path}/robot/token"), body(json!({"uid": "other"}))).await.refused().0, 409);
        assert_eq!(server.get(&format!("{path}/robot/token")).await.refused().0, 405);
        let other = json!({"kind": "Secret", "apiVersion": "v1"});
        assert_eq!(server.post(&format!("{path}/robot/token"), other).await.refused().0, 400);
    }
}

/// What a token review or another verifier needs is served.
#[tokio::test]
async fn the_keys_of_the_issuer_are_served() {
    let server = super::ours().await;
    let token = token_of(&robot(&server, json!({})).await.ok());
    let headers = [("content-type", "application/json")];
    let keys = server
        .with_token(Some(&token), Method::GET, "/openid/v1/jwks", &headers, "")
        .await
        .ok();
    let key = &keys["keys"][0];
    let part = |name: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(key[name].as_str().unwrap())
            .unwrap()
    };
    let point = [vec![4], part("x"), part("y")].concat();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(signature)
        .unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    public.verify(signed.as_bytes(), &signature).unwrap();
    let document = server.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(document["issuer"], claims(&token)["iss"]);
}

/// All processes on a store believe the same tokens.
#[tokio::test]
async fn a_token_outlives_the_process_that_issued_it() {
    let server = super::ours().await;
    let token = token_of(&robot(&server, json!({})).await.ok());
    server.ours().api.shutdown().await;
    let other = server.beside_with(super::options()).await;
    assert_eq!(who(&other, &token).await.code, 201);
}

#[tokio::test]
async fn anonymous_requests_can_be_kept_out() {
    let options = apiserver::Options {
        anonymous: false,
        ..super::options()
    };
    let server = TestServer::with(crate::support::TestStore::memory(), options).await;
    for path in ["/livez", "/api", &server.maps()] {
        assert_eq!(
            server.with_token(None, Method::GET, path, &[], "").await.refused(),
            (401, "Unauthorized".into()),
            "{path}"
        );
    }
}
