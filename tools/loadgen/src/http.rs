//! A minimal HTTP/1.1 client: one connection, one request at a time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// The largest head or body that is read, in bytes.
const LARGEST: usize = 16 << 20;

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub addr: SocketAddr,
    headers: String,
}

impl Target {
    /// A broker with basic authentication.
    pub fn new(addr: SocketAddr, user: &str, password: &str) -> Self {
        let authorization = base64(format!("{user}:{password}").as_bytes());
        let headers = format!("Host: {addr}\r\nAuthorization: Basic {authorization}\r\nX-Broker-API-Version: 2.17\r\n");
        Self { addr, headers }
    }

    /// A server that takes a bearer token.
    pub fn bearer(addr: SocketAddr, token: &str) -> Self {
        let headers = format!("Host: {addr}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n");
        Self { addr, headers }
    }

    /// Writes a request into `out`, over what was there.
    pub fn request(&self, out: &mut Vec<u8>, method: &str, path: &str, body: Option<&[u8]>) {
        self.request_with(out, method, path, "", body);
    }

    /// As [`request`](Self::request), with more header lines, each ended by CR LF.
    pub fn request_with(&self, out: &mut Vec<u8>, method: &str, path: &str, headers: &str, body: Option<&[u8]>) {
        out.clear();
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        out.extend_from_slice(self.headers.as_bytes());
        out.extend_from_slice(headers.as_bytes());
        if let Some(body) = body {
            out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
            out.extend_from_slice(body.len().to_string().as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
            out.extend_from_slice(body);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The body, without its framing.
    pub body: &'a [u8],
    /// Whether the server closes the connection.
    pub closes: bool,
    head: &'a [u8],
}

impl<'a> Response<'a> {
    /// The value of a header, when it is text; of several the first.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let text = std::str::from_utf8(self.head).ok()?;
        let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}

/// A blocking connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    incoming: Incoming,
}

impl Connection {
    /// Connects; each later read or write takes at most `timeout`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(addr: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            stream,
            incoming: Incoming::default(),
        })
    }

    /// Sends bytes, a whole request or a part of one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// Those of the system; `UnexpectedEof` when the connection is closed before the answer is whole, `InvalidData` for
    /// what is no HTTP/1.1 answer.
    pub fn receive(&mut self) -> io::Result<Response<'_>> {
        loop {
            if let Some(answer) = self.incoming.take()? {
                return Ok(self.incoming.response(answer));
            }
            match self.stream.read(self.incoming.space()) {
                Ok(count) => self.incoming.advance(count)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Bytes as they come from a server, and the answers in them; does no input itself.
#[derive(Default)]
pub struct Incoming {
    buffer: Vec<u8>,
    /// How much of the buffer has been read into.
    filled: usize,
    /// How much of that belongs to the answer that was taken last.
    taken: usize,
    decoded: Vec<u8>,
}

/// Where the answer that was taken last lies.
#[derive(Debug)]
pub struct Taken {
    status: u16,
    closes: bool,
    /// How long it is; it stands first in the buffer.
    head: usize,
    /// In the buffer; `None` for a body that came in chunks.
    body: Option<Range<usize>>,
}

impl Incoming {
    /// Where to read to; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.filled * 2).max(8192), 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// So many bytes have been read.
    ///
    /// # Errors
    /// `UnexpectedEof` for none, `InvalidData` when an answer is too large.
    pub fn advance(&mut self, count: usize) -> io::Result<()> {
        self.filled += count;
        match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if self.filled > LARGEST => Err(invalid("an answer of this size")),
            _ => Ok(()),
        }
    }

    /// The next answer, if all of it is there. It takes the place of the one before.
    ///
    /// # Errors
    /// `InvalidData` for what is no HTTP/1.1 answer.
    pub fn take(&mut self) -> io::Result<Option<Taken>> {
        let answered = std::mem::take(&mut self.taken);
        self.drop_first(answered);
        loop {
            let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") else {
                return Ok(None);
            };
            let length = end + 4;
            let head = parse_head(&self.buffer[..length]).ok_or_else(|| invalid("the head of an answer"))?;
            let Head {
                status,
                framing,
                closes,
            } = head;
            if status / 100 == 1 {
                // An answer that comes before the final one.
                self.drop_first(length);
                continue;
            }
            return match framing {
                Framing::Length(body) if self.filled < length + body => Ok(None),
                Framing::Length(body) => {
                    self.taken = length + body;
                    Ok(Some(Taken {
                        status,
                        closes,
                        head: length,
                        body: Some(length..length + body),
                    }))
                }
                Framing::Chunked => Ok(self.take_chunks(length)?.then_some(Taken {
                    status,
                    closes,
                    head: length,
                    body: None,
                })),
            };
        }
    }

    /// The answer that was taken last.
    pub fn response(&self, taken: Taken) -> Response<'_> {
        let body = match taken.body {
            Some(range) => &self.buffer[range],
            None => &self.decoded,
        };
        Response {
            status: taken.status,
            body,
            closes: taken.closes,
            head: &self.buffer[..taken.head],
        }
    }

    fn drop_first(&mut self, count: usize) {
        if count > 0 {
            self.buffer.copy_within(count..self.filled, 0);
            self.filled -= count;
        }
    }

    /// Decodes the chunks from `at` on; `false` when they are not all there yet.
    fn take_chunks(&mut self, mut at: usize) -> io::Result<bool> {
        self.decoded.clear();
        loop {
            let Some(end) = find(&self.buffer[at..self.filled], b"\r\n") else {
                return Ok(false);
            };
            let size = chunk_size(&self.buffer[at..at + end]).ok_or_else(|| invalid("a chunk"))?;
            let begin = at + end + 2;
            at = begin + size + 2;
            if self.filled < at {
                return Ok(false);
            }
            self.decoded.extend_from_slice(&self.buffer[begin..begin + size]);
            if size == 0 {
                self.taken = at;
                return Ok(true);
            }
        }
    }
}

