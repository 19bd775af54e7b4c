//! Keys and values of the index: small, because everything larger stands in the journal and
//! is only pointed to.
//!
//! A repository is known by the number of the record that made it, so that nothing of a
//! removed one can be found under the same name later.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;

use super::codec::{closed_byte, closed_of};
use super::fields::{Reader, Undecodable, Writer};
use super::frame::Location;
use crate::store::{Closed, LastVersions, OperationId};

/// Head rows: name to [`HeadRow`].
pub(super) const HEAD: u8 = b'h';
/// Feed: seq to [`Location`] of the record.
pub(super) const FEED: u8 = b'f';
/// Documents by role and version.
pub(super) const VERSION: u8 = b'v';
/// Documents by digest.
pub(super) const DOCUMENT: u8 = b'd';
/// Targets by digest.
pub(super) const TARGET: u8 = b't';
/// Operations: id to [`OperationRow`].
pub(super) const OPERATION: u8 = b'o';
/// Sealed online keys: name to [`KeysRow`].
pub(super) const KEYS: u8 = b'k';
/// Removed repositories: name to [`LastVersions`].
pub(super) const LAST: u8 = b'l';
/// Signing requests: name and id to [`RequestRow`].
pub(super) const REQUEST: u8 = b'r';
/// What the index says of itself: one [`StateRow`].
pub(super) const STATE: u8 = b'm';

/// What all keys of one kind and repository begin with: the kind and the repository's number.
pub(super) type Group = [u8; 9];

/// How rows with a key, or with a beginning of one, are asked for while the store is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In order.
    Listed,
    /// One by one; in order only those of one repository, when it is removed.
    Grouped(Group),
    /// One by one.
    Single,
}

impl Place {
    pub(super) fn of(key: &[u8]) -> Self {
        match (key.first(), key.first_chunk()) {
            (Some(&(FEED | KEYS | REQUEST)), _) => Self::Listed,
            (Some(&(VERSION | DOCUMENT | TARGET)), Some(group)) => Self::Grouped(*group),
            _ => Self::Single,
        }
    }
}

/// Where the current state of a repository was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeadRow {
    pub(super) id: u64,
    pub(super) seq: u64,
    pub(super) at: Location,
    /// The operation of the last record if that was a renewal, to forget it with the next.
    pub(super) renewal: Option<OperationId>,
    /// Documents that renewals brought and that are still kept, oldest first.
    pub(super) renewed: Vec<Renewed>,
}

/// A document that a renewal brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewed {
    pub(super) role: RoleName,
    pub(super) version: Version,
    pub(super) digest: Sha256Digest,
}

/// Where some bytes are, and what they must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueRow {
    pub(super) digest: Sha256Digest,
    pub(super) length: u64,
    /// `None` for a file named by the digest.
    pub(super) at: Option<Location>,
}

/// What an operation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OperationRow {
    pub(super) seq: u64,
    pub(super) repository: RepositoryName,
}

/// Where sealed online keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeysRow {
    pub(super) generation: u64,
    pub(super) sealed: ValueRow,
}

/// A signing request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestRow {
    /// The record that made this state.
    pub(super) seq: u64,
    pub(super) state: RequestRowState,
}

/// Whether a signing request still waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestRowState {
    Open { revision: u64, not_after: UtcTime, value: ValueRow },
    Closed { how: Closed, actor: String, at: UtcTime },
}

/// How far the index has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    pub(super) seq: u64,
    /// Rows of the feed, to notice lost ones.
    pub(super) feed: u64,
    pub(super) store_id: String,
}

pub(super) fn named(kind: u8, name: &RepositoryName) -> Vec<u8> {
    joined(kind, &[name.as_str().as_bytes()])
}

pub(super) fn feed(seq: u64) -> Vec<u8> {
    joined(FEED, &[&seq.to_be_bytes()])
}

pub(super) fn operation(operation: OperationId) -> Vec<u8> {
    joined(OPERATION, &[&operation.0])
}

/// What the keys of all requests of one repository begin with. Its name holds no control
/// characters, so a zero byte ends it.
pub(super) fn requests(name: &RepositoryName) -> Vec<u8> {
    joined(REQUEST, &[name.as_str().as_bytes(), &[0]])
}

pub(super) fn request(name: &RepositoryName, id: RequestId) -> Vec<u8> {
    joined(REQUEST, &[name.as_str().as_bytes(), &[0], id.as_bytes()])
}

/// Behind the requests of one repository, before those of the next.
pub(super) fn behind_requests(name: &RepositoryName) -> Vec<u8> {
    joined(REQUEST, &[name.as_str().as_bytes(), &[1]])
}

/// The repository and the id in the key of a request.
pub(super) fn request_key(key: &[u8]) -> Result<(RepositoryName, RequestId), Undecodable> {
    let mut input = Reader::new(key);
    input.u8()?;
    let name = input.take(key.len().checked_sub(18).ok_or(Undecodable)?)?;
    let name = str::from_utf8(name).map_err(|_| Undecodable)?.parse().map_err(|_| Undecodable)?;
    if input.u8()? != 0 {
        return Err(Undecodable);
    }
    Ok((name, RequestId::from_bytes(input.array()?)))
}

