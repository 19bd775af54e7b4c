//! Answers of registries, read within bounds.

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::way::Way;
use crate::port::RegistryError;

/// Longest answer that explains a refusal, in bytes; the rest of a longer one is not read.
const EXPLANATION_BYTES: usize = 64 * 1024;
/// Longest explanation that is shown, in characters.
const EXPLANATION: usize = 200;

/// At most `limit` bytes of body, whatever its headers announce.
pub(super) async fn body(
    way: &Way,
    mut response: Response,
    reference: &str,
    limit: usize,
) -> Result<Bytes, RegistryError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| way.unreachable(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(RegistryError::TooLarge { host: way.host(), reference: reference.to_owned(), limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What a status other than success means for something that was asked for.
pub(super) fn not_read(way: &Way, status: StatusCode, reference: &str) -> RegistryError {
    let (host, reference) = (way.host(), reference.to_owned());
    match status {
        StatusCode::NOT_FOUND => RegistryError::Unknown { host, reference },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Unauthorised { host, reference },
        StatusCode::TOO_MANY_REQUESTS => RegistryError::Throttled { host, reference },
        status => RegistryError::Unexpected { host, reference, status: status.as_u16() },
    }
}

/// What it means for something that was to be written.
pub(super) async fn not_written(way: &Way, response: Response, reference: &str) -> RegistryError {
    let status = response.status();
    let (host, named) = (way.host(), reference.to_owned());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => way.denied(reference),
        StatusCode::PRECONDITION_FAILED => RegistryError::Changed { host, reference: named },
        StatusCode::TOO_MANY_REQUESTS => RegistryError::Throttled { host, reference: named },
        status if status.is_client_error() => {
            let reason = explanation(response).await;
            RegistryError::Refused { host, reference: named, status: status.as_u16(), reason }
        }
        status => RegistryError::Unexpected { host, reference: named, status: status.as_u16() },
    }
}

/// The first error that the registry names (distribution spec, "Error Codes"), made printable.
async fn explanation(mut response: Response) -> Option<String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > EXPLANATION_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Value = serde_json::from_slice(&body).ok()?;
    let error = answer.get("errors")?.get(0)?;
    let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let words: Vec<&str> = ["code", "message"].into_iter().filter_map(text).collect();
    let words: String = words.join(", ").chars().take(EXPLANATION).collect();
    Some(words.escape_debug().to_string()).filter(|words| !words.is_empty())
}

/// A header that holds text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Where the next page is (RFC 8288): `<...>; rel="next"`.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|link| link.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let value = parameter.trim().strip_prefix("rel=");
            value.is_some_and(|value| value.trim_matches('"').eq_ignore_ascii_case("next"))
        });
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            next_page(&headers)
        };
        let path = Some("/v2/a/tags/list?n=2&last=b".to_owned());
        assert_eq!(next(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#), path);
        assert_eq!(next(r#"<x>; rel=prev, </v2/a/tags/list?n=2&last=b>; title=t; rel=next"#), path);
        for none in ["", "</x>", r#"</x>; rel="prev""#, r#"/x; rel="next""#, r#"</x; rel="next""#] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
