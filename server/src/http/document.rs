//! A stored document as an answer: its entity tag, how long it may be kept, compressed where
//! that is worth it.

use std::convert::Infallible;
use std::future::ready;
use std::mem::take;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bulla_keys_schema::digest::Sha256Digest;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::predicate::SizeAbove;
use tower_http::compression::{Compression, CompressionLevel};

use super::conditional;
use crate::lookup::Found;

/// Smaller bodies are not worth compressing.
const COMPRESSED: u64 = 1024;

/// The document, or nothing but its tag for a client that has it already.
pub(super) fn write(
    found: Found,
    headers: &HeaderMap,
    media_type: HeaderValue,
    cache: HeaderValue,
) -> Response {
    if let Some(response) = known(&found.digest, headers, cache.clone()) {
        return response;
    }
    let mut response = Response::new(Body::from(found.bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    tagged(response, conditional::etag(&found.digest), cache)
}

/// The answer for a client that has the bytes of this digest already; `None` if it has not.
pub(super) fn known(digest: &Sha256Digest, headers: &HeaderMap, cache: HeaderValue) -> Option<Response> {
    let etag = conditional::etag(digest).filter(|etag| conditional::is_known(headers, etag))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    Some(tagged(response, Some(etag), cache))
}

/// `body` is the value of this digest in the form in which it is stored: `is_gzip` tells. The tag
/// names the value.
pub(super) fn write_stored(
    body: Body,
    is_gzip: bool,
    digest: &Sha256Digest,
    media_type: HeaderValue,
    cache: HeaderValue,
) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    let mut response = tagged(response, conditional::etag(digest), cache);
    if is_gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        weaken(&mut response);
    }
    response
}

/// Whether the client says that it takes gzip (RFC 9110 12.5.3). One that says nothing gets the
/// bytes as they are: many take what they get for the target.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && parts.all(|part| !is_zero_weight(part))
    })
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    weight.is_some_and(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}

fn tagged(mut response: Response, etag: Option<HeaderValue>, cache: HeaderValue) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Compresses larger bodies for clients that ask for it. The tag then names the content,
/// not these very bytes, and says so by being weak.
pub(super) async fn compress(mut response: Response, request: Request) -> Response {
    // Called once: what it takes the place of is never seen.
    let service = service_fn(move |_: Request| ready(Ok::<_, Infallible>(take(&mut response))));
    let service = Compression::new(service)
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED));
    let Ok(compressed) = service.oneshot(request).await;
    let mut response = compressed.map(Body::new);
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        weaken(&mut response);
    }
    response
}

fn weaken(response: &mut Response) {
    let etag = response.headers().get(header::ETAG);
    let weak = etag.and_then(|etag| HeaderValue::try_from([b"W/", etag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        response.headers_mut().insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate,gzip ; q=1", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("x-gzipped", false),
            ("*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
