//! Long values that shrink: gzip (RFC 1952), in pure Rust, and what every HTTP client takes as
//! it is. `zcat` reads such a file.
//!
//! Fast compression: reports of scanners shrink to a tenth with it, and whoever publishes waits
//! for it. Targets are packed and documents are not: a publication reads all documents of its
//! repository again, and may replace them the next minute.

use std::io::{BufReader, Read, Write as _};

use bulla_keys_schema::digest::Sha256Digest;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// How every packed value begins: no name, no time, fast compression, no system. Anything else
/// was not written here; a bit that changed in it would be noticed by nobody else.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// How much is unpacked at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How much is read at once of what is unpacked for somebody who may take it slowly, in bytes.
const READ: usize = 16 * 1024;
/// Room for this many bytes is taken before any is unpacked: a length may be wrong.
const ROOM: u64 = 16 * 1024 * 1024;

/// The bytes in their packed form; `None` if that is no shorter.
pub(crate) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    // Not kept for as long as the value lives.
    let mut packed = encoder.finish().ok()?;
    packed.shrink_to_fit();
    (packed.len() < bytes.len()).then_some(packed)
}

/// Whether bytes look like packed ones.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&HEADER)
}

/// What was packed: `length` bytes that hash to `digest`.
///
/// # Errors
/// [`Unpackable`]. Never more than `length` bytes are made.
pub(super) fn unpack(packed: &[u8], digest: Sha256Digest, length: u64) -> Result<Vec<u8>, Unpackable> {
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(ROOM)).unwrap_or_default());
    let found = each_chunk(packed, length, |chunk| bytes.extend_from_slice(chunk))?;
    if found == digest { Ok(bytes) } else { Err(Unpackable::OtherBytes) }
}

/// Whether there is what [`unpack`] gives, without keeping it.
///
/// # Errors
/// As [`unpack`].
pub(super) fn prove(packed: &[u8], digest: Sha256Digest, length: u64) -> Result<(), Unpackable> {
    let found = each_chunk(packed, length, |_| {})?;
    if found == digest { Ok(()) } else { Err(Unpackable::OtherBytes) }
}

/// Unpacks what `from` gives, as it is asked for. What comes out is compared by nobody.
pub(super) fn reader(from: impl Read) -> impl Read {
    GzDecoder::new(BufReader::with_capacity(READ, from))
}

/// Unpacks; returns the digest of it all.
fn each_chunk(packed: &[u8], length: u64, mut take: impl FnMut(&[u8])) -> Result<Sha256Digest, Unpackable> {
    if !is_packed(packed) {
        return Err(Unpackable::Damaged);
    }
    let mut decoder = GzDecoder::new(packed);
    let (mut hasher, mut left) = (Sha256::new(), length);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = decoder.read(&mut buffer).map_err(|_| Unpackable::Damaged)?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        let taken = u64::try_from(count).unwrap_or(u64::MAX);
        left = left.checked_sub(taken).ok_or(Unpackable::TooLong { length })?;
        hasher.update(chunk);
        take(chunk);
    }
    // Whoever takes the packed form as it is would get what follows, too.
    if !decoder.into_inner().is_empty() {
        return Err(Unpackable::Damaged);
    }
    Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
}

/// The bytes are not the packed form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unpackable {
    /// Not in the form that is written here, cut off, or with something behind it.
    #[error("cannot be unpacked")]
    Damaged,
    /// More than there should be: made to fill the memory of whoever unpacks it.
    #[error("unpacks to more than its {length} bytes")]
    TooLong {
        /// How many there should be.
        length: u64,
    },
    /// Something else was packed.
    #[error("unpacks to other bytes")]
    OtherBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Vec<u8> {
        (0..20_000_u32).flat_map(|number| format!("{{\"id\":{number}}},").into_bytes()).collect()
    }

    fn length(bytes: &[u8]) -> u64 {
        u64::try_from(bytes.len()).unwrap()
    }

    #[test]
    fn what_was_packed_comes_back() {
        let value = value();
        let packed = pack(&value).unwrap();
        assert!(is_packed(&packed) && packed.len() * 3 < value.len(), "{}", packed.len());
        let digest = Sha256Digest::of(&value);
        assert!(unpack(&packed, digest, length(&value)).unwrap() == value);
        assert_eq!(prove(&packed, digest, length(&value)), Ok(()));
    }

    #[test]
    fn what_does_not_shrink_is_not_packed() {
        let mut noise = vec![0; 8_192];
        getrandom::fill(&mut noise).unwrap();
        assert_eq!(pack(&noise), None);
        assert_eq!(pack(b""), None);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_length() {
        let bomb = pack(&vec![b' '; 32 * 1024 * 1024]).unwrap();
        let stopped = unpack(&bomb, Sha256Digest::of(b""), 100_000);
        assert_eq!(stopped, Err(Unpackable::TooLong { length: 100_000 }));
        assert_eq!(prove(&bomb, Sha256Digest::of(b""), 0), Err(Unpackable::TooLong { length: 0 }));
    }

    #[test]
    fn every_cut_and_whatever_follows_is_noticed() {
        let value = value();
        let (packed, digest) = (pack(&value).unwrap(), Sha256Digest::of(&value));
        for end in (0..packed.len()).step_by(97).chain(packed.len() - 9..packed.len()) {
            assert!(prove(&packed[..end], digest, length(&value)).is_err(), "cut at {end}");
        }
        for more in [&[0][..], &packed] {
            let longer = [&packed, more].concat();
            assert_eq!(prove(&longer, digest, length(&value)), Err(Unpackable::Damaged));
        }
        let other = prove(&packed, Sha256Digest::of(b"other"), length(&value));
        assert_eq!(other, Err(Unpackable::OtherBytes));
    }

    #[test]
    fn every_changed_byte_of_the_head_and_the_tail_is_noticed() {
        let value = value();
        let (packed, digest) = (pack(&value).unwrap(), Sha256Digest::of(&value));
        for at in (0..HEADER.len()).chain(packed.len() - 8..packed.len()) {
            let mut changed = packed.clone();
            changed[at] ^= 1;
            assert!(prove(&changed, digest, length(&value)).is_err(), "byte {at}");
        }
    }
}
