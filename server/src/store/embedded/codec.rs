//! The body of a journal record: an explicit binary form, version 2, made of fields.rs.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;

use super::fields::{Reader, Undecodable, Writer};
use crate::store::inspect::Inspected;
use crate::store::{
    Closed, Closing, DocumentRef, LastVersions, NewRequest, OperationId, Publication, PublicationKind,
    Removal, RequestState,
};

/// Values up to this many bytes stand in the journal, longer ones in files of their own:
/// long records would make every replay read what it does not need.
pub(super) const INLINE_BYTES: usize = 4_096;

const VERSION: u8 = 2;
const PUBLISH: u8 = 1;
const RENEW: u8 = 2;
const REMOVE: u8 = 3;
const KEYS: u8 = 4;
const REQUEST: u8 = 5;
const CLOSE: u8 = 6;
/// As `PUBLISH`, with the request that it completes behind it.
const COMPLETE: u8 = 7;
/// As `REMOVE`, but the online keys stay.
const REMOVE_KEEPING: u8 = 8;
const INLINE: u8 = 0;
const BLOB: u8 = 1;
const TUF1: u8 = 1;
const NOTARY1: u8 = 2;
const PUBLISHED: u8 = 1;
const CANCELLED: u8 = 2;
const STALE: u8 = 3;
const EXPIRED: u8 = 4;

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Commit(Commit),
    Remove(Remove),
    Keys(Keys),
    Request(Request),
    Close(Close),
}

/// A publication or renewal; the values themselves stand in the body or in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) repository: RepositoryName,
    pub(super) dialect: Dialect,
    /// The record this was built on; `None` if it made the repository.
    pub(super) expected: Option<u64>,
    pub(super) operation: OperationId,
    pub(super) kind: PublicationKind,
    pub(super) actor: String,
    pub(super) at: UtcTime,
    pub(super) renew_at: UtcTime,
    pub(super) documents: Vec<Document>,
    pub(super) targets: Vec<Value>,
    pub(super) current: BTreeMap<RoleName, DocumentRef>,
    pub(super) completes: Option<RequestState>,
}

/// The end of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remove {
    pub(super) repository: RepositoryName,
    pub(super) expected: u64,
    pub(super) operation: OperationId,
    pub(super) actor: String,
    pub(super) at: UtcTime,
    /// What the removed head had reached.
    pub(super) last: LastVersions,
    pub(super) keeps_keys: bool,
}

/// New sealed online keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) repository: RepositoryName,
    pub(super) generation: u64,
    pub(super) sealed: Value,
}

/// A new state of a signing request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) repository: RepositoryName,
    pub(super) request: RequestState,
    pub(super) not_after: UtcTime,
    pub(super) value: Value,
}

/// The end of a signing request that led to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) repository: RepositoryName,
    pub(super) request: RequestState,
    pub(super) how: Closed,
    pub(super) actor: String,
    pub(super) at: UtcTime,
}

/// A document of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) role: RoleName,
    pub(super) version: Version,
    pub(super) value: Value,
}

/// Where some bytes are, and what they must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) digest: Sha256Digest,
    pub(super) length: u64,
    pub(super) place: Place,
}

/// Inside the body, counted from its start, or in a file named by the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Inline { at: u32 },
    Blob,
}

impl Entry {
    pub(super) const fn repository(&self) -> &RepositoryName {
        match self {
            Self::Commit(commit) => &commit.repository,
            Self::Remove(remove) => &remove.repository,
            Self::Keys(keys) => &keys.repository,
            Self::Request(request) => &request.repository,
            Self::Close(close) => &close.repository,
        }
    }

    /// Every value the record brings.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        let (documents, targets, other) = match self {
            Self::Commit(commit) => (commit.documents.as_slice(), commit.targets.as_slice(), None),
            Self::Remove(_) | Self::Close(_) => (&[][..], &[][..], None),
            Self::Keys(keys) => (&[][..], &[][..], Some(&keys.sealed)),
            Self::Request(request) => (&[][..], &[][..], Some(&request.value)),
        };
        documents.iter().map(|document| &document.value).chain(targets).chain(other)
    }
}

