//! `/healthz`, `/readyz`, `/metrics`, and what is logged.

use std::cell::RefCell;
use std::io::Write;

use osb_api::base64;
use osb_server::{Access, Config};

use crate::harness::*;

#[tokio::test]
async fn probes_are_open_by_default() {
    let front = Front::new(Script::default());
    for uri in ["/healthz", "/readyz"] {
        let answer = front.send(bare("GET", uri), "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["status"].as_str()),
            (200, Some("ok"))
        );
    }
    front.send(bare("PUT", "/healthz"), "").await.refused(405);
    let front = Front::new(Script {
        ready: || Err("the store is starting".into()),
        ..Script::default()
    });
    let answer = front.send(bare("GET", "/readyz"), "").await.refused(503);
    assert_eq!(answer.description(), "the store is starting");
    assert_eq!(front.send(bare("GET", "/healthz"), "").await.status, 200);
}

#[tokio::test]
async fn pages_can_be_closed_or_removed() {
    let config = Config {
        probes: Access::Off,
        metrics: Access::Authenticated,
        ..config()
    };
    let front = Front::with(Script::default(), &config);
    for uri in ["/healthz", "/readyz", "/metrics"] {
        front.send(bare("GET", uri), "").await.refused(401);
    }
    front.plain("GET", "/healthz").await.refused(404);
    assert_eq!(front.plain("GET", "/metrics").await.status, 200);
}

/// Labels are from closed sets: no id, no path, no method of a client.
#[tokio::test]
async fn requests_are_counted_by_route_method_and_code() {
    let front = Front::new(Script::default());
    front.json("PUT", "/v2/service_instances/canary", PROVISION).await;
    front.json("PUT", "/v2/service_instances/canary", "{").await;
    front.plain("CANARY", "/canary").await;
    let answer = front.send(bare("GET", "/metrics"), "").await;
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"osb_http_requests_total{route="/v2/service_instances/:instance_id",method="PUT",code="201"} 1"#,
        r#"osb_http_requests_total{route="/v2/service_instances/:instance_id",method="PUT",code="400"} 1"#,
        r#"osb_http_requests_total{route="other",method="other",code="404"} 1"#,
        r#"osb_http_request_duration_seconds_count{route="/v2/service_instances/:instance_id",method="PUT"} 2"#,
        "osb_http_requests_in_flight 1",
        "scripted 0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.to_lowercase().contains("canary"));
}

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what a test's own thread logs.
struct OwnLines;

impl Write for OwnLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// OSB-RID-02: one line for each call that changes something and each refusal, escaped, without bodies or credentials.
#[tokio::test(flavor = "current_thread")]
async fn calls_and_refusals_have_one_line_each_and_no_secrets() {
    // For the whole process: a subscriber of one thread loses lines when other threads meet a call site first.
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| OwnLines)
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let script = Script {
        bind: || panic!("canary"),
        ..Script::default()
    };
    let front = Front::new(script);
    let identity = format!("cloudfoundry {}", base64::encode(br#"{"user_id":"u\n1"}"#));
    let body = PROVISION.replace('}', r#","parameters":{"password":"canary"}}"#);
    let request = request("PUT", "/v2/service_instances/a%0Ab")
        .header("X-Broker-API-Originating-Identity", identity)
        .header("X-Broker-API-Request-Identity", "rq-1");
    front.send(request, body.clone()).await;
    front
        .json("PUT", INSTANCE, &body.replace("\"o\"", "{\"canary\":1}"))
        .await;
    front.json("PUT", BINDING, BIND).await;
    front
        .send(bare("GET", "/v2/catalog").header("Authorization", "Basic canary"), "")
        .await;
    front.plain("GET", "/v2/catalog").await;
    let text = String::from_utf8(LINES.take()).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    for part in [
        "verb=\"provision\"",
        "platform=cf",
        r"instance=a\nb",
        "status=201",
        r"user=u\n1",
        "request=rq-1",
        "ms=",
    ] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
    assert!(
        lines[1].contains("refused") && lines[1].contains("`organization_guid` has to be a string"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("panicked") && lines[3].contains("status=500") && lines[3].contains("binding=b"),
        "{text}"
    );
    assert!(lines[4].contains("credentials are missing or wrong"), "{}", lines[4]);
}
