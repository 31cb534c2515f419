//! Clients that mean harm or are broken: a 4xx or a closed connection, and everybody else is served as before.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{LIMIT, Place, Server, poll, read_answer};

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
    poll("the oldest are closed", || (files() <= before + 40).then_some(()));
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

/// The body of a refusal.
#[track_caller]
fn description(answer: &str) -> String {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer}"));
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    body["description"].as_str().unwrap().to_owned()
}

/// How often the log says that something was refused.
fn refusals(place: &Place) -> usize {
    place.log().lines().filter(|line| line.contains("refused")).count()
}

/// One more than hyper takes, ten thousand, and more bytes than it takes: before the head is a request, and after.
#[test]
fn header_bombs_get_a_431_with_a_reason() {
    let place = Place::new();
    let server = place.start();
    let request = server.request("GET", "/v2/catalog", None);
    let (line, headers) = request.split_at(request.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    let bomb = |headers_before: Vec<u8>| [line, &headers_before, headers].concat();
    let many = |count: usize| {
        (0..count)
            .flat_map(|n| format!("X-{n}: canary\r\n").into_bytes())
            .collect::<Vec<u8>>()
    };
    let fine = bomb(many(50));
    assert_eq!(server.exchange(&fine).0, 200);
    for (number, headers) in [
        many(101),
        many(10_000),
        [b"X: ", &[b'y'; 300_000][..], b"\r\n"].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let (code, answer) = server.exchange(&bomb(headers));
        assert_eq!(code, 431, "{answer}");
        assert!(description(&answer).contains("100 headers and 65536 bytes"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(refusals(&place), number + 1, "{}", place.log());
    }
    assert!(!place.log().contains("canary"), "{}", place.log());
    is_well(&server);
}

/// The same on a connection that has answered before, and for what is no request at all.
#[test]
fn what_is_no_request_gets_a_400_with_a_reason() {
    let place = Place::new();
    let server = place.start();
    let mut stream = server.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream.write_all(b"GET /healthz\r\n\r\n").unwrap();
    let (_, answers) = read_answer(&mut stream);
    let second = &answers[answers.find("HTTP/1.1 400").unwrap_or_else(|| panic!("{answers}"))..];
    assert!(description(second).contains("no HTTP request"), "{second}");
    assert_eq!(refusals(&place), 1, "{}", place.log());
}

/// Sends byte after byte, far too slowly to end in time, until the server has had enough.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> (u16, String) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut bytes = bytes.iter().cycle();
    let mut answer = Vec::new();
    while Instant::now() < deadline {
        let byte = bytes.next().expect("it goes round and round");
        let _ = stream.write_all(&[*byte]);
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Reset: it sent on after the end.
            Err(_) => break,
        }
    }
    assert!(Instant::now() < deadline, "still open");
    let answer = String::from_utf8(answer).unwrap();
    let code = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, answer)
}

#[test]
fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let place = Place::new();
    let server = place.start_with(&["--head-timeout", "1"], &[]);
    let (code, answer) = drip(&mut server.connect(), b"GET /v2/catalog HTTP/1.1\r\nX: ");
    assert!(code == 0 || (400..500).contains(&code), "{answer}");
    // After an answer as well.
    let mut stream = server.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (code, answer) = drip(&mut stream, b"X");
    assert_eq!((code, answer.matches("HTTP/1.1 ").count()), (200, 1), "{answer}");
    is_well(&server);
}

#[test]
fn a_body_that_does_not_come_in_time_gets_a_408() {
    let place = Place::new();
    let server = place.start_with(&["--body-timeout", "1"], &[]);
    let order = crate::harness::order(&serde_json::json!({}));
    let request = server.request("PUT", "/v2/service_instances/slow", Some(&order));
    let head = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut stream = server.connect();
    stream.write_all(&request[..head]).unwrap();
    // It would take ten times as long.
    let (code, answer) = drip(&mut stream, &request[head..head + 100]);
    assert_eq!(code, 408, "{answer}");
    assert!(description(&answer).contains("did not come in time"), "{answer}");
    assert_eq!(refusals(&place), 1, "{}", place.log());
    let (code, answer) = server.call("GET", "/v2/service_instances/slow/last_operation", None);
    assert_eq!(code, 404, "nothing came of it: {answer}");
}

/// The memory of a process, in bytes.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

/// Far above what one takes, far below what would hurt.
const CONNECTION_BYTES: usize = 48 << 10;

#[test]
fn thousands_of_idle_connections_take_little_memory() {
    const CONNECTIONS: usize = 2000;
    let place = Place::new();
    let server = place.start_with(&["--max-connections", "2100", "--head-timeout", "300"], &[]);
    is_well(&server);
    let before = resident(server.pid());
    let half_a_head = b"GET /v2/catalog HTTP/1.1\r\nHost: x\r\n";
    let mut idle: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|number| {
            let mut stream = server.connect();
            // Silent from the start, in the middle of a head, or after an answer.
            match number % 3 {
                0 => {}
                1 => stream.write_all(half_a_head).unwrap(),
                _ => {
                    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    let mut answer = [0; 512];
                    assert!(stream.read(&mut answer).unwrap() > 0);
                }
            }
            stream
        })
        .collect();
    is_well(&server);
    let each = resident(server.pid()).saturating_sub(before) / CONNECTIONS;
    assert!(each <= CONNECTION_BYTES, "{each} bytes for each connection");
    // All of them are still served.
    for (number, stream) in idle.iter_mut().enumerate() {
        let request = server.request("GET", "/v2/catalog", None);
        // In the middle of its head, the second kind goes on with the headers.
        let begun = request.windows(2).position(|window| window == b"\r\n").unwrap() + 2;
        stream
            .write_all(if number % 3 == 1 { &request[begun..] } else { &request })
            .unwrap();
    }
    for stream in &mut idle {
        let (_, answers) = read_answer(stream);
        assert!(answers.contains("HTTP/1.1 200 OK"), "{answers}");
    }
}

#[test]
fn idle_connections_are_closed_after_a_while() {
    let place = Place::new();
    let server = place.start_with(&["--head-timeout", "1"], &[]);
    let files = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = files();
    let mut idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for stream in idle.iter_mut().skip(100) {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for stream in &mut idle {
        // Until its end.
        read_answer(stream);
    }
    poll("their files are closed", || (files() <= before).then_some(()));
    is_well(&server);
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
    poll("both are at work", || {
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
