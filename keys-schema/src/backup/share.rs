//! The secret of a backup in the hands of several: any `k` of `n` shares bring it back, fewer
//! say nothing about it (Shamir, over GF(2^8)).
//!
//! A share is a small text, so that it can be printed. Each names its backup and carries a
//! checksum, so that a damaged one, one of another backup, and one too few are told apart.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::str::FromStr;

use rand_core::{TryCryptoRng, TryRng};
use subtle::ConstantTimeEq as _;
use vsss_rs::Gf256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::backup::BackupId;
use crate::digest::Sha256Digest;

/// Most shares of one secret.
pub const MAX_SHARES: u8 = 100;
/// Largest text read, in bytes.
const TEXT_BYTES: usize = 4096;
/// Longest secret, in bytes.
const SECRET_BYTES: usize = 512;
/// The first line of every share.
const TITLE: &str = "bulla backup share, version 1";
/// How much of the digest stands in the text, in bytes: enough against slips of whoever copies
/// it by hand. It is no defence against forgery.
const CHECKSUM_BYTES: usize = 8;
/// How many bytes one random number of the splitting takes.
const WORD: usize = 4;

/// One share. Holds a part of a secret: no `Debug`, no `Clone`.
pub struct Share {
    backup: BackupId,
    index: u8,
    split: Split,
    part: Zeroizing<Vec<u8>>,
}

/// Into how many shares, and how many of them bring the secret back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    count: u8,
    threshold: u8,
}

impl Split {
    /// `threshold` of `count`.
    ///
    /// # Errors
    /// Not `2 <= threshold <= count <= 100`: one share that is enough is the secret itself.
    pub const fn new(count: u8, threshold: u8) -> Result<Self, InvalidSplit> {
        if threshold < 2 || threshold > count || count > MAX_SHARES {
            return Err(InvalidSplit { count, threshold });
        }
        Ok(Self { count, threshold })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.count
    }

    /// How many bring the secret back.
    #[must_use]
    pub const fn threshold(self) -> u8 {
        self.threshold
    }
}

/// Such a split is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{threshold} of {count} shares: there must be 2 to {MAX_SHARES}, and at least 2 of them to open the backup"
)]
pub struct InvalidSplit {
    /// How many shares were asked for.
    pub count: u8,
    /// How many of them should be enough.
    pub threshold: u8,
}

impl Share {
    /// The backup that it is for.
    #[must_use]
    pub const fn backup(&self) -> BackupId {
        self.backup
    }

    /// Which one it is, from 1 on.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// How many there are, and how many are needed.
    #[must_use]
    pub const fn split(&self) -> Split {
        self.split
    }

