//! Hostile uploads: what a server refuses, each beside the same upload without the defect, which
//! it accepts, stores, and shows to a client.

use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::verify::submission::Submission;
use bytes::Bytes;

use crate::client::Client;
use crate::papers::{Holder, Papers};
use crate::server::Server;

/// What is uploaded, and where.
pub struct Upload {
    pub server: Server,
    pub submission: Submission,
}

pub struct Row {
    pub name: &'static str,
    pub error: &'static str,
    pub build: fn(spoil: bool) -> Upload,
}

/// Everything of a new repository.
pub fn first(papers: &Papers) -> Upload {
    Upload { server: Server::empty(), submission: papers.first() }
}

/// What `edit` changes in a repository of [`Papers::new`]; a client's snapshot goes along.
pub fn next(holder: Holder, edit: impl FnOnce(&mut Papers)) -> Upload {
    let before = Papers::new(holder);
    let mut after = before.clone();
    after.next_snapshot();
    edit(&mut after);
    between(&before, &after)
}

pub fn between(before: &Papers, after: &Papers) -> Upload {
    Upload { server: Server::with(before), submission: after.since(Some(before)) }
}

/// The same with these bytes of `targets/alice` instead.
pub fn with_alice(mut upload: Upload, bytes: impl Into<Bytes>) -> Upload {
    let alice = crate::papers::name("targets/alice");
    assert!(upload.submission.delegated.insert(alice, bytes.into().into()).is_some());
    upload
}

/// Version `spoiled` or `good`.
pub fn version(spoil: bool, spoiled: u64, good: u64) -> Json {
    Json::Integer(i64::try_from(if spoil { spoiled } else { good }).unwrap())
}

pub const LAST_VERSION: u64 = limits::WRITTEN_VERSION;

/// Refused for its defect, and nothing of it stays; accepted without it.
pub fn try_all(rows: &[&[Row]]) {
    let mut wrong = Vec::new();
    for row in rows.iter().copied().flatten() {
        let spoiled = (row.build)(true);
        match spoiled.server.check(spoiled.submission) {
            Err(rejection) if rejection.to_string() == row.error => {}
            result => {
                let result = result.map(drop).map_err(|error| error.to_string());
                wrong.push(format!("{}: {result:?}", row.name));
            }
        }
        let Upload { mut server, submission } = (row.build)(false);
        let result = server.publish(submission).map_err(|error| error.to_string());
        let result = result.and_then(|()| Client::new(&server.served).follow(&server.served).map(drop));
        if let Err(error) = result {
            wrong.push(format!("{} without the defect: {error}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
