//! The feed of changes of a `bullad`, over either protocol. It is the server's own record: signed
//! by nobody, and so a second opinion on when something was published, never a proof.

use bulla_keys_schema::digest::Hashes;
use bulla_keys_schema::metadata::MetaInfo;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{API, ChangeKind, ChangeList};
use reqwest::{Method, StatusCode};

use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::port::TrustServerError;
use crate::port::trust_server::Noted;

/// Entries asked for at once.
const PAGE: usize = 500;
/// Pages read at most: beyond, the feed is no help in time.
const PAGES: usize = 2_000;

/// The newest document of `role` that the feed has from before `moment`.
///
/// # Errors
/// No answer, or none we understand.
pub(super) async fn noted_before(
    connection: &Connection,
    repository: &RepositoryName,
    role: &RoleName,
    moment: UtcTime,
) -> Result<Noted, TrustServerError> {
    let (mut after, mut found) = (0, Noted::Nothing);
    for _ in 0..PAGES {
        let path = format!("{API}/changes?after={after}&max={PAGE}");
        let response = connection.send(connection.request(Method::GET, &path)).await?;
        // Notary's own server has no such route; and a token may not be good for it.
        if response.status() != StatusCode::OK {
            return Ok(Noted::NoRecord);
        }
        let body = connection.body(response, "the feed of changes", ANSWER_BYTES).await?;
        let list: ChangeList = serde_json::from_slice(&body)
            .map_err(|_| connection.unexpected("its feed of changes is not the expected JSON"))?;
        let ours = list.changes.iter().filter(|change| change.repository == *repository);
        for change in ours.filter(|change| change.at < moment) {
            if change.kind == ChangeKind::Removed {
                found = Noted::Nothing;
            }
            if let Some(document) = change.documents.iter().find(|document| document.role == *role) {
                let hashes = Some(Hashes::sha256(document.sha256));
                found = Noted::Document(MetaInfo { version: Some(document.version), length: None, hashes });
            }
        }
        if list.next <= after {
            return Ok(found);
        }
        after = list.next;
    }
    Ok(Noted::NoRecord)
}
