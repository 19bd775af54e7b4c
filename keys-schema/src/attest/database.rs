//! The file beside a scanner's database that says of when it is.

use super::node::Node;
use super::{InvalidReport, tree};
use crate::time::UtcTime;

/// When the database of Trivy was made, by its `metadata.json`. The moment at which it was downloaded
/// says nothing.
///
/// # Errors
/// Not JSON as strictly as it is read here, or without that moment.
pub fn database_made_at(bytes: &[u8]) -> Result<UtcTime, InvalidReport> {
    let value = tree::parse(bytes)?;
    let metadata = Node::root(&value);
    let made = metadata.find_time(&["UpdatedAt"])?;
    match made {
        Some(made) => Ok(made),
        None => Err(metadata.member("UpdatedAt")?.is_not("a date and time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_making_counts() {
        let text = br#"{"Version":2,"NextUpdate":"2030-01-03T00:00:00Z","UpdatedAt":"2030-01-02T03:04:05.123456789Z","DownloadedAt":"2031-01-01T00:00:00Z"}"#;
        assert_eq!(database_made_at(text).unwrap().to_string(), "2030-01-02T03:04:05Z");
        for none in [
            "{}",
            "[]",
            "",
            r#"{"UpdatedAt":null}"#,
            r#"{"UpdatedAt":"0001-01-01T00:00:00Z"}"#,
            r#"{"UpdatedAt":"soon"}"#,
            r#"{"DownloadedAt":"2030-01-02T03:04:05Z"}"#,
        ] {
            assert!(database_made_at(none.as_bytes()).is_err(), "{none}");
        }
    }
}