/// Encodes a publication; the entry tells where in the body its values are.
pub(super) fn encode_commit(publication: &Publication, inspected: &Inspected) -> (Commit, Vec<u8>) {
    let (at, renew_at) = (publication.at.plus_seconds(0), publication.renew_at.plus_seconds(0));
    let kind = match (publication.kind, publication.completes) {
        (PublicationKind::Publish, None) => PUBLISH,
        (PublicationKind::Publish, Some(_)) => COMPLETE,
        (PublicationKind::Renew, _) => RENEW,
    };
    let mut out = Writer(vec![VERSION, kind]);
    out.text(publication.repository.as_str());
    out.0.push(dialect_byte(publication.dialect));
    out.u64(publication.expected.map_or(0, |token| token.0));
    out.bytes(&publication.operation.0);
    out.text(&publication.actor);
    out.time(at);
    out.time(renew_at);
    out.count(inspected.documents.len());
    let mut documents = Vec::with_capacity(inspected.documents.len());
    for new in &inspected.documents {
        out.text(new.role.as_str());
        out.u64(new.version.get());
        let value = out.value(new.digest, &new.bytes);
        documents.push(Document { role: new.role.clone(), version: new.version, value });
    }
    out.count(inspected.targets.len());
    let targets = inspected.targets.iter().map(|(digest, bytes)| out.value(*digest, bytes)).collect();
    out.count(publication.current.len());
    for (role, reference) in &publication.current {
        out.text(role.as_str());
        out.u64(reference.version.get());
        out.bytes(reference.digest.as_bytes());
        out.u64(reference.length);
    }
    let completes = publication.completes.filter(|_| kind == COMPLETE);
    if let Some(request) = completes {
        out.request(request);
    }
    let commit = Commit {
        repository: publication.repository.clone(),
        dialect: publication.dialect,
        expected: publication.expected.map(|token| token.0),
        operation: publication.operation,
        kind: publication.kind,
        actor: publication.actor.clone(),
        at,
        renew_at,
        documents,
        targets,
        current: publication.current.clone(),
        completes,
    };
    (commit, out.0)
}

/// Encodes the removal of a head that had reached `last`.
pub(super) fn encode_remove(removal: &Removal, last: LastVersions) -> (Remove, Vec<u8>) {
    let at = removal.at.plus_seconds(0);
    let mut out = Writer(vec![VERSION, if removal.keeps_keys { REMOVE_KEEPING } else { REMOVE }]);
    out.text(removal.repository.as_str());
    out.u64(removal.expected.0);
    out.bytes(&removal.operation.0);
    out.text(&removal.actor);
    out.time(at);
    out.last_versions(last);
    let remove = Remove {
        repository: removal.repository.clone(),
        expected: removal.expected.0,
        operation: removal.operation,
        actor: removal.actor.clone(),
        at,
        last,
        keeps_keys: removal.keeps_keys,
    };
    (remove, out.0)
}

/// Encodes sealed online keys.
pub(super) fn encode_keys(repository: &RepositoryName, generation: u64, sealed: &[u8]) -> (Keys, Vec<u8>) {
    let mut out = Writer(vec![VERSION, KEYS]);
    out.text(repository.as_str());
    out.u64(generation);
    let sealed = out.value(Sha256Digest::of(sealed), sealed);
    (Keys { repository: repository.clone(), generation, sealed }, out.0)
}

/// Encodes the state `revision` of a signing request.
pub(super) fn encode_request(new: &NewRequest, revision: u64) -> (Request, Vec<u8>) {
    let (request, not_after) = (RequestState { id: new.id, revision }, new.not_after.plus_seconds(0));
    let mut out = Writer(vec![VERSION, REQUEST]);
    out.text(new.repository.as_str());
    out.request(request);
    out.time(not_after);
    let value = out.value(Sha256Digest::of(&new.bytes), &new.bytes);
    (Request { repository: new.repository.clone(), request, not_after, value }, out.0)
}

