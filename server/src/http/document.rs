//! A stored document as an answer: its entity tag, how long it may be kept, compressed where
//! that is worth it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bulla_keys_schema::digest::Sha256Digest;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::conditional;
use crate::lookup::{Document, Documents};

const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// The document, or nothing but its tag for a client that has it already.
pub(super) fn write(
    found: &Document,
    headers: &HeaderMap,
    media_type: HeaderValue,
    cache: HeaderValue,
) -> Response {
    known(&found.digest, headers, cache.clone()).unwrap_or_else(|| {
        write_stored(Body::from(found.bytes.clone()), false, &found.digest, media_type, cache)
    })
}

/// As [`write()`], as gzip for a client that takes it.
pub(super) async fn write_packed(
    documents: &Documents,
    found: &Arc<Document>,
    headers: &HeaderMap,
    media_type: HeaderValue,
    cache: HeaderValue,
) -> Response {
    let known = known(&found.digest, headers, cache.clone());
    let packed = if known.is_none() && takes_gzip(headers) { documents.gzip(found).await } else { None };
    let is_gzip = packed.is_some();
    let body = packed.unwrap_or_else(|| found.bytes.clone());
    varied(known.unwrap_or_else(|| write_stored(body.into(), is_gzip, &found.digest, media_type, cache)))
}

/// The answer for a client that has the bytes of this digest already; `None` if it has not.
pub(super) fn known(digest: &Sha256Digest, headers: &HeaderMap, cache: HeaderValue) -> Option<Response> {
    if !headers.contains_key(header::IF_NONE_MATCH) {
        return None;
    }
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

/// Says that the form depends on what the client takes: a cache must know it, also of an answer without body.
pub(super) fn varied(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, ACCEPT_ENCODING);
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
