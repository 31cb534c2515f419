//! Requests as their caller has made them.

use bytes::Bytes;
use http::{Method, Request};
use osb_client::{Options, Raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn nothing_is_added_but_the_login() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n{} ") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        stream
            .write_all(b"HTTP/1.1 299 Odd\r\nX-Odd: yes\r\nContent-Length: 5\r\n\r\n<odd>")
            .await
            .unwrap();
        String::from_utf8(seen).unwrap()
    };
    let raw = Raw::new(&Options::new(url, "u", "p")).unwrap();
    let request = Request::builder()
        .method(Method::PUT)
        .uri("/v2/x%2Fy?a=%20")
        .header("x-one", "1")
        .body(Bytes::from_static(b"{} "))
        .unwrap();
    let (answer, seen) = tokio::join!(raw.send(request), server);
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-odd"]),
        (299, &"yes".parse().unwrap())
    );
    assert_eq!(answer.body(), "<odd>");
    let mut lines: Vec<&str> = seen.lines().filter(|line| !line.starts_with("host: ")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "",
            "PUT /prefix/v2/x%2Fy?a=%20 HTTP/1.1",
            "authorization: Basic dTpw",
            "content-length: 3",
            "x-one: 1",
            "{} "
        ]
    );
}

/// Whoever wants to repeat a call has to know whether the broker can have seen it.
#[tokio::test]
async fn what_was_never_sent_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let raw = Raw::new(&Options::new(
        format!("http://{}", listener.local_addr().unwrap()),
        "u",
        "p",
    ))
    .unwrap();
    let request = || Request::new(Bytes::new());
    let hangs_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 16]).await.unwrap() > 0);
    };
    let (answer, ()) = tokio::join!(raw.send(request()), hangs_up);
    assert!(!answer.unwrap_err().is_unreached());
    drop(listener);
    assert!(raw.send(request()).await.unwrap_err().is_unreached());
}
