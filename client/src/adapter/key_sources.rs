//! Private keys in variables of the environment, and in files that only their owner can read.

use std::ffi::OsString;
use std::fs::{File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use bulla_keys_schema::key::{InvalidKeyText, KeySource, KeyText};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::unattended::Lookup;
use crate::port::{KeySourceError, KeySources};

/// The environment and the file system.
pub struct Surroundings {
    lookup: Lookup,
}

impl Surroundings {
    /// Asks the environment through `lookup`.
    #[must_use]
    pub const fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    fn variable(&self, name: &str) -> Result<Zeroizing<String>, KeySourceError> {
        let variable = || name.to_owned();
        let value =
            (self.lookup)(name).ok_or_else(|| KeySourceError::UnsetVariable { variable: variable() })?;
        let text = OsString::into_string(value).map(Zeroizing::new);
        let text = text.map_err(|_| KeySourceError::NoText { place: format!("the variable {name}") })?;
        if text.trim_ascii().is_empty() {
            return Err(KeySourceError::EmptyVariable { variable: variable() });
        }
        Ok(text)
    }
}

impl KeySources for Surroundings {
    fn read(&self, source: &KeySource) -> Result<KeyText, KeySourceError> {
        let text = match source {
            KeySource::Variable(name) => self.variable(name)?,
            KeySource::File(path) => file(Path::new(&**path))?,
        };
        KeyText::parse(&text).map_err(|reason| KeySourceError::Invalid { place: source.to_string(), reason })
    }
}

/// The text of a regular file, closed to others, and no larger than any keys are.
fn file(path: &Path) -> Result<Zeroizing<String>, KeySourceError> {
    let failed =
        |error: io::Error| KeySourceError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    // A named pipe must not keep us waiting for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let found = opened.metadata().map_err(failed)?;
    if let Some(found) = other_than_file(found.file_type()) {
        return Err(KeySourceError::NoFile { path: path.to_owned(), found });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeySourceError::OpenToOthers { path: path.to_owned(), mode });
    }
    let limit = KeyText::LIMIT;
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX).min(limit);
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 2));
    if found.len() <= limit as u64 {
        opened.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if found.len() > limit as u64 || bytes.len() > limit {
        let reason = InvalidKeyText::TooLarge { limit };
        return Err(KeySourceError::Invalid { place: path.display().to_string(), reason });
    }
    let text = str::from_utf8(&bytes);
    let text = text.map_err(|_| KeySourceError::NoText { place: path.display().to_string() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn other_than_file(found: FileType) -> Option<&'static str> {
    match found {
        found if found.is_file() => None,
        found if found.is_dir() => Some("a folder"),
        found if found.is_fifo() => Some("a named pipe"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    const SEC1: &str = include_str!("../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem");

    fn surroundings() -> Surroundings {
        Surroundings::new(Box::new(|name| {
            let value = match name {
                "PEM" => SEC1,
                "EMPTY" => " \n",
                "GARBAGE" => "Z2FyYmFnZQ==",
                _ => return None,
            };
            Some(value.into())
        }))
    }

    fn variable(name: &str) -> Result<KeyText, KeySourceError> {
        surroundings().read(&KeySource::variable(name).unwrap())
    }

    fn read(path: &Path) -> Result<KeyText, KeySourceError> {
        surroundings().read(&KeySource::file(path.to_str().unwrap()).unwrap())
    }

    #[test]
    fn reads_variables_and_says_what_is_wrong_with_them() {
        assert_eq!(variable("PEM").unwrap().keys.len(), 1);
        let named = |variable: &str| variable.to_owned();
        for (name, expected) in [
            ("ABSENT", KeySourceError::UnsetVariable { variable: named("ABSENT") }),
            ("EMPTY", KeySourceError::EmptyVariable { variable: named("EMPTY") }),
            (
                "GARBAGE",
                KeySourceError::Invalid {
                    place: named("the variable GARBAGE"),
                    reason: InvalidKeyText::Base64OfNoKey,
                },
            ),
        ] {
            assert_eq!(variable(name).err(), Some(expected));
        }
    }

    #[test]
    fn reads_closed_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, SEC1).unwrap();
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = read(&path).err().unwrap();
            assert_eq!(refused, KeySourceError::OpenToOthers { path: path.clone(), mode });
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read(&path).unwrap().keys.len(), 1);
        for (path, found) in [(folder.path(), "a folder"), (Path::new("/dev/null"), "a device")] {
            assert_eq!(read(path).err(), Some(KeySourceError::NoFile { path: path.to_owned(), found }));
        }
        let absent = read(&folder.path().join("absent")).err().unwrap();
        assert!(matches!(absent, KeySourceError::Unreadable { .. }), "{absent}");
    }

    #[test]
    fn waits_for_nobody_and_reads_no_more_than_a_key_has() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        let expected = KeySourceError::NoFile { path: pipe.clone(), found: "a named pipe" };
        assert_eq!(read(&pipe).err(), Some(expected));
        let large = folder.path().join("large");
        let file = File::options().create_new(true).write(true).mode(0o600).open(&large).unwrap();
        for length in [KeyText::LIMIT as u64 + 1, 1 << 40] {
            file.set_len(length).unwrap();
            let refused = read(&large).err().unwrap();
            let reason = InvalidKeyText::TooLarge { limit: KeyText::LIMIT };
            assert_eq!(refused, KeySourceError::Invalid { place: large.display().to_string(), reason });
        }
    }
}