/// Encodes the end of a signing request.
pub(super) fn encode_close(closing: &Closing) -> (Close, Vec<u8>) {
    let at = closing.at.plus_seconds(0);
    let mut out = Writer(vec![VERSION, CLOSE]);
    out.text(closing.repository.as_str());
    out.request(closing.request);
    out.0.push(closed_byte(closing.how));
    out.text(&closing.actor);
    out.time(at);
    let close = Close {
        repository: closing.repository.clone(),
        request: closing.request,
        how: closing.how,
        actor: closing.actor.clone(),
        at,
    };
    (close, out.0)
}

/// Reads a body back.
///
/// # Errors
/// Anything that the encoders above could not have written, trailing bytes included.
pub(super) fn decode(body: &[u8]) -> Result<Entry, Undecodable> {
    let mut input = Reader::new(body);
    if input.u8()? != VERSION {
        return Err(Undecodable);
    }
    let entry = match input.u8()? {
        PUBLISH => Entry::Commit(decode_commit(&mut input, PublicationKind::Publish)?),
        RENEW => Entry::Commit(decode_commit(&mut input, PublicationKind::Renew)?),
        COMPLETE => {
            let commit = decode_commit(&mut input, PublicationKind::Publish)?;
            Entry::Commit(Commit { completes: Some(input.request()?), ..commit })
        }
        kind @ (REMOVE | REMOVE_KEEPING) => Entry::Remove(Remove {
            repository: input.parsed()?,
            expected: input.u64()?,
            operation: OperationId(input.array()?),
            actor: input.text()?.to_owned(),
            at: input.time()?,
            last: input.last_versions()?,
            keeps_keys: kind == REMOVE_KEEPING,
        }),
        REQUEST => Entry::Request(Request {
            repository: input.parsed()?,
            request: input.request()?,
            not_after: input.time()?,
            value: input.value()?,
        }),
        CLOSE => Entry::Close(Close {
            repository: input.parsed()?,
            request: input.request()?,
            how: closed_of(input.u8()?)?,
            actor: input.text()?.to_owned(),
            at: input.time()?,
        }),
        KEYS => Entry::Keys(Keys {
            repository: input.parsed()?,
            generation: input.u64()?,
            sealed: input.value()?,
        }),
        _ => return Err(Undecodable),
    };
    if input.is_empty() { Ok(entry) } else { Err(Undecodable) }
}

/// The bytes of an inline value in the body it came with; `None` for a blob.
pub(super) fn inline<'a>(body: &'a [u8], value: &Value) -> Option<&'a [u8]> {
    let Place::Inline { at } = value.place else { return None };
    let start = usize::try_from(at).ok()?;
    body.get(start..start.checked_add(usize::try_from(value.length).ok()?)?)
}

fn decode_commit(input: &mut Reader<'_>, kind: PublicationKind) -> Result<Commit, Undecodable> {
    let repository = input.parsed()?;
    let dialect = dialect_of(input.u8()?)?;
    let expected = Some(input.u64()?).filter(|seq| *seq != 0);
    let operation = OperationId(input.array()?);
    let actor = input.text()?.to_owned();
    let (at, renew_at) = (input.time()?, input.time()?);
    let documents = (0..input.u32()?)
        .map(|_| Ok(Document { role: input.parsed()?, version: input.version()?, value: input.value()? }))
        .collect::<Result<_, Undecodable>>()?;
    let targets = (0..input.u32()?).map(|_| input.value()).collect::<Result<_, _>>()?;
    let current = (0..input.u32()?)
        .map(|_| {
            let role = input.parsed()?;
            let version = input.version()?;
            let digest = Sha256Digest::from_bytes(input.array()?);
            Ok((role, DocumentRef { version, digest, length: input.u64()? }))
        })
        .collect::<Result<_, Undecodable>>()?;
    Ok(Commit {
        repository,
        dialect,
        expected,
        operation,
        kind,
        actor,
        at,
        renew_at,
        documents,
        targets,
        current,
        completes: None,
    })
}

