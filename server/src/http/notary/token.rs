//! Tokens, for clients that send a password nowhere else.
//!
//! `notary` reads with nothing but what a token server gave it, and gives up at a server that
//! wants a password. So there is one here: whoever presents one of our own tokens as a password
//! gets the same token back. Nothing is made, kept or granted; what a token may is decided
//! where it is used.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::refusal::{Code, Refusal};
use super::{empty, text};
use crate::app::App;
use crate::auth::{AuthError, BASIC_CHALLENGE, Host};
use crate::http::middleware;
use crate::metrics::RouteClass;

/// Seconds until a client asks again, the least that Docker's clients know. The token itself
/// may end sooner or later.
const EXPIRES_IN: u32 = 60;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// As Docker's token servers answer.
#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    expires_in: u32,
}

/// Any request to [`crate::auth::TOKEN_PATH`]. Which scopes are asked for does not matter.
pub(crate) async fn token(State(app): State<Arc<App>>, request: Request) -> Response {
    let work = async |request: Request| answer(&app, &request).unwrap_or_else(Refusal::write);
    middleware::around(&app, RouteClass::NotaryApi, request, Refusal::write_problem, work).await
}

/// The name under which the sender of `request` knows this server. `None` if it is missing or
/// malformed, or if there are two that differ: others on the way may have read the other one.
pub(super) fn host(request: &Request) -> Option<Host<'_>> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let (header, none) = (headers.next().map(HeaderValue::to_str), headers.next());
    // Of HTTP/2, and of HTTP/1.1 as proxies are spoken to.
    let authority = request.uri().authority().map(Authority::as_str);
    match (authority, header, none) {
        (Some(host), None, None) | (None, Some(Ok(host)), None) => Host::read(host),
        (Some(host), Some(Ok(header)), None) if host.eq_ignore_ascii_case(header) => Host::read(host),
        _ => None,
    }
}

fn answer(app: &App, request: &Request) -> Result<Response, Refusal> {
    if request.method() != Method::GET {
        let mut response = empty();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return Ok(response);
    }
    let issued = app.access.issue(request.headers().get(header::AUTHORIZATION));
    let issued = match issued.ok_or_else(|| Refusal::new(Code::MetadataNotFound))? {
        Ok(issued) => issued,
        Err(error @ AuthError::Unreadable) => return Err(Refusal::failed(Code::Unavailable, &error)),
        Err(_) => return Ok(wrong_password()),
    };
    if let Some(caller) = &issued.caller {
        middleware::note(caller);
    }
    let answer = Answer { token: &issued.token, expires_in: EXPIRES_IN };
    let body = serde_json::to_vec(&answer).map_err(|error| Refusal::failed(Code::Unknown, &error))?;
    let mut response = text(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    Ok(response)
}

fn wrong_password() -> Response {
    let text = "the password must be a token that `bullad token create` made and that has not expired";
    let mut response = Refusal::with_text(Code::Unauthorized, text).write();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, BASIC_CHALLENGE);
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_host_is_taken_only_if_there_is_no_doubt_about_it() {
        let found = |uri: &str, values: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for value in values {
                request = request.header(header::HOST, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            host(&request.body(Body::empty()).unwrap()).map(|host| format!("{host:?}"))
        };
        let known = Some("Host(\"a.example:4443\")".to_owned());
        assert_eq!(found("/v2/", &["a.example:4443"]), known);
        assert_eq!(found("https://a.example:4443/v2/", &[]), known);
        assert_eq!(found("https://a.example:4443/v2/", &["A.example:4443"]), known);
        for (uri, values) in [
            ("/v2/", &[][..]),
            ("/v2/", &[""]),
            ("/v2/", &["a.example:4443", "a.example:4443"]),
            ("/v2/", &["a.example:4443", "b.example"]),
            ("/v2/", &["b\u{fc}cher.example"]),
            ("/v2/", &["a.example, b.example"]),
            ("https://a.example:4443/v2/", &["b.example"]),
            ("https://a.example:4443/v2/", &["a.example"]),
            ("https://a.example:4443/v2/", &["a.example:4443", "b.example"]),
            ("https://user@a.example:4443/v2/", &[]),
            ("https://user@a.example:4443/v2/", &["user@a.example:4443"]),
        ] {
            assert_eq!(found(uri, values), None, "{uri} {values:?}");
        }
    }
}
