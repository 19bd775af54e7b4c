//! What a signer signed since a moment, for example since its key was stolen.
//!
//! Two sources, and neither is beyond doubt. The signer's document says of each entry when it was
//! signed, in the signer's own word: a thief may have dated it back. The server noted when it took
//! which document: nobody signs that record. Where there is a record, an entry is from before only
//! if the document of that time listed it with the same digest; else the signer's word counts, and
//! an entry without a date is new.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{TargetInfo, Targets};
use bulla_keys_schema::names::{DelegatedRoleName, RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::RawMetadata;
use bytes::Bytes;

use crate::flow::layout::Signers;
use crate::flow::publish::PublishError;
use crate::flow::refresh::Session;
use crate::flow::sign::authority;
use crate::flow::{Ports, current};
use crate::port::trust_server::{Edition, Noted};

/// What tells when entries were signed.
#[derive(Clone, Debug)]
pub struct LookBack {
    /// Since when is asked; `None` asks for everything.
    pub since: Option<UtcTime>,
    /// Where the answer is from.
    pub source: Source,
    before: Option<Targets>,
}

/// Where an answer is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// No moment was named: everything counts.
    Everything,
    /// The server's feed of changes, and the document of that time.
    ServerRecord,
    /// The dates that the signer put on its entries.
    SignersWord,
}

/// One entry of a signer.
#[derive(Clone, Debug)]
pub struct SignedEntry {
    /// The tag.
    pub tag: String,
    /// What it means.
    pub digest: Option<Sha256Digest>,
    /// When it was signed, in the signer's word.
    pub signed_at: Option<UtcTime>,
}

/// Gets ready to judge the entries of `signer`.
///
/// # Errors
/// The repository cannot be read, or the server gives no clear answer.
pub async fn look_back(
    ports: Ports<'_>,
    repository: &RepositoryName,
    signer: &DelegatedRoleName,
    since: Option<UtcTime>,
) -> Result<LookBack, PublishError> {
    let Some(moment) = since else {
        return Ok(LookBack { since, source: Source::Everything, before: None });
    };
    let role = RoleName::Delegated(signer.clone());
    let info = match ports.server.noted_before(repository, &role, moment).await? {
        Noted::NoRecord => return Ok(LookBack { since, source: Source::SignersWord, before: None }),
        Noted::Nothing => return Ok(LookBack { since, source: Source::ServerRecord, before: None }),
        Noted::Document(info) => info,
    };
    let found = ports.server.metadata(repository, &role, Edition::Listed(&info)).await?;
    let is_noted = |bytes: &Bytes| info.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(bytes));
    let before = match found.filter(is_noted) {
        Some(bytes) => signed_by(ports, repository, signer, bytes).await?,
        None => None,
    };
    Ok(LookBack { since, source: Source::ServerRecord, before })
}

/// The document, if the signer's keys signed it: whatever else the server hands over is none.
async fn signed_by(
    ports: Ports<'_>,
    repository: &RepositoryName,
    signer: &DelegatedRoleName,
    bytes: Bytes,
) -> Result<Option<Targets>, PublishError> {
    let session = Session::open(ports, repository).await?;
    let state = current::load(&session).await?;
    let targets = state.targets().payload();
    let Some((signers, role)) = Signers::of(targets).zip(targets.delegation(signer)) else {
        return Ok(None);
    };
    let authority = authority(&signers, role);
    let name = RoleName::Delegated(signer.clone());
    let document = RawMetadata::<Targets>::new(state.root().dialect(), bytes).verify_as(
        &name,
        state.root().payload(),
        &authority.keys,
        &authority.table,
    );
    Ok(document.ok().map(|document| document.payload().clone()))
}

impl LookBack {
    /// Whether the entry `name` of `document` was signed since the moment, or may have been.
    #[must_use]
    pub fn is_new(&self, document: &Targets, name: &str) -> bool {
        let Some(info) = document.targets.get(name) else { return true };
        match (self.source, self.since) {
            (Source::ServerRecord, _) => {
                let before = self.before.as_ref().and_then(|before| before.targets.get(name));
                !before.is_some_and(|before| before.is_same(info))
            }
            (Source::SignersWord, Some(since)) => info.signed_at().is_none_or(|at| at >= since),
            (Source::SignersWord | Source::Everything, _) => true,
        }
    }

    /// Every entry of `document` since the moment.
    #[must_use]
    pub fn entries(&self, document: &Targets) -> Vec<SignedEntry> {
        let listed = document.targets.iter().filter(|(name, _)| self.is_new(document, name));
        let entry = |(name, info): (&String, &TargetInfo)| SignedEntry {
            tag: name.clone(),
            digest: info.hashes.as_sha256(),
            signed_at: info.signed_at(),
        };
        listed.map(entry).collect()
    }
}