const fn dialect_byte(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Notary1 => NOTARY1,
        Dialect::Tuf1 => TUF1,
    }
}

const fn dialect_of(byte: u8) -> Result<Dialect, Undecodable> {
    match byte {
        TUF1 => Ok(Dialect::Tuf1),
        NOTARY1 => Ok(Dialect::Notary1),
        _ => Err(Undecodable),
    }
}

/// How a request ended, as one byte of a record or row.
pub(super) const fn closed_byte(how: Closed) -> u8 {
    match how {
        Closed::Published => PUBLISHED,
        Closed::Cancelled => CANCELLED,
        Closed::Stale => STALE,
        Closed::Expired => EXPIRED,
    }
}

/// The inverse of [`closed_byte`].
pub(super) const fn closed_of(byte: u8) -> Result<Closed, Undecodable> {
    match byte {
        PUBLISHED => Ok(Closed::Published),
        CANCELLED => Ok(Closed::Cancelled),
        STALE => Ok(Closed::Stale),
        EXPIRED => Ok(Closed::Expired),
        _ => Err(Undecodable),
    }
}

impl Writer {
    fn request(&mut self, request: RequestState) {
        self.bytes(request.id.as_bytes());
        self.u64(request.revision);
    }

    fn value(&mut self, digest: Sha256Digest, bytes: &[u8]) -> Value {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes(digest.as_bytes());
        self.u64(length);
        if bytes.len() > INLINE_BYTES {
            self.0.push(BLOB);
            return Value { digest, length, place: Place::Blob };
        }
        self.0.push(INLINE);
        let at = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.bytes(bytes);
        Value { digest, length, place: Place::Inline { at } }
    }
}

