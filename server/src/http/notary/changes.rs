//! The feed of changes as Notary v1 has it: one entry for each publication and removal.
//!
//! `change_id` and `records` say from where and how many. Both may be negative: a negative
//! number of records means those before `change_id`, a negative `change_id` the newest. The
//! answer is always in the order of time.

use std::collections::VecDeque;

use axum::extract::Query;
use axum::response::Response;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use http::Uri;
use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};
use super::text;
use crate::app::App;
use crate::auth::Caller;
use crate::store::{Change, ChangeKind, Position, StoreError, TrustStore};

/// Entries of an answer if the caller wants none in particular.
const USUAL: usize = 100;
/// Most entries of an answer, and entries read at once.
const PAGE: usize = 1000;

/// Which part of the feed is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    /// The first ones after a position.
    After(Position, usize),
    /// The last ones before a position, or of all.
    Before(Option<Position>, usize),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    records: String,
    change_id: String,
}

#[derive(Serialize)]
struct Feed {
    count: usize,
    records: Vec<Record>,
}

/// Members are capitalised as Go does it.
#[derive(Serialize)]
struct Record {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "CreatedAt")]
    created_at: String,
    #[serde(rename = "GUN")]
    gun: String,
    #[serde(rename = "Version")]
    version: u64,
    #[serde(rename = "SHA256")]
    sha256: String,
    #[serde(rename = "Category")]
    category: &'static str,
}

/// What somebody may see of the feed.
struct View<'a> {
    store: &'a dyn TrustStore,
    repository: Option<&'a RepositoryName>,
    caller: Option<&'a Caller>,
}

/// Answers for one repository, or for all that `caller` may see.
pub(super) async fn get(
    app: &App,
    repository: Option<&RepositoryName>,
    caller: Option<&Caller>,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let view = View { store: &*app.store, repository, caller };
    let span = read(uri)?;
    // The store has no feed for each repository: in the worst case all of it is read.
    let _search = app
        .searches
        .try_acquire()
        .map_err(|_| Refusal::failed(Code::Unavailable, &"too many searches through the feed of changes"))?;
    let found = match span {
        Span::After(position, most) => view.after(position, most).await?,
        Span::Before(position, most) => view.before(position, most).await?,
    };
    let records: Vec<Record> = found.iter().map(write).collect();
    let body = serde_json::to_vec(&Feed { count: records.len(), records });
    Ok(text(body.map_err(|error| Refusal::failed(Code::Unknown, &error))?))
}

fn read(uri: &Uri) -> Result<Span, Refusal> {
    let Query(Parameters { records, change_id }) =
        Query::try_from_uri(uri).map_err(|error| bad(&error.body_text()))?;
    let number = |name: &str, text: &str| {
        text.parse::<i64>().map_err(|_| bad(&format!("{name} has to be a whole number, not {text:?}")))
    };
    let records = number("records", &records)?;
    let id = if change_id.is_empty() { 0 } else { number("change_id", &change_id)? };
    let most = match usize::try_from(records.unsigned_abs()).unwrap_or(PAGE) {
        0 => USUAL,
        wanted => wanted.min(PAGE),
    };
    Ok(match u64::try_from(id) {
        Err(_) => Span::Before(None, most),
        Ok(id) if records < 0 => Span::Before(Some(Position(id)), most),
        Ok(id) => Span::After(Position(id), most),
    })
}

