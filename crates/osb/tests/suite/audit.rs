//! The audit of a running broker, and the traces in its log.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, Server, order, poll};

const CANARY: &str = "canary-5d1e";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// A request with further headers, and the status of its answer.
fn send(server: &Server<'_>, method: &str, path: &str, headers: &str, body: Option<&Value>) -> u16 {
    let request = String::from_utf8(server.request(method, path, body)).unwrap();
    let (first, rest) = request.split_once("\r\n").unwrap();
    server.exchange(format!("{first}\r\n{headers}{rest}").as_bytes()).0
}

/// OSB-OID-01, OSB-RID-02: one line for each request that changes something, with who, what and how it ended, and no
/// parameter, credential or password.
#[test]
fn each_change_has_one_line_that_tells_who_and_what() {
    let place = Place::new();
    let file = place.data().with_file_name("audit.log");
    let server = place.start_with(&["--log-format", "json", "--audit-log", file.to_str().unwrap()], &[]);
    let user = osb_api::base64::encode(
        json!({"username": "duke", "uid": "c2", "email": CANARY})
            .to_string()
            .as_bytes(),
    );
    let headers = format!(
        "X-Broker-API-Originating-Identity: kubernetes {user}\r\nX-Broker-API-Request-Identity: rq-1\r\n\
         traceparent: 00-{TRACE}-{SPAN}-01\r\n"
    );
    let (instance, binding) = ("/v2/service_instances/i", "/v2/service_instances/i/service_bindings/b");
    let ids = format!(
        "?service_id={}&plan_id={}",
        reference_broker::OFFERING,
        reference_broker::FAST
    );
    let good = order(&json!({ "label": CANARY }));
    let bind = json!({"service_id": reference_broker::OFFERING, "plan_id": reference_broker::FAST});
    let failing = order(&json!({"fail_at": "provision", "fail_times": 1, "label": CANARY}));
    let wrong = order(&json!({ "label": 7, "canary-5d1e": CANARY }));
    for (method, path, body, status) in [
        ("PUT", instance.to_owned(), Some(&good), 201),
        ("PUT", instance.to_owned(), Some(&good), 200),
        ("PUT", binding.to_owned(), Some(&bind), 201),
        ("PUT", "/v2/service_instances/w".to_owned(), Some(&wrong), 400),
        ("PUT", "/v2/service_instances/f".to_owned(), Some(&failing), 201),
        ("DELETE", format!("{binding}{ids}"), None, 200),
        ("DELETE", format!("{instance}{ids}"), None, 200),
        ("DELETE", format!("{instance}{ids}"), None, 410),
        ("DELETE", instance.to_owned(), None, 400),
    ] {
        assert_eq!(send(&server, method, &path, &headers, body), status, "{method} {path}");
    }
    // Reading is not audited; a wrong password on what would change something is.
    server.call("GET", "/v2/catalog", None);
    let stranger =
        format!("PUT {instance} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {CANARY}\r\nConnection: close\r\n\r\n");
    assert_eq!(server.exchange(stranger.as_bytes()).0, 401);

    let text = fs::read_to_string(&file).unwrap();
    let found = lines(&text);
    let told: Vec<_> = found
        .iter()
        .map(|line| {
            (
                line["verb"].as_str(),
                line["status"].as_u64().unwrap(),
                line["begun"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("provision"), 201, Some("new")),
            (Some("provision"), 200, Some("repeated")),
            (Some("bind"), 201, Some("new")),
            (Some("provision"), 400, None),
            (Some("provision"), 201, Some("new")),
            (Some("unbind"), 200, Some("new")),
            (Some("deprovision"), 200, Some("new")),
            (Some("deprovision"), 410, None),
            (None, 400, None),
            (None, 401, None),
        ],
        "{text}"
    );
    for (name, wanted) in [
        ("platform", "default"),
        ("login", "basic"),
        ("login_name", "osb"),
        ("instance", "i"),
        ("binding", "b"),
        ("service", reference_broker::OFFERING),
        ("plan", reference_broker::FAST),
        ("user_platform", "kubernetes"),
        ("user", "duke"),
        ("user_id", "c2"),
        ("request", "rq-1"),
        ("trace_id", TRACE),
        ("parent_id", SPAN),
        ("target", "audit"),
    ] {
        assert_eq!(found[2][name], wanted, "{name} in {text}");
    }
    assert!(found[2]["ms"].is_u64() && found[2]["timestamp"].is_string(), "{text}");
    assert_eq!(
        (&found[9]["method"], found[9]["login"].is_null()),
        (&"PUT".into(), true),
        "{text}"
    );

    // What the author's function did belongs to the same trace.
    let failure = poll("the failed attempt is logged", || {
        let all = lines(&place.log());
        all.into_iter()
            .find(|line| line["message"] == "an operation did not succeed")
    });
    assert_eq!(
        (&failure["span"]["trace_id"], &failure["span"]["parent_id"]),
        (&TRACE.into(), &SPAN.into())
    );
    for text in [text, place.log()] {
        assert!(!text.contains(CANARY) && !text.contains(&server.password), "{text}");
    }

    // Somebody has moved the file away.
    fs::rename(&file, file.with_extension("1")).unwrap();
    server.signal("HUP");
    poll("a new file", || file.exists().then_some(()));
    assert_eq!(send(&server, "PUT", instance, "", Some(&good)), 201);
    assert_eq!(lines(&fs::read_to_string(&file).unwrap()).len(), 1);
    assert_eq!(server.stop(), Some(0), "a SIGHUP ends nothing");
}