    /// Reads the text of a share. Space at the ends of lines, and lines that end as on other
    /// systems, are no fault.
    ///
    /// # Errors
    /// See [`InvalidShare`].
    pub fn parse(text: &str) -> Result<Self, InvalidShare> {
        if text.len() > TEXT_BYTES {
            return Err(InvalidShare::NotAShare);
        }
        let mut lines = text.trim().lines().map(str::trim_end);
        if lines.next() != Some(TITLE) {
            return Err(InvalidShare::NotAShare);
        }
        let mut member = |name: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim_start).ok_or(InvalidShare::Damaged { what: name })
        };
        let (backup, share, threshold) = (member("backup")?, member("share")?, member("threshold")?);
        let (part, checksum) = (member("part")?, member("checksum")?);
        if lines.next().is_some() {
            return Err(InvalidShare::Damaged { what: "end" });
        }
        let (index, count) = share.split_once(" of ").ok_or(InvalidShare::Damaged { what: "share" })?;
        let (index, count) = (number(index, "share")?, number(count, "share")?);
        let split = Split::new(count, number(threshold, "threshold")?)
            .map_err(|_| InvalidShare::Damaged { what: "threshold" })?;
        let share = Self {
            backup: backup.parse().map_err(|_| InvalidShare::Damaged { what: "backup" })?,
            index: Some(index)
                .filter(|index| (1..=count).contains(index))
                .ok_or(InvalidShare::Damaged { what: "share" })?,
            split,
            part: Zeroizing::new(hex::decode(part).map_err(|_| InvalidShare::Damaged { what: "part" })?),
        };
        let fits = checksum.as_bytes().ct_eq(share.checksum().as_bytes());
        if !bool::from(fits) || share.part.is_empty() || share.part.len() > SECRET_BYTES {
            return Err(InvalidShare::Damaged { what: "checksum" });
        }
        Ok(share)
    }

    /// The text, with its last line end.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = self.body();
        // Writing to a String does not fail.
        let _ = writeln!(text, "checksum: {}", self.checksum());
        text
    }

    fn body(&self) -> Zeroizing<String> {
        // With room for all of it: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * self.part.len() + 512));
        let Split { count, threshold } = self.split;
        let _ = writeln!(text, "{TITLE}\nbackup: {}", self.backup);
        let _ = writeln!(text, "share: {} of {count}\nthreshold: {threshold}", self.index);
        text.push_str("part: ");
        for byte in self.part.iter() {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        text
    }

    fn checksum(&self) -> String {
        let digest = Sha256Digest::of(self.body().as_bytes());
        digest.as_bytes().iter().take(CHECKSUM_BYTES).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn number(text: &str, what: &'static str) -> Result<u8, InvalidShare> {
    // One number has one text.
    let number = u8::from_str(text).ok().filter(|number| number.to_string() == text);
    number.ok_or(InvalidShare::Damaged { what })
}

/// How many random bytes [`split`] needs for a secret of `length` bytes.
#[must_use]
pub const fn random_bytes_to_split(length: usize, split: Split) -> usize {
    length * (split.threshold as usize) * WORD
}

/// Splits `secret` with `randomness`, which is used for nothing else: as many bytes as
/// [`random_bytes_to_split`] says. `None` if it is too short, or the secret empty or longer
/// than 512 bytes.
#[must_use]
pub fn split(secret: &[u8], backup: BackupId, split: Split, randomness: &[u8]) -> Option<Vec<Share>> {
    if secret.len() > SECRET_BYTES {
        return None;
    }
    let mut drawn = Drawn { words: randomness.chunks_exact(WORD), is_short: false };
    let parts = Gf256::split_bytes(split.threshold.into(), split.count.into(), secret, &mut drawn);
    let mut parts = parts.ok()?;
    let is_short = drawn.is_short;
    let shares = parts.iter_mut().filter_map(|part| {
        // In front stands which one it is.
        let (index, values) = part.split_first()?;
        let share = Share { backup, index: *index, split, part: Zeroizing::new(values.to_vec()) };
        part.zeroize();
        Some(share)
    });
    let shares: Vec<Share> = shares.collect();
    (!is_short && shares.len() == usize::from(split.count)).then_some(shares)
}

/// Puts the secret together again, from as many shares as are needed or more. Whether it is
/// the right one is not known here: shares have checksums, and a forged one has a right one.
///
/// # Errors
/// See [`JoinError`].
pub fn join(shares: &[Share]) -> Result<Zeroizing<Vec<u8>>, JoinError> {
    let first = shares.first().ok_or(JoinError::TooFew { given: 0, threshold: 2 })?;
    let mut seen = BTreeSet::new();
    for share in shares {
        if share.backup != first.backup {
            return Err(JoinError::Mixed { one: first.backup, other: share.backup });
        }
        if share.split != first.split || share.part.len() != first.part.len() {
            return Err(JoinError::Contradiction { one: first.index, other: share.index });
        }
        if !seen.insert(share.index) {
            return Err(JoinError::Twice { index: share.index });
        }
    }
    let threshold = first.split.threshold;
    if shares.len() < usize::from(threshold) {
        return Err(JoinError::TooFew { given: shares.len(), threshold });
    }
    let parts = shares.iter().map(|share| {
        let mut part = Vec::with_capacity(share.part.len() + 1);
        part.push(share.index);
        part.extend_from_slice(&share.part);
        part
    });
    let parts: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(parts.collect());
    let secret = Gf256::combine_bytes(parts.as_slice());
    // Everything that can go wrong there was looked at above.
    secret.map(Zeroizing::new).map_err(|_| JoinError::Contradiction { one: first.index, other: first.index })
}

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShare {
    /// A line is missing, says something impossible, or the checksum does not fit.
    #[error("the share is damaged: its {what} is not as it was written")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// It does not begin like one.
    #[error("not a share of a backup")]
    NotAShare,
}

/// Why shares bring no secret back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// They name one backup, and cannot both be of it.
    #[error("shares {one} and {other} contradict each other: one of them was made up")]
    Contradiction {
        /// The index of one.
        one: u8,
        /// That of the other.
        other: u8,
    },
    /// They are of different backups.
    #[error("the shares are of different backups: {one} and {other}")]
    Mixed {
        /// One backup.
        one: BackupId,
        /// The other.
        other: BackupId,
    },
    /// More are needed.
    #[error("{given} of {threshold} needed shares")]
    TooFew {
        /// How many there are.
        given: usize,
        /// How many are needed.
        threshold: u8,
    },
    /// One was given twice.
    #[error("share {index} is given twice")]
    Twice {
        /// Which one.
        index: u8,
    },
}

/// Random numbers that were drawn before: the core has no source of its own.
struct Drawn<'a> {
    words: std::slice::ChunksExact<'a, u8>,
    is_short: bool,
}

