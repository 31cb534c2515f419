//! Requests and answers as texts: a line `METHOD TARGET` or a status, lines `NAME: VALUE`, an empty line, the body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;

/// Before a request that gets none of the usual headers.
const BARE: u8 = b'!';

/// Reads a request; `None` for what no HTTP library would pass on. The usual headers are added where it does not have
/// them, unless it starts with an exclamation mark.
pub(crate) fn request(text: &[u8], usual: &[(HeaderName, HeaderValue)]) -> Option<Request<Full<Bytes>>> {
    let (text, usual) = match text.split_first() {
        Some((&BARE, rest)) => (rest, &[][..]),
        _ => (text, usual),
    };
    let (first, found, body) = parts(text)?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
    *request.method_mut() = Method::from_bytes(&first[..space]).ok()?;
    *request.uri_mut() = Uri::try_from(&first[space + 1..]).ok()?;
    // A request line has a path; `*` and an authority alone are of other methods.
    if !request.uri().path().starts_with('/') {
        return None;
    }
    let headers = request.headers_mut();
    *headers = found;
    for (name, value) in usual {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    Some(request)
}

/// Reads an answer; `None` for what no HTTP library would pass on.
pub(crate) fn response(text: &[u8]) -> Option<Response<Bytes>> {
    let (first, headers, body) = parts(text)?;
    let mut response = Response::new(Bytes::copy_from_slice(body));
    *response.status_mut() = StatusCode::from_bytes(first).ok()?;
    *response.headers_mut() = headers;
    Some(response)
}

/// The first line, the headers, and the body.
fn parts(text: &[u8]) -> Option<(&[u8], HeaderMap, &[u8])> {
    let (head, body) = match text.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&text[..at], &text[at + 2..]),
        None => (text, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some((first, headers, body))
}
