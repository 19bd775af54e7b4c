//! What surrounds every request of the API, in the order in which it runs: request id,
//! a free slot, the caller, time limit, panics, the written-out problem, number, log line.
//!
//! Reads below `/tuf/` do not pass here: they must cost as little as possible.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bulla_keys_schema::wire::{ProblemCode, REQUEST_ID};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tower_http::timeout::TimeoutBody;
use tracing::Instrument as _;

use super::lingering::linger;
use super::problem::ApiError;
use crate::app::App;
use crate::auth::Caller;
use crate::metrics::RouteClass;

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static(REQUEST_ID);
/// Longest request id taken over from a caller.
const LONGEST_ID: usize = 64;

/// What only the log learns about an answer, as an extension of it.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) String);

/// Wraps a request of the API.
pub(crate) async fn surround(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let class =
        if request.uri().path().ends_with("/publish") { RouteClass::Publish } else { RouteClass::Api };
    around(&app, class, request, ApiError::write, |mut request| async {
        match app.access.identify(request.headers().get(header::AUTHORIZATION)) {
            Ok(caller) => {
                note(&caller);
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(error) => ApiError::from(error).into_response(),
        }
    })
    .await
}

/// Does `work` with everything around it. What goes wrong here `write` puts into words.
pub(super) async fn around<W: Future<Output = Response>>(
    app: &App,
    class: RouteClass,
    request: Request,
    write: fn(ApiError, &str) -> Response,
    work: impl FnOnce(Request) -> W,
) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    // Bytes beyond ASCII may stand in a URL, and some of them drive a terminal.
    let path = request.uri().path().escape_default().to_string();
    let span = tracing::info_span!("request", request_id = %id, caller = tracing::field::Empty);
    let response = handle(app, prepare(request, app), work).instrument(span.clone()).await;
    let (mut response, cause) = finish(response, &id, write);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let status = response.status();
    app.metrics.request(class, &method, status);
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let cause = cause.as_deref();
    let _in = span.enter();
    if status.is_server_error() {
        tracing::error!(%method, path, status = status.as_u16(), milliseconds, cause, "answered");
    } else {
        tracing::info!(%method, path, status = status.as_u16(), milliseconds, "answered");
    }
    response
}

/// The fallback of the API.
pub(crate) async fn no_route() -> Response {
    ApiError::no_route().into_response()
}

/// The fallback for methods that a URL does not know.
pub(crate) async fn no_method() -> Response {
    ApiError::method_not_allowed().into_response()
}

async fn handle<W: Future<Output = Response>>(
    app: &App,
    request: Request,
    work: impl FnOnce(Request) -> W,
) -> Response {
    let Ok(_slot) = Arc::clone(&app.slots).try_acquire_owned() else {
        return ApiError::busy().into_response();
    };
    let limit = app.limits.request_time;
    let work = AssertUnwindSafe(work(request)).catch_unwind();
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            app.metrics.panics.inc();
            ApiError::internal(&format!("panic: {}", message(&*panic))).into_response()
        }
        Err(_) => ApiError::new(
            ProblemCode::RequestTimeout,
            format!("the request took longer than {}", humantime::format_duration(limit)),
        )
        .into_response(),
    }
}

/// A body that pauses for too long is an error for whoever reads it; one that nobody reads is taken all the same.
fn prepare(request: Request, app: &App) -> Request {
    let idle = app.limits.body_idle;
    linger(request, app.limits.total_body_bytes, &app.lingering, |body| {
        Body::new(TimeoutBody::new(idle, body))
    })
}

/// Writes the name of `caller` into the log lines of the request.
pub(super) fn note(caller: &Caller) {
    tracing::Span::current().record("caller", caller.name());
}

/// Writes out a problem; returns what is for the log only.
fn finish(
    mut response: Response,
    id: &str,
    write: fn(ApiError, &str) -> Response,
) -> (Response, Option<String>) {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = write(error, id);
    }
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        // The rest of the body may never come.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let cause = response.extensions_mut().remove::<Cause>();
    (response, cause.map(|Cause(text)| text))
}

/// The caller's own id if it is harmless in a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(harmless).map_or_else(new_id, str::to_owned)
}

/// Ids join lines of a log, they protect nothing: without random numbers all are alike.
fn new_id() -> String {
    let mut id = [0_u8; 12];
    let _ = getrandom::fill(&mut id);
    hex::encode(id)
}

/// What a panic said.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let id = |value: &str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID_HEADER, HeaderValue::from_str(value).unwrap())]))
        };
        assert_eq!(id("ci-17_a.b"), "ci-17_a.b");
        for bad in ["", "a b", "a\"b", "{}", &"a".repeat(65)] {
            assert_ne!(id(bad), bad);
            assert_eq!(id(bad).len(), 24);
        }
    }
}
