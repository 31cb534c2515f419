//! Limits, deadlines, the audit log, metrics and health of a server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::{AuditEvent, AuditFile, AuditSink, Limits, Options, Stage, Tokens, UserInfo};
use futures::{FutureExt as _, StreamExt as _};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{TestServer, TestStore, read};

/// Whoever has the token `bob` is bob, and may do everything.
fn open_to_bob() -> Options {
    Options {
        authenticator: Arc::new(Tokens::new([
            ("bob".to_owned(), UserInfo::new("bob", ["dev"])),
            ("root".to_owned(), UserInfo::new("root", [apiserver::MASTERS])),
        ])),
        authorization: apiserver::Authorization::AlwaysAllow,
        ..Options::default()
    }
}

async fn server(options: Options) -> TestServer {
    TestServer::with(TestStore::memory(), options).await
}

/// A create whose body does not come to an end.
async fn stuck(server: &TestServer, token: &str) -> impl Future<Output = u16> + use<> {
    let body = StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
    >());
    let request = Request::post(server.maps())
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap();
    let answer = server.ours().api.service().oneshot(request);
    let mut answer = Box::pin(async move { answer.await.unwrap().status().as_u16() });
    assert!(futures::poll!(&mut answer).is_pending());
    answer
}

#[tokio::test(start_paused = true)]
async fn writes_beyond_the_limit_are_turned_away_and_reads_go_on() {
    let limits = Limits {
        writes: 1,
        queue: 0,
        ..Limits::default()
    };
    let server = server(Options {
        limits,
        ..open_to_bob()
    })
    .await;
    let first = stuck(&server, "bob").await;
    let body = json!({"metadata": {"generateName": "a-"}}).to_string();
    let refused = server
        .with_token(Some("bob"), Method::POST, &server.maps(), &[], body.clone())
        .await;
    assert_eq!(refused.refused(), (429, "TooManyRequests".into()));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["details"], json!({"retryAfterSeconds": 1}));
    assert_eq!(
        server
            .with_token(Some("bob"), Method::GET, &server.maps(), &[], "")
            .await
            .code,
        200
    );
    assert_eq!(
        server
            .with_token(Some("root"), Method::POST, &server.maps(), &[], body.clone())
            .await
            .code,
        201
    );
    drop(first);
    assert_eq!(
        server
            .with_token(Some("bob"), Method::POST, &server.maps(), &[], body)
            .await
            .code,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline() {
    let server = server(open_to_bob()).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(stuck(&server, "bob").await.await, 504);
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
    let path = format!("{}?timeout=2s", server.maps());
    let body = StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
    >());
    let answer = server
        .ours()
        .api
        .service_as(UserInfo::admin())
        .oneshot(Request::post(path).body(body).unwrap())
        .await;
    let answer = read(answer.unwrap()).await;
    assert_eq!(answer.refused(), (504, "Timeout".into()));
    assert_eq!(begun.elapsed(), Duration::from_secs(62));
    let wrong = server.get(&format!("{}?timeout=soon", server.maps())).await;
    assert_eq!(wrong.refused(), (400, "BadRequest".into()));
}

#[tokio::test]
async fn watches_beyond_the_limit_are_turned_away() {
    let limits = Limits {
        watches: 1,
        ..Limits::default()
    };
    let server = server(Options {
        limits,
        ..open_to_bob()
    })
    .await;
    let watch = async || {
        let request = Request::get(format!("{}?watch=1", server.maps())).header("authorization", "Bearer root");
        server
            .ours()
            .api
            .service()
            .oneshot(request.body(Full::<bytes::Bytes>::default()).unwrap())
            .await
            .unwrap()
    };
    let first = watch().await;
    assert_eq!((first.status().as_u16(), watch().await.status().as_u16()), (200, 429));
    drop(first);
    assert_eq!(watch().await.status(), 200);
    // A program's own are not counted.
    let own: Vec<_> = futures::stream::iter(0..3)
        .then(|_| server.watch("/api/v1/configmaps", ""))
        .collect()
        .await;
    assert_eq!(own.len(), 3);
}

/// Keeps the events.
#[derive(Default)]
struct Kept(Mutex<Vec<AuditEvent>>);

