//! Entity tags: what a client has already need not be sent again (RFC 9110 13).

use bulla_keys_schema::digest::Sha256Digest;
use http::{HeaderMap, HeaderValue, header};

/// The entity tag of bytes with this digest.
pub(super) fn etag(digest: &Sha256Digest) -> Option<HeaderValue> {
    let mut text = *b"\"0000000000000000000000000000000000000000000000000000000000000000\"";
    let (_, rest) = text.split_at_mut(1);
    let (digits, _) = rest.split_at_mut(64);
    hex::encode_to_slice(digest.as_bytes(), digits).ok()?;
    HeaderValue::from_bytes(&text).ok()
}

/// Whether the client says that it has what `etag` names.
pub(super) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value == etag || value.to_str().is_ok_and(|list| etag.to_str().is_ok_and(|etag| lists(list, etag)))
    })
}

/// `If-None-Match` compares weakly: `W/` makes no difference.
fn lists(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_compare_weakly_and_in_lists() {
        let tag = etag(&Sha256Digest::of(b"x")).unwrap();
        let text = tag.to_str().unwrap();
        assert_eq!(text, format!("\"{}\"", Sha256Digest::of(b"x")));
        for (header, known) in [
            (text.to_owned(), true),
            (format!("W/{text}"), true),
            (format!("\"a\" , {text}"), true),
            ("*".to_owned(), true),
            ("\"a\"".to_owned(), false),
            (text.trim_matches('"').to_owned(), false),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, header.parse().unwrap())]);
            assert_eq!(is_known(&headers, &tag), known, "{header}");
        }
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}
