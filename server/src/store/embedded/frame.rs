//! How a record lies in a segment, and how one tells that it is whole.
//!
//! ```text
//! header   magic u32 | length of payload u32 | crc32 u32 | records left in the group u32 | group u64
//! payload  seq u64 | repository id u64 | chain before [32] | digest of body [32] | body
//! ```
//!
//! All little-endian, padded with zero bytes to eight. The crc covers everything after
//! itself. Magic and the start of the crc come from the store id, which no publisher knows:
//! otherwise a document could hold what looks like a record, and recovery, which searches
//! for records after a damaged one, would believe in it. The chain digest of a record is SHA-256 over the payload without the body, so it
//! fixes this record and all before it; the first record follows a digest of the store id.

use std::fmt;

use bulla_keys_schema::digest::Sha256Digest;

use super::fields::Reader;

/// Bytes before the payload.
pub(super) const HEADER: usize = 24;
/// Bytes of the payload before the body.
pub(super) const PREFIX: usize = 80;
/// Longest body. Publications are limited far below by what HTTP accepts.
pub(super) const BODY_MAX: usize = 64 * 1024 * 1024;

/// What tells this store's records from everything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    magic: u32,
    seed: u32,
    /// The chain digest before the first record.
    pub(super) genesis: Sha256Digest,
}

/// A whole record as read from a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seq: u64,
    /// The incarnation of the repository: the seq of the record that made it.
    pub(super) id: u64,
    pub(super) group: u64,
    /// Records of the same group that follow.
    pub(super) left: u32,
    pub(super) chain_before: Sha256Digest,
    pub(super) chain: Sha256Digest,
    pub(super) at: Location,
    pub(super) body: Vec<u8>,
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) seq: u64,
    pub(super) id: u64,
    pub(super) group: u64,
    pub(super) left: u32,
    pub(super) chain_before: Sha256Digest,
    pub(super) body_digest: Sha256Digest,
    pub(super) body: &'a [u8],
}

impl Record {
    /// Where the next record of the same segment begins.
    pub(super) fn end(&self) -> Location {
        self.at.plus(framed_len(self.body.len()))
    }
}

