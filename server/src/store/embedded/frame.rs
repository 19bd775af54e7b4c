//! How a record lies in a segment, and how one tells that it is whole.
//!
//! ```text
//! header   magic u32 | length of payload u32 | crc32 u32 | records left in the group u32 | group u64
//! payload  seq u64 | repository id u64 | chain before [32] | digest of body [32] | body
//! ```
//!
//! All little-endian, padded with zero bytes to eight. The crc covers everything after
//! itself. The chain digest of a record is SHA-256 over the payload without the body, so it
//! fixes this record and all before it; the first record follows a digest of the store id.

use bulla_keys_schema::digest::Sha256Digest;

use super::codec::Reader;

/// Bytes before the payload.
pub(super) const HEADER: usize = 24;
/// Bytes of the payload before the body.
pub(super) const PREFIX: usize = 80;
/// Longest body. Publications are limited far below by what HTTP accepts.
pub(super) const BODY_MAX: usize = 64 * 1024 * 1024;

/// "BUL1": not found by chance, so that records after a damaged one can be searched.
const MAGIC: u32 = u32::from_le_bytes(*b"BUL1");

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

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// What stands at some offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole(Box<Record>),
    /// Zero bytes or the end of the file: nothing was written here.
    Nothing,
    Broken,
}

/// The chain digest before the first record.
pub(super) fn genesis(store_id: &str) -> Sha256Digest {
    Sha256Digest::of(format!("bulla journal 1\n{store_id}\n").as_bytes())
}

/// The room a record with this body takes, padding included.
pub(super) const fn framed_len(body: usize) -> usize {
    (HEADER + PREFIX + body).next_multiple_of(8)
}

/// Appends one record to `out` and returns its chain digest.
pub(super) fn write(
    out: &mut Vec<u8>,
    place: (u64, u64, u64, u32),
    chain_before: Sha256Digest,
    body_digest: Sha256Digest,
    body: &[u8],
) -> Sha256Digest {
    let (seq, id, group, left) = place;
    let mut prefix = Vec::with_capacity(PREFIX);
    prefix.extend_from_slice(&seq.to_le_bytes());
    prefix.extend_from_slice(&id.to_le_bytes());
    prefix.extend_from_slice(chain_before.as_bytes());
    prefix.extend_from_slice(body_digest.as_bytes());
    let end = out.len() + framed_len(body.len());
    out.reserve(framed_len(body.len()));
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&u32::try_from(PREFIX + body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc(left, group, &prefix, body).to_le_bytes());
    out.extend_from_slice(&left.to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&prefix);
    out.extend_from_slice(body);
    out.resize(end, 0);
    Sha256Digest::of(&prefix)
}

/// Reads what stands at `offset` of a segment whose bytes from `base` on are `bytes`.
pub(super) fn parse(bytes: &[u8], base: usize, at: Location) -> Parsed {
    let Some(start) = usize::try_from(at.offset).ok().and_then(|offset| offset.checked_sub(base)) else {
        return Parsed::Broken;
    };
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.get(..HEADER) {
        None if rest.iter().all(|byte| *byte == 0) => Parsed::Nothing,
        Some(header) if header.iter().all(|byte| *byte == 0) => Parsed::Nothing,
        _ => parse_record(rest, at).map_or(Parsed::Broken, |record| Parsed::Whole(Box::new(record))),
    }
}

/// The payload length that a header at the start of `bytes` claims, if it is a header.
pub(super) fn claimed_len(bytes: &[u8]) -> Option<usize> {
    let mut input = Reader::new(bytes);
    if input.u32() != Ok(MAGIC) {
        return None;
    }
    let length = usize::try_from(input.u32().ok()?).ok()?;
    (PREFIX..=PREFIX + BODY_MAX).contains(&length).then_some(length)
}

fn parse_record(bytes: &[u8], at: Location) -> Option<Record> {
    let length = claimed_len(bytes)?;
    let mut input = Reader::new(bytes.get(8..)?);
    let crc_read = input.u32().ok()?;
    let left = input.u32().ok()?;
    let group = input.u64().ok()?;
    let prefix = input.take(PREFIX).ok()?;
    let body = input.take(length.checked_sub(PREFIX)?).ok()?;
    if crc(left, group, prefix, body) != crc_read {
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

fn crc(left: u32, group: u64, prefix: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&left.to_le_bytes());
    crc.update(&group.to_le_bytes());
    crc.update(prefix);
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let chain = write(&mut out, (1, 1, 1, 1), genesis("a"), Sha256Digest::of(b"one"), b"one");
        write(&mut out, (2, 1, 1, 0), chain, Sha256Digest::of(b"second"), b"second");
        out.extend_from_slice(&[0; 64]);
        out
    }

    #[test]
    fn records_are_read_back_and_chained() {
        let bytes = sample();
        let Parsed::Whole(first) = parse(&bytes, 0, Location { segment: 1, offset: 0 }) else { panic!() };
        let next = u32::try_from(framed_len(first.body.len())).unwrap();
        let Parsed::Whole(second) = parse(&bytes, 0, Location { segment: 1, offset: next }) else { panic!() };
        assert_eq!((first.seq, first.left, first.body.as_slice()), (1, 1, &b"one"[..]));
        assert_eq!((second.seq, second.chain_before), (2, first.chain));
        let end = next + u32::try_from(framed_len(6)).unwrap();
        assert_eq!(parse(&bytes, 0, Location { segment: 1, offset: end }), Parsed::Nothing);
    }

    #[test]
    fn every_changed_bit_and_every_truncation_is_noticed() {
        let bytes = sample();
        let whole = framed_len(3);
        for at in 0..whole {
            let padding = at >= HEADER + PREFIX + 3;
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            let parsed = parse(&bad, 0, Location { segment: 1, offset: 0 });
            assert_eq!(matches!(parsed, Parsed::Whole(_)), padding, "byte {at}");
            let cut = parse(&bytes[..at], 0, Location { segment: 1, offset: 0 });
            assert_eq!(matches!(cut, Parsed::Whole(_)), padding, "cut at {at}");
        }
    }
}
