//! Answers about signing requests. The requests themselves are those of
//! the room `request`, byte for byte.

use serde::{Deserialize, Serialize};

use super::{Receipt, text, texts};
use crate::names::RoleName;
use crate::time::UtcTime;

/// Answer of `GET /api/v1/repositories/{repository}/requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestList {
    /// Open requests that can still be completed, by id.
    pub requests: Vec<RequestSummary>,
}

/// An open signing request, without what is to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// Its id, 32 hex digits.
    pub id: String,
    /// Why, in the words of whoever made it.
    pub reason: String,
    /// Who made it, in his own words.
    pub created_by: String,
    /// The access token with which it was opened.
    pub opened_by: String,
    /// When it was made.
    #[serde(with = "text")]
    pub created_at: UtcTime,
    /// When it closes by itself.
    #[serde(with = "text")]
    pub not_after: UtcTime,
    /// The roles that it would change.
    #[serde(with = "texts")]
    pub roles: Vec<RoleName>,
}

/// Answer of `POST .../requests` and of `POST .../requests/{id}/signatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestProgress {
    /// The id of the request.
    pub id: String,
    /// Whether the change is published: by these signatures, or before.
    pub complete: bool,
    /// Signatures that the server had not seen before.
    pub added: usize,
    /// What the publication led to, if it was these signatures that completed the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_what_they_write() {
        let written = r#"{"requests":[{"id":"00112233445566778899aabbccddeeff","reason":"new key","created_by":"alice","opened_by":"ci","created_at":"2030-01-02T03:04:05Z","not_after":"2030-02-02T03:04:05Z","roles":["root","a/b"]}]}"#;
        let list: RequestList = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), written);
        assert!(serde_json::from_str::<RequestList>(&written.replace("a/b", "")).is_err());
    }

    #[test]
    fn progress_names_a_receipt_only_if_there_is_one() {
        let written = r#"{"id":"a","complete":false,"added":2}"#;
        let progress: RequestProgress = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&progress).unwrap(), written);
    }
}