/// Where the value at `offset` of a record's body lies.
pub(super) fn value_at(record: Location, offset: u32) -> Location {
    record.plus(HEADER + PREFIX).plus(usize::try_from(offset).unwrap_or(usize::MAX))
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

impl Location {
    /// The place so many bytes further in the same segment.
    pub(super) fn plus(self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { segment: self.segment, offset: self.offset.saturating_add(bytes) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", segment_name(self.segment), self.offset)
    }
}

/// The file name of a segment.
pub(super) fn segment_name(segment: u32) -> String {
    format!("{segment:012}.log")
}

/// What stands at some offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole(Box<Record>),
    /// Zero bytes or the end of the file: nothing was written here.
    Nothing,
    Broken,
}

/// The room a record with this body takes, padding included.
pub(super) const fn framed_len(body: usize) -> usize {
    (HEADER + PREFIX + body).next_multiple_of(8)
}

impl Seal {
    /// The seal of the store with this id.
    pub(super) fn new(store_id: &str) -> Self {
        let secret = Sha256Digest::of(format!("bulla frame 1\n{store_id}\n").as_bytes());
        let mut input = Reader::new(secret.as_bytes());
        Self {
            // An odd magic is never zero, and zero means that nothing was written.
            magic: input.u32().unwrap_or_default() | 1,
            seed: input.u32().unwrap_or_default(),
            genesis: Sha256Digest::of(format!("bulla journal 1\n{store_id}\n").as_bytes()),
        }
    }

    /// Appends one record to `out` and returns its chain digest.
    pub(super) fn write(&self, out: &mut Vec<u8>, new: &NewRecord<'_>) -> Sha256Digest {
        let mut prefix = Vec::with_capacity(PREFIX);
        prefix.extend_from_slice(&new.seq.to_le_bytes());
        prefix.extend_from_slice(&new.id.to_le_bytes());
        prefix.extend_from_slice(new.chain_before.as_bytes());
        prefix.extend_from_slice(new.body_digest.as_bytes());
        let end = out.len() + framed_len(new.body.len());
        out.reserve(framed_len(new.body.len()));
        out.extend_from_slice(&self.magic.to_le_bytes());
        out.extend_from_slice(&u32::try_from(PREFIX + new.body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&self.crc(new.left, new.group, &prefix, new.body).to_le_bytes());
        out.extend_from_slice(&new.left.to_le_bytes());
        out.extend_from_slice(&new.group.to_le_bytes());
        out.extend_from_slice(&prefix);
        out.extend_from_slice(new.body);
        out.resize(end, 0);
        Sha256Digest::of(&prefix)
    }

    /// Reads what stands at `at`; `bytes` are those of its segment from `base` on.
    pub(super) fn parse(&self, bytes: &[u8], base: usize, at: Location) -> Parsed {
        let Some(start) = usize::try_from(at.offset).ok().and_then(|offset| offset.checked_sub(base)) else {
            return Parsed::Broken;
        };
        let rest = bytes.get(start..).unwrap_or_default();
        match rest.get(..HEADER) {
            None if is_zero(rest) => Parsed::Nothing,
            Some(header) if is_zero(header) => Parsed::Nothing,
            _ => self.parse_record(rest, at).map_or(Parsed::Broken, |record| Parsed::Whole(Box::new(record))),
        }
    }

    /// The length of the record that a header at the start of `bytes` claims, padding
    /// included; `None` if it is no header of this store.
    pub(super) fn claimed_len(&self, bytes: &[u8]) -> Option<usize> {
        self.payload_len(bytes).map(|payload| framed_len(payload - PREFIX))
    }

    fn payload_len(&self, bytes: &[u8]) -> Option<usize> {
        let mut input = Reader::new(bytes);
        if input.u32() != Ok(self.magic) {
            return None;
        }
        let length = usize::try_from(input.u32().ok()?).ok()?;
        (PREFIX..=PREFIX + BODY_MAX).contains(&length).then_some(length)
    }

    fn parse_record(&self, bytes: &[u8], at: Location) -> Option<Record> {
        let length = self.payload_len(bytes)?;
        let mut input = Reader::new(bytes.get(8..)?);
        let crc_read = input.u32().ok()?;
        let left = input.u32().ok()?;
        let group = input.u64().ok()?;
        let prefix = input.take(PREFIX).ok()?;
        let body = input.take(length.checked_sub(PREFIX)?).ok()?;
        if self.crc(left, group, prefix, body) != crc_read {
            return None;
        }
        let mut fields = Reader::new(prefix);
        let (seq, id) = (fields.u64().ok()?, fields.u64().ok()?);
        let chain_before = Sha256Digest::from_bytes(fields.array().ok()?);
        let body_digest = Sha256Digest::from_bytes(fields.array().ok()?);
        if Sha256Digest::of(body) != body_digest {
            return None;
        }
        let chain = Sha256Digest::of(prefix);
        Some(Record { seq, id, group, left, chain_before, chain, at, body: body.to_vec() })
    }

    fn crc(&self, left: u32, group: u64, prefix: &[u8], body: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new_with_initial(self.seed);
        crc.update(&left.to_le_bytes());
        crc.update(&group.to_le_bytes());
        crc.update(prefix);
        crc.update(body);
        crc.finalize()
    }
}

/// Whether nothing but zero bytes is there. Compares blocks: most of a fresh segment is zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal::new("0123456789abcdef0123456789abcdef")
    }

    fn record(seq: u64, left: u32, chain_before: Sha256Digest, body: &[u8]) -> NewRecord<'_> {
        NewRecord { seq, id: 1, group: 1, left, chain_before, body_digest: Sha256Digest::of(body), body }
    }

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let chain = seal().write(&mut out, &record(1, 1, seal().genesis, b"one"));
        seal().write(&mut out, &record(2, 0, chain, b"second"));
        out.extend_from_slice(&[0; 64]);
        out
    }

    const START: Location = Location { segment: 1, offset: 0 };

    #[test]
    fn records_are_read_back_and_chained() {
        let bytes = sample();
        let Parsed::Whole(first) = seal().parse(&bytes, 0, START) else { panic!() };
        let Parsed::Whole(second) = seal().parse(&bytes, 0, first.end()) else { panic!() };
        assert_eq!((first.seq, first.left, first.body.as_slice()), (1, 1, &b"one"[..]));
        assert_eq!((second.seq, second.chain_before), (2, first.chain));
        assert_eq!(seal().parse(&bytes, 0, second.end()), Parsed::Nothing);
        assert_eq!(Seal::new("another").parse(&bytes, 0, START), Parsed::Broken);
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_noticed() {
        let bytes = sample();
        for at in 0..framed_len(3) {
            let padding = at >= HEADER + PREFIX + 3;
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert_eq!(matches!(seal().parse(&bad, 0, START), Parsed::Whole(_)), padding, "byte {at}");
            let cut = seal().parse(&bytes[..at], 0, START);
            assert_eq!(matches!(cut, Parsed::Whole(_)), padding, "cut at {at}");
        }
    }
}
