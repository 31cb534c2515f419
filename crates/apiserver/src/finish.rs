//! The last step of an answer: indentation for people, compression of what is long.

use apimachinery::json;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use std::io::Write as _;

use crate::body::Body;
use crate::query::Query;

/// What is shorter goes as it is: a client gains less by receiving less than it loses by unpacking it.
const COMPRESSED_FROM: usize = 128 * 1024;
/// So much is compressed at once, so that other requests on the same thread do not wait for it.
const CHUNK: usize = 64 * 1024;
/// What would become longer is not indented.
const LONGEST_INDENTED: usize = 16 << 20;

/// Gives an answer the form that its request asks for. A stream stays as it is.
pub(crate) fn finish(parts: &Parts, mut response: Response<Body>) -> Response<Body> {
    // Documents of OpenAPI go as they were hashed.
    if is_for_people(parts) && is_json(&response) && !parts.uri.path().starts_with("/openapi/") {
        response = response.map(indented);
    }
    if response.body().len() >= COMPRESSED_FROM && parts.method == Method::GET && takes_gzip(parts) {
        response = compressed(response);
    }
    response
}

/// Whether the request wants indentation: it says so, or comes from a program that people look at.
fn is_for_people(parts: &Parts) -> bool {
    if let Some(query) = parts.uri.query().filter(|query| query.contains("pretty"))
        && let Some(asked) = Query::parse(Some(query))
            .first("pretty")
            .filter(|asked| !asked.is_empty())
    {
        return matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let people = [&b"curl"[..], b"Wget", b"Mozilla/5.0"];
    agent.is_some_and(|agent| people.iter().any(|begin| agent.starts_with(begin)))
}

fn is_json(response: &Response<Body>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/json"))
}

fn indented(body: Body) -> Body {
    body.map_whole(|compact| {
        let mut out = Vec::with_capacity(2 * compact.len());
        if compact.is_empty() || !json::indent(&compact, LONGEST_INDENTED, &mut out) {
            return compact;
        }
        out.push(b'\n');
        Bytes::from(out)
    })
}

fn takes_gzip(parts: &Parts) -> bool {
    let mut encodings = parts.headers.get_all(header::ACCEPT_ENCODING).iter();
    encodings.any(|value| value.to_str().is_ok_and(names_gzip))
}

/// Whether `gzip` is among the encodings, and not with a quality of zero.
fn names_gzip(encodings: &str) -> bool {
    encodings.split(',').any(|encoding| {
        let (name, parameters) = encoding.split_once(';').unwrap_or((encoding, ""));
        let quality = parameters.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim() == "gzip" && !matches!(quality, Some(Ok(0.0)))
    })
}

fn compressed(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let body = body.stream_whole(|rest| {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        futures::stream::unfold(Some((encoder, rest)), |state| async move {
            let (mut encoder, mut rest) = state?;
            loop {
                let chunk = rest.split_to(CHUNK.min(rest.len()));
                if chunk.is_empty() {
                    return Some((Bytes::from(encoder.finish().ok()?), None));
                }
                encoder.write_all(&chunk).ok()?;
                if !encoder.get_ref().is_empty() {
                    let out = Bytes::from(std::mem::take(encoder.get_mut()));
                    return Some((out, Some((encoder, rest))));
                }
            }
        })
    });
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use std::io::Read as _;

    use crate::render;

    fn parts(uri: &str, header: (&str, &str)) -> Parts {
        let request = Request::builder().uri(uri).header(header.0, header.1);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn people_are_recognised_and_may_say_otherwise() {
        for (uri, agent, expected) in [
            ("/", "kubectl/v1.36", false),
            ("/", "curl/8", true),
            ("/?pretty=false", "curl/8", false),
            ("/?pretty=", "curl/8", true),
            ("/?pretty=1", "kubectl", true),
            ("/?prettyplease=1", "kubectl", false),
        ] {
            assert_eq!(
                is_for_people(&parts(uri, ("user-agent", agent))),
                expected,
                "{uri} {agent}"
            );
        }
    }

    #[test]
    fn gzip_is_taken_where_it_is_named() {
        for (encodings, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(names_gzip(encodings), expected, "{encodings}");
        }
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_in_chunks_and_comes_back() {
        let mut text = Vec::new();
        for number in 0..100_000_u64 {
            text.extend_from_slice(format!("{:x},", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).as_bytes());
        }
        let gzip = parts("/", ("accept-encoding", "gzip"));
        let answer = finish(&gzip, render::text(StatusCode::OK, text.clone()));
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() < text.len());
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_ref())
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, text);
        let short = finish(&gzip, render::text(StatusCode::OK, "short"));
        assert!(!short.headers().contains_key("content-encoding"));
    }
}
