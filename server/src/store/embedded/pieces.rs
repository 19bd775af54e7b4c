//! Values that are read again while somebody takes them, perhaps slowly: no file stays open and
//! nothing stays in memory for him, and a file that was changed meanwhile never passes for whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// A file that is opened for each read: a client that asks for many values and takes none must
/// not use up the files that a process may have open.
pub(super) struct FileAgain {
    path: PathBuf,
    offset: u64,
}

/// So many bytes with this digest, or an error in place of the last of them.
pub(super) struct Compared<R> {
    from: R,
    left: u64,
    hasher: Sha256,
    digest: Sha256Digest,
}

impl FileAgain {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }
}

impl Read for FileAgain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = File::open(&self.path)?.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

impl<R: Read> Compared<R> {
    pub(super) fn new(from: R, length: u64, digest: Sha256Digest) -> Self {
        Self { from, left: length, hasher: Sha256::new(), digest }
    }
}

impl<R: Read> Read for Compared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let room = buffer.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        let count = self.from.read(room)?;
        let read = room.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hasher.update(read);
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        if self.left == 0 && Sha256Digest::from_bytes(self.hasher.clone().finalize().into()) != self.digest {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the value was changed while it was read",
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn compared(bytes: &[u8], length: u64) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut taken = Vec::new();
        let result = Compared::new(bytes, length, Sha256Digest::of(b"0123456789")).read_to_end(&mut taken);
        (taken, result.err().map(|error| error.kind()))
    }

    #[test]
    fn only_the_right_bytes_come_to_their_end() {
        assert_eq!(compared(b"0123456789", 10), (b"0123456789".to_vec(), None));
        assert_eq!(compared(b"0123456789 and more", 10), (b"0123456789".to_vec(), None));
        assert_eq!(compared(b"012345678", 10).1, Some(io::ErrorKind::UnexpectedEof));
        for (bytes, length) in [(&b"0123456780"[..], 10), (b"1123456789", 10), (b"0123456789", 9)] {
            assert_eq!(compared(bytes, length), (Vec::new(), Some(io::ErrorKind::InvalidData)));
        }
        // Whatever was handed out before, the last piece is not.
        let mut pieces = Compared::new(&b"x123456789"[..], 10, Sha256Digest::of(b"0123456789"));
        let mut piece = [0; 4];
        assert_eq!(pieces.read(&mut piece).unwrap(), 4);
        assert_eq!(pieces.read(&mut piece).unwrap(), 4);
        assert!(pieces.read(&mut piece).is_err());
    }

    #[test]
    fn a_file_is_read_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"0123456789").unwrap();
        let mut file = FileAgain::new(path.clone());
        let mut piece = [0; 4];
        assert_eq!(file.read(&mut piece).unwrap(), 4);
        fs::remove_file(&path).unwrap();
        assert!(file.read(&mut piece).is_err(), "it is not open");
        fs::write(&path, b"abcdefghij").unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "efghij");
    }
}