struct Head {
    status: u16,
    framing: Framing,
    closes: bool,
}

enum Framing {
    Length(usize),
    Chunked,
}

fn parse_head(head: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut parsed = Head {
        status,
        framing: Framing::Length(0),
        closes: false,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            parsed.framing = Framing::Length(value.parse().ok().filter(|length| *length <= LARGEST)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return None;
            }
            parsed.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            parsed.closes = value.eq_ignore_ascii_case("close");
        }
    }
    Some(parsed)
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    usize::from_str_radix(text.split(';').next()?.trim(), 16)
        .ok()
        .filter(|size| *size <= LARGEST)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be read"))
}

/// An id as a segment of a path or a value of a query: everything but unreserved characters is percent-encoded.
pub fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = group.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let shift = 18 - 6 * digit;
            let letter = if digit > group.len() {
                b'='
            } else {
                ALPHABET[(value >> shift) as usize & 63]
            };
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that sends these pieces, then closes.
    fn served(pieces: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::yield_now();
            }
        });
        Connection::open(addr, Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let mut connection = served(&[
            "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Le",
            "ngth: 5\r\nConnection: close\r\n\r\nhel",
            "lo",
        ]);
        let first = connection.receive().unwrap();
        assert_eq!((first.status, first.body, first.closes), (202, &b"{}"[..], false));
        assert_eq!(first.header("Content-Length"), Some("2"));
        let second = connection.receive().unwrap();
        assert_eq!((second.status, second.body, second.closes), (200, &b"hello"[..], true));
        assert_eq!(
            (second.header("connection"), second.header("etag")),
            (Some("close"), None)
        );
        assert_eq!(connection.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn chunks_are_put_together() {
        let mut connection = served(&[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab",
            "cd\r\n1;x=y\r\ne\r\n0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n",
        ]);
        assert_eq!(connection.receive().unwrap().body, b"abcde");
        assert_eq!(connection.receive().unwrap().status, 410);
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        let mut connection = served(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"]);
        assert_eq!(connection.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut connection = served(&["nonsense\r\n\r\n"]);
        assert_eq!(connection.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_request_has_its_credentials_and_its_length() {
        let target = Target::new("127.0.0.1:80".parse().unwrap(), "user", "password");
        let mut request = Vec::new();
        target.request(&mut request, "PUT", "/v2/x", Some(b"{}"));
        let text = String::from_utf8(request).unwrap();
        assert!(
            text.starts_with("PUT /v2/x HTTP/1.1\r\n") && text.ends_with("Content-Length: 2\r\n\r\n{}"),
            "{text}"
        );
        assert!(text.contains("Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n"), "{text}");
        let mut request = Vec::new();
        target.request_with(&mut request, "GET", "/v2/x", "If-None-Match: \"t\"\r\n", None);
        assert!(request.ends_with(b"\r\nIf-None-Match: \"t\"\r\n\r\n"));
    }

    #[test]
    fn ids_are_escaped_whole() {
        assert_eq!(escape("a/b:c%d~ä"), "a%2Fb%3Ac%25d~%C3%A4");
    }

    #[test]
    fn base64_pads() {
        assert_eq!([base64(b"f"), base64(b"fo"), base64(b"foo")], ["Zg==", "Zm8=", "Zm9v"]);
    }
}