impl View<'_> {
    async fn after(&self, mut position: Position, most: usize) -> Result<Vec<Change>, StoreError> {
        let mut found = Vec::new();
        loop {
            let page = self.store.changes(position, PAGE).await?;
            let Some(last) = page.last().map(|change| change.position) else { return Ok(found) };
            for change in page {
                if self.shows(&change).await? {
                    found.push(change);
                    if found.len() >= most {
                        return Ok(found);
                    }
                }
            }
            position = last;
        }
    }

    /// The store reads forwards only: looks into ever longer parts that end at the wanted place.
    async fn before(&self, end: Option<Position>, most: usize) -> Result<Vec<Change>, StoreError> {
        let end = match end {
            Some(Position(end)) => end,
            None => self.newest().await?.saturating_add(1),
        };
        let mut width = 1024_u64;
        loop {
            let start = end.saturating_sub(width);
            let found = self.between(start, end, most).await?;
            if start == 0 || found.len() >= most {
                return Ok(found.into());
            }
            width = width.saturating_mul(4);
        }
    }

    /// The last entries after `start` and before `end`.
    async fn between(&self, start: u64, end: u64, most: usize) -> Result<VecDeque<Change>, StoreError> {
        let mut found = VecDeque::new();
        let mut position = Position(start);
        loop {
            let page = self.store.changes(position, PAGE).await?;
            let Some(last) = page.last().map(|change| change.position) else { return Ok(found) };
            for change in page.into_iter().filter(|change| change.position.0 < end) {
                if self.shows(&change).await? {
                    found.push_back(change);
                    if found.len() > most {
                        found.pop_front();
                    }
                }
            }
            if last.0 >= end {
                return Ok(found);
            }
            position = last;
        }
    }

    /// The position of the newest entry, by halving.
    async fn newest(&self) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, u64::MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.store.changes(Position(middle), 1).await?.first() {
                Some(change) => low = change.position.0,
                None => high = middle,
            }
        }
        Ok(low)
    }

    /// Whether the entry is for whoever asks. Of a repository that is gone nobody knows any
    /// more which clients it was for.
    async fn shows(&self, change: &Change) -> Result<bool, StoreError> {
        let wanted = match self.repository {
            Some(wanted) => change.repository == *wanted,
            None => self.caller.is_none_or(|caller| caller.may_list(&change.repository)),
        };
        if !wanted {
            return Ok(false);
        }
        let head = self.store.head(&change.repository).await?;
        Ok(head.is_none_or(|head| head.dialect == Dialect::Notary1))
    }
}

/// A publication is described by its timestamp, as everything hangs on that.
fn write(change: &Change) -> Record {
    let timestamp = change.documents.iter().find(|(role, _, _)| *role == RoleName::Timestamp);
    Record {
        id: change.position.0.to_string(),
        created_at: change.at.to_string(),
        gun: change.repository.to_string(),
        version: timestamp.map_or(0, |(_, version, _)| version.get()),
        sha256: timestamp.map(|(_, _, digest)| digest.to_string()).unwrap_or_default(),
        category: match change.kind {
            ChangeKind::Published => "update",
            ChangeKind::Removed => "deletion",
        },
    }
}

fn bad(what: &str) -> Refusal {
    Refusal::with_text(Code::InvalidParameters, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(query: &str) -> Option<Span> {
        read(&format!("/v2/_trust/changefeed{query}").parse().unwrap()).ok()
    }

    #[test]
    fn numbers_may_be_negative() {
        let at = |position| Some(Position(position));
        for (query, expected) in [
            ("?records=5", Span::After(Position(0), 5)),
            ("?records=0&change_id=", Span::After(Position(0), USUAL)),
            ("?change_id=7&records=2", Span::After(Position(7), 2)),
            ("?records=-2&change_id=7", Span::Before(at(7), 2)),
            ("?records=-2", Span::Before(at(0), 2)),
            ("?records=3&change_id=-1", Span::Before(None, 3)),
            ("?records=-3&change_id=-9", Span::Before(None, 3)),
            ("?records=100000", Span::After(Position(0), PAGE)),
            ("?records=-9223372036854775808&change_id=1", Span::Before(at(1), PAGE)),
        ] {
            assert_eq!(span(query), Some(expected), "{query}");
        }
        for bad in ["", "?records=", "?records=x", "?records=1.5", "?change_id=1", "?records=1&change_id=x"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}
