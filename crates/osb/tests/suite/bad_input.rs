//! Clients that mean harm or are broken: a 4xx or a closed connection, and everybody else is served as before.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::{Place, Server, read_answer};

#[track_caller]
fn is_well(server: &Server<'_>) {
    let (code, answer) = server.call("GET", "/v2/catalog", None);
    assert_eq!(code, 200, "{answer}");
}

/// Sends what the server may stop reading at any time.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

#[test]
fn heads_that_are_too_large_or_no_heads_are_refused() {
    let place = Place::new();
    let server = place.start();
    let head = b"GET /v2/catalog HTTP/1.1\r\nHost: x\r\n".to_vec();
    let many: Vec<u8> = (0..10_000).flat_map(|n| format!("X-{n}: y\r\n").into_bytes()).collect();
    let long = [b"X-Long: ".as_slice(), &vec![b'y'; 4 << 20], b"\r\n"].concat();
    let path = format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    for (what, bytes) in [
        ("many headers", [head.clone(), many, b"\r\n".to_vec()].concat()),
        ("one long header", [head.clone(), long, b"\r\n".to_vec()].concat()),
        (
            "a head without end",
            [head.clone(), b"X: y\r\n".repeat(100_000)].concat(),
        ),
        ("a long path", path.into_bytes()),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100)),
        ("zeros", vec![0; 1 << 20]),
        (
            "a bad length",
            [head.clone(), b"Content-Length: -1\r\n\r\n".to_vec()].concat(),
        ),
        (
            "two lengths",
            [
                head.clone(),
                b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec(),
            ]
            .concat(),
        ),
        (
            "a bad chunk",
            [head, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()].concat(),
        ),
    ] {
        let mut stream = server.connect();
        send(&mut stream, &bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let (code, answer) = read_answer(&mut stream);
        assert!(code == 0 || (400..500).contains(&code), "{what}: {answer}");
        is_well(&server);
    }
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let place = Place::new();
    let server = place.start_with(&["--max-connections", "32"], &[]);
    let files = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = files();
    let mut idle: Vec<TcpStream> = (0..500).map(|_| server.connect()).collect();
    is_well(&server);
    crate::harness::poll("the oldest are closed", || (files() <= before + 40).then_some(()));
    // The longest idle one is gone, the newest ones are still there.
    assert_eq!(idle[0].read(&mut [0]).ok(), Some(0));
    let newest = idle.last_mut().unwrap();
    newest.write_all(&server.request("GET", "/v2/catalog", None)).unwrap();
    assert_eq!(read_answer(newest).0, 200);
}

#[test]
fn slow_senders_do_not_keep_others_out() {
    let place = Place::new();
    let server = place.start_with(&["--max-connections", "16"], &[]);
    let request = server.request("GET", "/v2/catalog", None);
    // Each has sent a part of its head and sends no more.
    let _slow: Vec<TcpStream> = (0..64)
        .map(|n| {
            let mut stream = server.connect();
            send(&mut stream, &request[..n.min(request.len() - 1)]);
            stream
        })
        .collect();
    for _ in 0..20 {
        is_well(&server);
    }
}

#[test]
fn connections_at_work_are_not_closed_for_new_ones() {
    let place = Place::new();
    let server = place.start_with(&["--max-connections", "4"], &[]);
    let order = crate::harness::order(&serde_json::json!({"seconds": 2}));
    let mut working: Vec<TcpStream> = (0..2)
        .map(|n| {
            let mut stream = server.connect();
            stream
                .write_all(&server.request("PUT", &format!("/v2/service_instances/w{n}"), Some(&order)))
                .unwrap();
            stream
        })
        .collect();
    // Two places are left, for this verb among others.
    crate::harness::poll("both are at work", || {
        let all = place.verb(&["instances", "-o", "json"]).json();
        (all.as_array().map(Vec::len) == Some(2)).then_some(())
    });
    let _idle: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    is_well(&server);
    for stream in &mut working {
        let (code, answer) = read_answer(stream);
        assert_eq!(code, 201, "{answer}");
    }
}