/// Role names hold no control characters, so a zero byte ends them.
pub(super) fn version(id: u64, role: &RoleName, version: Version) -> Vec<u8> {
    joined(VERSION, &[&id.to_be_bytes(), role.as_str().as_bytes(), &[0], &version.get().to_be_bytes()])
}

pub(super) fn digest(kind: u8, id: u64, digest: Sha256Digest) -> Vec<u8> {
    joined(kind, &[&id.to_be_bytes(), digest.as_bytes()])
}

/// What all keys of one kind and repository begin with.
pub(super) fn of_repository(kind: u8, id: u64) -> Vec<u8> {
    joined(kind, &[&id.to_be_bytes()])
}

/// The seq in a feed key.
pub(super) fn feed_seq(key: &[u8]) -> Result<u64, Undecodable> {
    let mut input = Reader::new(key);
    input.u8()?;
    input.array().map(u64::from_be_bytes)
}

fn joined(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// A value of the index.
pub(super) trait Row: Sized {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(64));
        self.put(&mut out);
        out.0
    }

    /// Reads a value back, to its last byte.
    fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut input = Reader::new(bytes);
        let row = Self::get(&mut input)?;
        if input.is_empty() { Ok(row) } else { Err(Undecodable) }
    }

    fn put(&self, out: &mut Writer);
    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable>;
}

impl Row for Location {
    fn put(&self, out: &mut Writer) {
        out.u32(self.segment);
        out.u32(self.offset);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        Ok(Self { segment: input.u32()?, offset: input.u32()? })
    }
}

impl Row for ValueRow {
    fn put(&self, out: &mut Writer) {
        out.bytes(self.digest.as_bytes());
        out.u64(self.length);
        if let Some(at) = &self.at {
            at.put(out);
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        let digest = Sha256Digest::from_bytes(input.array()?);
        let length = input.u64()?;
        let at = if input.is_empty() { None } else { Some(Location::get(input)?) };
        Ok(Self { digest, length, at })
    }
}

impl Row for OperationRow {
    fn put(&self, out: &mut Writer) {
        out.u64(self.seq);
        out.text(self.repository.as_str());
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        Ok(Self { seq: input.u64()?, repository: input.parsed()? })
    }
}

impl Row for KeysRow {
    fn put(&self, out: &mut Writer) {
        out.u64(self.generation);
        self.sealed.put(out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        Ok(Self { generation: input.u64()?, sealed: ValueRow::get(input)? })
    }
}

impl Row for RequestRow {
    fn put(&self, out: &mut Writer) {
        out.u64(self.seq);
        match &self.state {
            RequestRowState::Open { revision, not_after, value } => {
                out.0.push(0);
                out.u64(*revision);
                out.time(*not_after);
                value.put(out);
            }
            RequestRowState::Closed { how, actor, at } => {
                out.0.push(closed_byte(*how));
                out.text(actor);
                out.time(*at);
            }
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        let seq = input.u64()?;
        let state = match input.u8()? {
            0 => RequestRowState::Open {
                revision: input.u64()?,
                not_after: input.time()?,
                value: ValueRow::get(input)?,
            },
            how => RequestRowState::Closed {
                how: closed_of(how)?,
                actor: input.text()?.to_owned(),
                at: input.time()?,
            },
        };
        Ok(Self { seq, state })
    }
}

impl Row for LastVersions {
    fn put(&self, out: &mut Writer) {
        out.last_versions(*self);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        input.last_versions()
    }
}

impl Row for StateRow {
    fn put(&self, out: &mut Writer) {
        out.u64(self.seq);
        out.u64(self.feed);
        out.text(&self.store_id);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        Ok(Self { seq: input.u64()?, feed: input.u64()?, store_id: input.text()?.to_owned() })
    }
}

impl Row for HeadRow {
    fn put(&self, out: &mut Writer) {
        out.u64(self.id);
        out.u64(self.seq);
        self.at.put(out);
        out.u32(u32::from(self.renewal.is_some()));
        if let Some(operation) = &self.renewal {
            out.bytes(&operation.0);
        }
        for renewed in &self.renewed {
            out.text(renewed.role.as_str());
            out.u64(renewed.version.get());
            out.bytes(renewed.digest.as_bytes());
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Undecodable> {
        let (id, seq, at) = (input.u64()?, input.u64()?, Location::get(input)?);
        let renewal = match input.u32()? {
            0 => None,
            1 => Some(OperationId(input.array()?)),
            _ => return Err(Undecodable),
        };
        let mut renewed = Vec::new();
        while !input.is_empty() {
            let (role, version) = (input.parsed()?, input.version()?);
            renewed.push(Renewed { role, version, digest: Sha256Digest::from_bytes(input.array()?) });
        }
        Ok(Self { id, seq, at, renewal, renewed })
    }
}
