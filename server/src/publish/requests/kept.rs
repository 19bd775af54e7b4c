//! What the server keeps of a signing request: who opened it, and the request itself.

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// A request as it is stored: one line of JSON, then the request's own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The caller who opened it, by the name that stands in the feed. The request itself says
    /// what it likes.
    pub(super) opener: String,
    /// The digest of what he sent, to know it again when he sends it twice.
    pub(super) posted: Sha256Digest,
    /// The request with all signatures so far.
    pub(super) request: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    opener: String,
    posted: String,
}

impl Kept {
    pub(super) fn write(&self) -> Bytes {
        let line = Line { opener: self.opener.clone(), posted: self.posted.to_string() };
        // Two texts always have a JSON form.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.request);
        bytes.into()
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: something else is stored.
    pub(super) fn read(stored: &Bytes) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt { what: "a signing request without its first line".to_owned() };
        let end = stored.iter().position(|byte| *byte == b'\n').ok_or_else(corrupt)?;
        let line: Line =
            serde_json::from_slice(stored.get(..end).unwrap_or_default()).map_err(|_| corrupt())?;
        let posted = line.posted.parse().map_err(|_| corrupt())?;
        Ok(Self { opener: line.opener, posted, request: stored.slice(end.saturating_add(1)..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back() {
        for (opener, request) in [("ci", "{}\n"), ("registry:a\"b\n\u{f6}", ""), ("", "\n\n{\"opener\":1}")] {
            let request = Bytes::from_static(request.as_bytes());
            let kept = Kept { opener: opener.to_owned(), posted: Sha256Digest::of(b"x"), request };
            assert_eq!(Kept::read(&kept.write()).ok(), Some(kept));
        }
        for bad in ["", "{}", "{}\n{}", "{\"opener\":\"a\",\"posted\":\"\"}\n"] {
            assert!(Kept::read(&Bytes::from_static(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
