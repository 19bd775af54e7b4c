//! The fields of records and rows. Integers are little-endian, texts carry a two-byte length,
//! lists a four-byte count. Reading checks every length and never panics: the bytes may come
//! from a damaged disk.

use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::time::UtcTime;

use crate::store::LastVersions;

/// The bytes are no record or row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of this format")]
pub(super) struct Undecodable;

/// Appends fields.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Names and actors are bounded far below 64 KiB before they come here.
    pub(super) fn text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.bytes(&length.to_le_bytes());
        self.bytes(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn time(&mut self, time: UtcTime) {
        self.bytes(&time.unix_seconds().to_le_bytes());
    }

    pub(super) fn last_versions(&mut self, last: LastVersions) {
        self.u64(last.timestamp.get());
        self.u64(last.snapshot.get());
    }
}

/// Takes fields off the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    read: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: 0 }
    }

    /// Bytes taken so far.
    pub(super) const fn taken(&self) -> usize {
        self.read
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Undecodable> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Undecodable)?;
        self.rest = rest;
        self.read += count;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        self.take(N)?.try_into().map_err(|_| Undecodable)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Undecodable> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Undecodable> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Undecodable> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Undecodable> {
        let length = u16::from_le_bytes(self.array()?);
        str::from_utf8(self.take(usize::from(length))?).map_err(|_| Undecodable)
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, Undecodable> {
        self.text()?.parse().map_err(|_| Undecodable)
    }

    pub(super) fn version(&mut self) -> Result<Version, Undecodable> {
        Version::new(self.u64()?).ok_or(Undecodable)
    }

    pub(super) fn last_versions(&mut self) -> Result<LastVersions, Undecodable> {
        Ok(LastVersions { timestamp: self.version()?, snapshot: self.version()? })
    }

    pub(super) fn time(&mut self) -> Result<UtcTime, Undecodable> {
        UtcTime::from_unix_seconds(i64::from_le_bytes(self.array()?)).map_err(|_| Undecodable)
    }
}
