//! Answers that no good broker gives, and some that only other brokers give.

use std::time::Duration;

use osb_api::request::{Incomplete, PollQuery};
use osb_client::{Client, Error, Options, Reply, Wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::broker::*;

/// A client of a server that answers each request with these bytes and closes.
async fn answering(answer: String) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            // Read what is left: an early close would take the answer back.
            let _ = stream.read_to_end(&mut head).await;
        }
    });
    Client::new(&Options {
        timeout: Duration::from_secs(20),
        ..Options::new(url, "u", "p")
    })
    .unwrap()
}

async fn client(status: &str, body: &str) -> Client {
    answering(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
    .await
}

/// OSB-ORP-03: a success with a malformed body is no success, and its error quotes nothing.
#[tokio::test]
async fn malformed_successes_are_errors() {
    for (status, body) in [
        ("201 Created", ""),
        ("201 Created", "hunter2"),
        ("201 Created", "[]"),
        ("201 Created", r#"{"credentials":"hunter2"}"#),
        ("200 OK", r#"{"credentials":{"password":"hunter2"}"#),
        ("202 Accepted", r#"{"operation":{"hunter2":1}}"#),
        ("204 No Content", ""),
        ("203 Non-Authoritative Information", "{}"),
        ("302 Found", "{}"),
    ] {
        let client = client(status, body).await;
        let error = client
            .bind(&instance("i"), &binding("b"), &bind(), Incomplete::Accepted)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Malformed { status: code, .. } if status.starts_with(&code.to_string())),
            "{status} {body}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

/// OSB-DEP-03: 201 is no success of a removal.
#[tokio::test]
async fn each_route_has_its_own_successes() {
    let client = client("201 Created", "{}").await;
    let error = client
        .deprovision(&instance("i"), &removal(), Incomplete::Refused)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Malformed { status: 201, .. }));
}

#[tokio::test]
async fn a_202_needs_no_operation() {
    for body in [
        "{}",
        r#"{"operation":null}"#,
        r#"{"operation":""}"#,
        r#"{"unknown":[1]}"#,
    ] {
        let reply = client("202 Accepted", body)
            .await
            .provision(&instance("i"), &provision("p"), Incomplete::Accepted)
            .await
            .unwrap();
        assert!(matches!(reply, Reply::Accepted { operation: None, .. }), "{body}");
    }
    let long = format!(r#"{{"operation":"{}"}}"#, "x".repeat(10_001));
    let error = client("202 Accepted", &long)
        .await
        .provision(&instance("i"), &provision("p"), Incomplete::Accepted)
        .await;
    assert!(matches!(error, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn refusals_without_a_json_body_keep_their_status() {
    for body in ["", "<html>down</html>", "[]", r#"{"error":7}"#] {
        let error = client("502 Bad Gateway", body).await.catalog().await.unwrap_err();
        assert_eq!(error.to_string(), "the broker answers 502");
    }
    let error = client("409 Conflict", r#"{"description":"taken","other":1}"#)
        .await
        .catalog()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the broker answers 409: taken");
}

/// OSB-LOI-10.
#[tokio::test]
async fn retry_after_is_read() {
    let answer = |value: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nRetry-After: {value}\r\nContent-Length: 23\r\nConnection: close\r\n\r\n{{\"state\":\"in progress\"}}"
        )
    };
    for (value, seconds) in [
        ("7", Some(7)),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("99999999999999999999", None),
    ] {
        let polled = answering(answer(value))
            .await
            .instance_last_operation(&instance("i"), &PollQuery::default())
            .await
            .unwrap();
        assert_eq!(polled.retry_after_secs, seconds, "{value}");
    }
}

#[tokio::test]
async fn a_bad_catalog_names_the_place() {
    let error = client("200 OK", r#"{"services":[{"plans":[]}]}"#)
        .await
        .catalog()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer (status 200) is malformed: `services[0].id` is required"
    );
}

#[tokio::test]
async fn what_is_no_http_is_a_transport_error() {
    for answer in ["", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"] {
        let error = answering(answer.to_owned()).await.catalog().await.unwrap_err();
        assert!(matches!(error, Error::Transport(_)), "{answer:?}: {error}");
    }
}

/// The waiting repeats it until its limit, then says so.
#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_until_the_limit() {
    let wait = Wait {
        limit: Duration::from_millis(20),
        ..quickly()
    };
    let client = answering(String::new()).await;
    let end = client
        .wait_for_instance(&instance("i"), &PollQuery::default(), &wait, |_| ())
        .await;
    assert!(matches!(end, Err(Error::Transport(_))), "{end:?}");
}

#[tokio::test]
async fn a_silent_broker_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&Options {
        timeout: Duration::from_millis(20),
        ..Options::new(url, "u", "p")
    })
    .unwrap();
    assert!(matches!(client.catalog().await, Err(Error::Timeout(_))));
}
