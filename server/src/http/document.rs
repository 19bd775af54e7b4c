//! A stored document as an answer: its entity tag, how long it may be kept, compressed where
//! that is worth it.

use std::convert::Infallible;
use std::future::ready;
use std::mem::take;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
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
    let etag = conditional::etag(&found.digest);
    let known = etag.as_ref().is_some_and(|etag| conditional::is_known(headers, etag));
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(found.bytes));
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    };
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
        let weak = response
            .headers()
            .get(header::ETAG)
            .and_then(|etag| HeaderValue::try_from([b"W/", etag.as_bytes()].concat()).ok());
        if let Some(weak) = weak {
            response.headers_mut().insert(header::ETAG, weak);
        }
    }
    response
}