impl AuditSink for Kept {
    fn record(&self, event: &AuditEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn each_request_is_written_down() {
    let kept = Arc::new(Kept::default());
    let server = server(Options {
        audit: Some(kept.clone()),
        authorization: apiserver::Authorization::Rbac,
        ..open_to_bob()
    })
    .await;
    kept.0.lock().unwrap().clear();
    let secrets = format!("{}/secrets", server.namespace_path());
    let secret = json!({"metadata": {"generateName": "s-"}, "stringData": {"password": "hunter2"}}).to_string();
    let headers = [
        ("audit-id", "mine"),
        ("user-agent", "tester"),
        ("impersonate-user", "carol"),
        ("impersonate-group", "system:masters"),
    ];
    let made = server
        .with_token(Some("root"), Method::POST, &secrets, &headers, secret)
        .await;
    assert_eq!(
        (made.code.as_u16(), &made.headers["audit-id"]),
        (201, &"mine".parse().unwrap())
    );
    let refused = server.with_token(Some("bob"), Method::GET, &secrets, &[], "").await;
    assert_eq!(refused.code, 403);
    let wrong = server
        .with_token(Some("eve"), Method::GET, &format!("{secrets}/a?x=1"), &[], "")
        .await;
    assert_eq!(wrong.code, 401);
    let events = std::mem::take(&mut *kept.0.lock().unwrap());
    let [create, list, get] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert!(
        events
            .iter()
            .all(|event| event.stage == Stage::ResponseComplete && event.level == "Metadata")
    );
    assert_eq!(
        (
            create.audit_id.as_str(),
            create.user_agent.as_str(),
            create.verb.as_str()
        ),
        ("mine", "tester", "create")
    );
    assert_eq!(create.user.username, "root");
    assert_eq!(create.impersonated_user.as_ref().unwrap().username, "carol");
    assert_eq!(
        create.object_ref.as_ref().unwrap().name,
        made.ok()["metadata"]["name"].as_str().unwrap()
    );
    assert_eq!((create.response_status.code, create.response_status.status), (201, ""));
    assert_eq!(create.annotations["authorization.k8s.io/decision"], "allow");
    assert_eq!(
        (list.response_status.code, list.response_status.reason.as_str()),
        (403, "Forbidden")
    );
    assert_eq!(list.annotations["authorization.k8s.io/decision"], "forbid");
    assert_eq!(list.audit_id, refused.headers["audit-id"].to_str().unwrap());
    assert_eq!((get.response_status.code, get.user.username.as_str()), (401, ""));
    assert!(!serde_json::to_string(&events).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_watch_is_written_down_when_it_begins_and_when_it_ends() {
    let kept = Arc::new(Kept::default());
    let server = server(Options {
        audit: Some(kept.clone()),
        ..open_to_bob()
    })
    .await;
    kept.0.lock().unwrap().clear();
    let mut watch = server.watch(&server.maps(), "timeoutSeconds=1").await;
    let stages = || {
        kept.0
            .lock()
            .unwrap()
            .iter()
            .map(|event| (event.stage, event.verb.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(stages(), [(Stage::ResponseStarted, "watch".into())]);
    while watch.next().await.is_some() {}
    drop(watch);
    assert_eq!(stages().last(), Some(&(Stage::ResponseComplete, "watch".into())));
}

#[tokio::test]
async fn the_audit_log_is_a_file_of_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let server = server(Options {
        audit: Some(Arc::new(AuditFile::open(&path).unwrap())),
        ..open_to_bob()
    })
    .await;
    server.get(&server.maps()).await.ok();
    let text = std::fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["kind"], &last["objectRef"]["resource"], &last["requestURI"]),
        (&json!("Event"), &json!("configmaps"), &json!(server.maps()))
    );
}

#[tokio::test]
async fn requests_are_counted() {
    let server = server(Options {
        metrics: true,
        ..open_to_bob()
    })
    .await;
    for _ in 0..3 {
        server.get(&server.maps()).await.ok();
    }
    server
        .post(&server.maps(), json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    server
        .post(&server.maps(), json!({"metadata": {"name": "a"}}))
        .await
        .refused();
    server.get("/api/v1/nonsense").await.refused();
    server
        .with_token(Some("eve"), Method::GET, &server.maps(), &[], "")
        .await
        .refused();
    let mut watch = server.watch(&server.maps(), "").await;
    watch.next().await.unwrap();
    let answer = server.get("/metrics").await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let labels = |verb: &str| {
        format!(
            "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"{verb}\",version=\"v1\""
        )
    };
    for line in [
        format!("apiserver_request_total{{code=\"200\",{}}} 3", labels("LIST")),
        format!("apiserver_request_total{{code=\"201\",{}}} 1", labels("POST")),
        format!("apiserver_request_total{{code=\"409\",{}}} 1", labels("POST")),
        format!("apiserver_request_duration_seconds_count{{{}}} 3", labels("LIST")),
        "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} 1".to_owned(),
        "apiserver_resource_objects{group=\"\",resource=\"configmaps\"} 1".to_owned(),
        "kubernetes_healthcheck{name=\"store\",type=\"readyz\"} 1".to_owned(),
        "authentication_attempts{result=\"failure\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(!text.contains("nonsense"));
}

#[tokio::test]
async fn nothing_is_counted_unless_it_is_asked_for() {
    let server = server(open_to_bob()).await;
    assert_eq!(server.get("/metrics").await.code, 404);
    assert!(server.get("/livez").await.headers.get("audit-id").is_none());
    assert!(
        server
            .with_token(None, Method::GET, "/livez", &[], "")
            .await
            .headers
            .get("audit-id")
            .is_some()
    );
}

#[tokio::test]
async fn an_exclusion_that_matches_nothing_is_said() {
    let server = server(open_to_bob()).await;
    let answer = server.get("/readyz?verbose&exclude=store&exclude=nonsense").await;
    assert_eq!(
        String::from_utf8_lossy(&answer.body),
        "[+]ping ok\n[+]store excluded: ok\n[+]informer-sync ok\n[+]shutdown ok\n\
         warn: some health checks cannot be excluded: no matches for \"nonsense\"\nreadyz check passed\n"
    );
}

/// Authorizers are asked one after the other.
#[tokio::test]
async fn authorizers_form_a_chain() {
    struct Only(&'static str, apiserver::Decision);
    impl apiserver::Authorizer for Only {
        fn authorize(&self, user: &UserInfo, _: &apiserver::Attributes<'_>) -> apiserver::Decision {
            if user.name == self.0 {
                self.1.clone()
            } else {
                apiserver::Decision::NoOpinion(format!("not {}", self.0))
            }
        }
    }
    let custom = |name, decision| apiserver::Authorization::Custom(Arc::new(Only(name, decision)));
    let server = server(Options {
        authorization: apiserver::Authorization::Chain(vec![
            custom("eve", apiserver::Decision::Deny("never".into())),
            custom("bob", apiserver::Decision::Allow),
            apiserver::Authorization::Masters,
        ]),
        ..Options::default()
    })
    .await;
    let list = async |name: &str, groups: &[&str]| {
        let service = server
            .ours()
            .api
            .service_as(UserInfo::new(name, groups.iter().copied()));
        let request = Request::get(server.maps())
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        service
            .oneshot(request)
            .then(async |answer| read(answer.unwrap()).await)
            .await
    };
    assert_eq!(list("bob", &[]).await.code, 200);
    assert_eq!(list("carol", &[apiserver::MASTERS]).await.code, 200);
    let refused = list("eve", &[apiserver::MASTERS]).await;
    assert!(
        refused.json()["message"].as_str().unwrap().ends_with(": never"),
        "{refused:?}"
    );
    let refused = list("carol", &[]).await;
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .ends_with(": not eve\nnot bob"),
        "{refused:?}"
    );
    let spec = json!({"spec": {"user": "eve", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let review = server
        .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", spec)
        .await
        .ok();
    assert_eq!(
        review["status"],
        json!({"allowed": false, "denied": true, "reason": "never"})
    );
}

/// A body that ends is not part of what is held.
#[tokio::test]
async fn an_answer_can_be_read_after_the_server_has_shut_down() {
    let server = server(open_to_bob()).await;
    let answer = server.open(Method::GET, &server.maps(), &[], "").await;
    server.ours().api.shutdown().await;
    assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}