impl Drawn<'_> {
    /// Zeros after the end, which is noted: nothing may be made from them.
    fn next(&mut self) -> [u8; WORD] {
        let word = self.words.next().and_then(|word| word.try_into().ok());
        self.is_short |= word.is_none();
        word.unwrap_or_default()
    }
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.next()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(u32::from_le_bytes(self.next())) << 32 | u64::from(u32::from_le_bytes(self.next())))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        for chunk in buffer.chunks_mut(WORD) {
            for (byte, drawn) in chunk.iter_mut().zip(self.next()) {
                *byte = drawn;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"AGE-SECRET-KEY-1QQPQQ";
    const ID: BackupId = BackupId([0x5c; 16]);

    fn randomness(seed: u64, length: usize) -> Vec<u8> {
        let hash = |at: usize| *Sha256Digest::of(format!("{seed} {at}").as_bytes()).as_bytes();
        (0..length.div_ceil(32)).flat_map(hash).take(length).collect()
    }

    fn shares(id: BackupId, count: u8, threshold: u8) -> Vec<Share> {
        let sizes = Split::new(count, threshold).unwrap();
        split(SECRET, id, sizes, &randomness(7, random_bytes_to_split(SECRET.len(), sizes))).unwrap()
    }

    fn again(share: &Share) -> Share {
        Share::parse(&share.to_text()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn as_many_as_are_needed_bring_the_secret_back() {
        let all = shares(ID, 5, 3);
        assert_eq!(all.iter().map(Share::index).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        for chosen in [vec![0, 1, 2], vec![4, 2, 0], vec![1, 3, 4], vec![0, 1, 2, 3, 4]] {
            let some: Vec<Share> = chosen.iter().map(|at| again(&all[*at])).collect();
            assert_eq!(**join(&some).unwrap(), *SECRET, "{chosen:?}");
        }
        assert_eq!(join(&all[..2]).err(), Some(JoinError::TooFew { given: 2, threshold: 3 }));
        assert_eq!(join(&[]).err(), Some(JoinError::TooFew { given: 0, threshold: 2 }));
        for (count, threshold) in [(2, 2), (MAX_SHARES, 2), (MAX_SHARES, MAX_SHARES)] {
            let all = shares(ID, count, threshold);
            assert_eq!(**join(&all[..threshold.into()]).unwrap(), *SECRET);
        }
    }

    #[test]
    fn one_share_says_nothing() {
        // Over all random numbers, each byte of one share takes each value equally often, zero and
        // even numbers too: with coefficients that are never 0, one value would be missing.
        let sizes = Split::new(2, 2).unwrap();
        let mut counts = [0_u32; 256];
        for byte in 0..=255 {
            let mut random = vec![0; random_bytes_to_split(1, sizes)];
            random[0] = byte;
            let all = split(b"s", ID, sizes, &random).unwrap();
            counts[usize::from(all[0].part[0])] += 1;
        }
        assert_eq!(counts, [1; 256]);
    }

    #[test]
    fn randomness_is_never_made_up() {
        let sizes = Split::new(3, 2).unwrap();
        let enough = randomness(1, random_bytes_to_split(SECRET.len(), sizes));
        assert!(split(SECRET, ID, sizes, &enough).is_some());
        assert!(split(SECRET, ID, sizes, &enough[..SECRET.len() * WORD - 1]).is_none());
        assert!(split(SECRET, ID, sizes, &[]).is_none());
        assert!(split(b"", ID, sizes, &enough).is_none());
        let long = vec![1; SECRET_BYTES + 1];
        assert!(split(&long, ID, sizes, &randomness(1, random_bytes_to_split(long.len(), sizes))).is_none());
    }

    #[test]
    fn impossible_splits_are_refused() {
        for (count, threshold) in [(0, 0), (1, 1), (3, 1), (2, 3), (MAX_SHARES + 1, 2), (255, 255)] {
            assert_eq!(Split::new(count, threshold), Err(InvalidSplit { count, threshold }));
        }
    }

    #[test]
    fn shares_of_others_and_twice_the_same_are_told_apart() {
        let (all, others) = (shares(ID, 3, 2), shares(BackupId([1; 16]), 3, 2));
        let mixed = [again(&all[0]), again(&others[1])];
        assert_eq!(join(&mixed).err(), Some(JoinError::Mixed { one: ID, other: BackupId([1; 16]) }));
        let twice = [again(&all[1]), again(&all[1])];
        assert_eq!(join(&twice).err(), Some(JoinError::Twice { index: 2 }));
        let other_split = [again(&all[0]), again(&shares(ID, 4, 2)[1])];
        assert_eq!(join(&other_split).err(), Some(JoinError::Contradiction { one: 1, other: 2 }));
        let mut forged = [again(&all[0]), again(&all[1])];
        forged[1].part[0] ^= 1;
        assert_ne!(**join(&forged).unwrap(), *SECRET);
    }

    #[test]
    fn every_slip_in_the_text_is_noticed() {
        let text = shares(ID, 5, 3)[1].to_text();
        assert!(text.starts_with("bulla backup share, version 1\nbackup: 5c5c"));
        for (at, old) in text.trim_end().char_indices().filter(|(_, c)| !c.is_whitespace()) {
            for new in ['0', '1', 'x'].into_iter().filter(|new| *new != old) {
                let mut slip = text.to_string();
                slip.replace_range(at..at + old.len_utf8(), &new.to_string());
                assert!(Share::parse(&slip).is_err(), "{old} -> {new} at {at}");
            }
        }
        for end in 0..text.trim_end().len() {
            assert!(Share::parse(&text[..end]).is_err(), "cut at {end}");
        }
        let forgiven = format!("\n{}  \r\n\r\n", text.trim_end().replace('\n', " \r\n"));
        assert!(Share::parse(&forgiven).is_ok());
        assert_eq!(Share::parse("").err(), Some(InvalidShare::NotAShare));
        let longer = format!("{}more\n", *text);
        assert_eq!(Share::parse(&longer).err(), Some(InvalidShare::Damaged { what: "end" }));
    }
}