impl Reader<'_> {
    fn request(&mut self) -> Result<RequestState, Undecodable> {
        Ok(RequestState { id: RequestId::from_bytes(self.array()?), revision: self.u64()? })
    }

    fn value(&mut self) -> Result<Value, Undecodable> {
        let digest = Sha256Digest::from_bytes(self.array()?);
        let length = self.u64()?;
        let place = match self.u8()? {
            BLOB => Place::Blob,
            INLINE => {
                let at = u32::try_from(self.taken()).map_err(|_| Undecodable)?;
                self.take(usize::try_from(length).map_err(|_| Undecodable)?)?;
                Place::Inline { at }
            }
            _ => return Err(Undecodable),
        };
        Ok(Value { digest, length, place })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::inspect::inspect;
    use crate::store::{HeadToken, NewDocument};

    /// A publication whose parts depend on `seed`, with short, long and empty values.
    fn publication(seed: u64) -> Publication {
        let size = |step: u64| usize::try_from((seed * 7_919 + step * 977) % 6_000).unwrap();
        let roles = ["root", "targets", "snapshot", "timestamp", "releases", "\u{f6}dd name"];
        let documents: Vec<NewDocument> = (0..)
            .zip(roles)
            .map(|(step, role)| NewDocument {
                role: role.parse().unwrap(),
                version: Version::new(seed + step + 1).unwrap(),
                bytes: Bytes::from(vec![u8::try_from(seed % 251).unwrap(); size(step)]).into(),
            })
            .collect();
        let current = documents
            .iter()
            .map(|new| {
                let (digest, length) =
                    (Sha256Digest::of(&new.bytes), u64::try_from(new.bytes.len()).unwrap());
                (new.role.clone(), DocumentRef { version: new.version, digest, length })
            })
            .collect();
        Publication {
            repository: format!("example.com/r{seed}").parse().unwrap(),
            dialect: if seed.is_multiple_of(5) { Dialect::Notary1 } else { Dialect::Tuf1 },
            expected: (!seed.is_multiple_of(3)).then_some(HeadToken(seed)),
            operation: OperationId([u8::try_from(seed % 256).unwrap(); 16]),
            kind: if seed.is_multiple_of(2) { PublicationKind::Publish } else { PublicationKind::Renew },
            documents,
            targets: vec![Bytes::from(vec![1; size(9)]).into(), Bytes::new().into()],
            current,
            renew_at: UtcTime::from_unix_seconds(i64::try_from(seed).unwrap() * 1_000).unwrap(),
            actor: "a\u{e9}".repeat(size(3) % 40),
            at: UtcTime::from_unix_seconds(-5).unwrap(),
            completes: seed
                .is_multiple_of(4)
                .then_some(RequestState { id: RequestId::from_bytes([8; 16]), revision: seed }),
        }
    }

    /// Encoded bodies of every kind.
    fn bodies() -> Vec<(Entry, Vec<u8>)> {
        let mut all = Vec::new();
        for seed in 1..60 {
            let publication = publication(seed);
            let (commit, body) = encode_commit(&publication, &inspect(&publication).unwrap());
            all.push((Entry::Commit(commit), body));
        }
        let repository: RepositoryName = "example.com/r".parse().unwrap();
        let (operation, at) = (OperationId([3; 16]), UtcTime::from_unix_seconds(9).unwrap());
        let [timestamp, snapshot] = [9, 4].map(|number| Version::new(number).unwrap());
        for keeps_keys in [true, false] {
            let removal = Removal {
                repository: repository.clone(),
                expected: HeadToken(7),
                operation,
                actor: "x".into(),
                at,
                keeps_keys,
            };
            let (remove, body) = encode_remove(&removal, LastVersions { timestamp, snapshot });
            all.push((Entry::Remove(remove), body));
        }
        let request = RequestState { id: RequestId::from_bytes([6; 16]), revision: 5 };
        for how in [Closed::Published, Closed::Cancelled, Closed::Stale, Closed::Expired] {
            let actor = "somebody".into();
            let (close, body) =
                encode_close(&Closing { repository: repository.clone(), request, how, actor, at });
            all.push((Entry::Close(close), body));
        }
        for length in [0, 40, 5_000] {
            let bytes = Bytes::from(vec![7; length]);
            let (id, repository) = (request.id, repository.clone());
            let new = NewRequest { repository, id, expected: Some(4), not_after: at, bytes };
            let (request, body) = encode_request(&new, 5);
            all.push((Entry::Request(request), body));
        }
        for length in [0, 40, 5_000] {
            let (keys, body) = encode_keys(&repository, 3, &vec![5; length]);
            all.push((Entry::Keys(keys), body));
        }
        all
    }

    #[test]
    fn what_was_encoded_is_decoded_with_its_values() {
        for (entry, body) in bodies() {
            assert_eq!(decode(&body).as_ref(), Ok(&entry));
            for value in entry.values() {
                let inline = inline(&body, value);
                assert_eq!(inline.is_none(), value.length > 4_096);
                assert!(inline.is_none_or(|bytes| Sha256Digest::of(bytes) == value.digest));
            }
        }
    }

    #[test]
    fn nothing_cut_off_or_added_is_decoded() {
        for (_, body) in bodies() {
            for end in (0..body.len()).rev().take(700).chain(0..body.len().min(700)) {
                assert_eq!(decode(&body[..end]), Err(Undecodable), "{end} of {}", body.len());
            }
            assert_eq!(decode(&[&body[..], &[0]].concat()), Err(Undecodable));
        }
    }

    #[test]
    fn unknown_dialects_are_not_decoded() {
        for (entry, body) in bodies() {
            let Entry::Commit(commit) = entry else { continue };
            let at = 4 + commit.repository.as_str().len();
            assert_eq!(body[at], dialect_byte(commit.dialect));
            for unknown in [0, 3, 255] {
                let mut bad = body.clone();
                bad[at] = unknown;
                assert_eq!(decode(&bad), Err(Undecodable), "{unknown}");
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic() {
        for (_, body) in bodies() {
            for at in 0..body.len().min(1_500) {
                for change in [0xff, 0x80, 1] {
                    let mut bad = body.clone();
                    bad[at] ^= change;
                    if let Ok(entry) = decode(&bad) {
                        assert!(
                            entry
                                .values()
                                .all(|value| value.place == Place::Blob || inline(&bad, value).is_some())
                        );
                    }
                }
            }
        }
    }
}
