//! Backups as files: a document in age's format (age-encryption.org/v1), which other programs
//! open as well; shares of its secret as texts.
//!
//! Who may open it is said in one of two ways: by a passphrase, or by public keys. A file for
//! public keys can be made by anybody who knows them: it is secret, not authentic.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::{DecryptError, Decryptor, EncryptError, Encryptor, scrypt, x25519};
use bulla_keys_schema::backup::BACKUP_BYTES;
use bulla_keys_schema::key::Passphrase;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::home::{self, Existing};

/// How every file of this format begins.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// Largest backup file, in bytes: the document, and what encryption adds.
const FILE_BYTES: usize = BACKUP_BYTES + 1024 * 1024;
/// Largest file of identities or of a share, in bytes.
const SECRET_FILE_BYTES: usize = 64 * 1024;
/// Longest header, in bytes, and most recipients: each of them costs time when a file is opened.
const HEADER_BYTES: usize = 64 * 1024;
const RECIPIENTS: usize = 256;
/// How the last line of a header begins.
const HEADER_END: &[u8] = b"\n--- ";
/// log2 of scrypt's N for new files: 256 MiB of memory, and about a second.
const WORK_FACTOR: u8 = 18;
/// The same of files that are opened, at most: 1 GiB. More would let a file take the machine down.
const MAX_WORK_FACTOR: u8 = 20;
const PRIVATE: u32 = 0o600;

/// A public key of age, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| InvalidRecipient)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is no public key of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of age: age1 and 58 more characters, as age-keygen prints it")]
pub struct InvalidRecipient;

/// A private key of age.
pub struct Identity(x25519::Identity);

impl Identity {
    /// A new one, from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Reads its text, `AGE-SECRET-KEY-1...`. `None` for anything else: the text has a checksum.
    #[must_use]
    pub fn from_secret(text: &[u8]) -> Option<Self> {
        str::from_utf8(text).ok()?.parse().ok().map(Self)
    }

    /// Its text.
    #[must_use]
    pub fn to_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }

    /// Its public key.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

/// Who may open a new file.
pub enum Lock<'a> {
    /// Whoever knows the passphrase.
    Passphrase(&'a Passphrase),
    /// Whoever has the private key of one of these.
    Recipients(&'a [Recipient]),
}

/// What an existing file is opened with.
pub enum Opener<'a> {
    /// A passphrase.
    Passphrase(&'a Passphrase),
    /// Private keys, of which one may fit.
    Identities(&'a [Identity]),
}

/// What a file wants to be opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A passphrase.
    Passphrase,
    /// Private keys.
    Recipients,
}

/// Encrypts a document.
///
/// # Errors
/// There is no recipient, or there are more than 256.
pub fn encrypt(document: &[u8], lock: &Lock<'_>) -> Result<Vec<u8>, BackupFileError> {
    let encryptor = match lock {
        Lock::Recipients(recipients) if recipients.len() > RECIPIENTS => {
            return Err(BackupFileError::NotEncrypted {
                reason: format!("more than {RECIPIENTS} recipients"),
            });
        }
        Lock::Passphrase(passphrase) => {
            let mut recipient = scrypt::Recipient::new(secret_text(passphrase));
            recipient.set_work_factor(WORK_FACTOR);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        }
        Lock::Recipients(recipients) => {
            Encryptor::with_recipients(recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient))
        }
    };
    let failed = |error: io::Error| BackupFileError::NotEncrypted { reason: error.to_string() };
    let encryptor = encryptor
        .map_err(|error: EncryptError| BackupFileError::NotEncrypted { reason: error.to_string() })?;
    let mut file = Vec::with_capacity(document.len() + 1024);
    let mut writer = encryptor.wrap_output(&mut file).map_err(failed)?;
    writer.write_all(document).and_then(|()| writer.finish().map(|_| ())).map_err(failed)?;
    Ok(file)
}

/// Whether `file` begins like one of this format.
#[must_use]
pub fn is_age(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// What `file` wants to be opened with.
///
/// # Errors
/// It is no whole file of this format.
pub fn lock_kind(file: &[u8]) -> Result<LockKind, BackupFileError> {
    let decryptor = header(file)?;
    Ok(if decryptor.is_scrypt() { LockKind::Passphrase } else { LockKind::Recipients })
}

/// Decrypts `file`: all of it, or nothing.
///
/// # Errors
/// See [`BackupFileError`].
pub fn decrypt(file: &[u8], opener: &Opener<'_>) -> Result<Zeroizing<Vec<u8>>, BackupFileError> {
    let decryptor = header(file)?;
    let opened = match opener {
        Opener::Passphrase(passphrase) => {
            let mut identity = scrypt::Identity::new(secret_text(passphrase));
            identity.set_max_work_factor(MAX_WORK_FACTOR);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        }
        Opener::Identities(identities) => {
            decryptor.decrypt(identities.iter().map(|identity| &identity.0 as &dyn age::Identity))
        }
    };
    let mut reader = opened.map_err(|error| not_opened(&error, opener))?;
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut document = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut document).map_err(|_| BackupFileError::Altered)?;
    Ok(document)
}

/// Reads a backup, or whatever else may be one.
///
/// # Errors
/// The system refuses, or it is too large.
pub fn read(path: &Path) -> Result<Vec<u8>, BackupFileError> {
    read_bounded(path, FILE_BYTES).map(|(bytes, _)| bytes)
}

/// Reads a file of identities as `age-keygen` writes it.
///
/// # Errors
/// Others may read it, or there is something else in it.
pub fn read_identities(path: &Path) -> Result<Vec<Identity>, BackupFileError> {
    let (bytes, mode) = read_bounded(path, SECRET_FILE_BYTES)?;
    let bytes = Zeroizing::new(bytes);
    if mode & 0o077 != 0 {
        return Err(BackupFileError::OpenToOthers { path: path.to_owned(), mode: mode & 0o7777 });
    }
    let invalid = || BackupFileError::NoIdentities { path: path.to_owned() };
    let text = str::from_utf8(&bytes).map_err(|_| invalid())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Option<Vec<Identity>> =
        lines.map(|line| Identity::from_secret(line.as_bytes())).collect();
    identities.filter(|identities| !identities.is_empty()).ok_or_else(invalid)
}

/// Reads the text of a share.
///
/// # Errors
/// The system refuses, or it is no text.
pub fn read_share(path: &Path) -> Result<Zeroizing<String>, BackupFileError> {
    let (bytes, _) = read_bounded(path, SECRET_FILE_BYTES)?;
    let bytes = Zeroizing::new(bytes);
    let failed =
        || BackupFileError::Io { action: "read", path: path.to_owned(), reason: "it is no text".to_owned() };
    str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| failed())
}

/// Writes new files, closed to others: all of them, or none.
///
/// # Errors
/// One is there already, or the system refuses.
pub fn write_new(files: &[(PathBuf, &[u8])]) -> Result<(), BackupFileError> {
    require_absent(files.iter().map(|(path, _)| path.as_path()))?;
    for (at, (path, bytes)) in files.iter().enumerate() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let whole = folder.map_or_else(|| Path::new(".").join(path), |_| path.clone());
        if let Err(error) = home::write_whole(&whole, bytes, PRIVATE, Existing::Keep) {
            for (written, _) in files.iter().take(at) {
                // The error that led here is the one to report.
                let _ = std::fs::remove_file(written);
            }
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => BackupFileError::Exists { path: path.clone() },
                _ => io_error("write", path, &error),
            });
        }
    }
    Ok(())
}

/// Whether files can be written.
///
/// # Errors
/// One is there already.
pub fn require_absent<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), BackupFileError> {
    match paths.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(BackupFileError::Exists { path: path.to_owned() }),
        None => Ok(()),
    }
}

fn header(file: &[u8]) -> Result<Decryptor<&[u8]>, BackupFileError> {
    if !is_age(file) {
        return Err(BackupFileError::OtherFormat);
    }
    let head = file.get(..HEADER_BYTES).unwrap_or(file);
    if !head.windows(HEADER_END.len()).any(|bytes| bytes == HEADER_END) {
        return Err(BackupFileError::Altered);
    }
    Decryptor::new_buffered(file).map_err(|_| BackupFileError::Altered)
}

fn not_opened(error: &DecryptError, opener: &Opener<'_>) -> BackupFileError {
    match (error, opener) {
        (DecryptError::ExcessiveWork { required, .. }, _) => {
            BackupFileError::TooMuchWork { required: *required }
        }
        (DecryptError::DecryptionFailed, Opener::Passphrase(_)) => BackupFileError::WrongPassphrase,
        (DecryptError::NoMatchingKeys, Opener::Identities(_)) => BackupFileError::OtherRecipient,
        // A header for the other kind of opener.
        (DecryptError::NoMatchingKeys, Opener::Passphrase(_)) => BackupFileError::OtherRecipient,
        _ => BackupFileError::Altered,
    }
}

fn secret_text(passphrase: &Passphrase) -> SecretString {
    // Every passphrase was made from a text.
    SecretString::from(String::from_utf8_lossy(passphrase.as_bytes()).into_owned())
}

fn read_bounded(path: &Path, limit: usize) -> Result<(Vec<u8>, u32), BackupFileError> {
    let failed = |error: io::Error| io_error("read", path, &error);
    // A named pipe must not keep us waiting for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        let reason = "it is no file".to_owned();
        return Err(BackupFileError::Io { action: "read", path: path.to_owned(), reason });
    }
    let too_large = || BackupFileError::TooLarge { path: path.to_owned(), limit };
    let length = usize::try_from(found.len()).ok().filter(|length| *length <= limit).ok_or_else(too_large)?;
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(too_large());
    }
    Ok((bytes, found.permissions().mode()))
}

fn io_error(action: &'static str, path: &Path, error: &io::Error) -> BackupFileError {
    BackupFileError::Io { action, path: path.to_owned(), reason: error.to_string() }
}

/// Why a backup file cannot be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupFileError {
    /// Cut off, or changed by somebody.
    #[error("the backup was cut off or altered: it does not decrypt as a whole")]
    Altered,
    /// A file is in the way.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file of identities has something else in it, or nothing.
    #[error("{} does not hold identities of age, one in a line", path.display())]
    NoIdentities {
        /// The file.
        path: PathBuf,
    },
    /// It was not encrypted.
    #[error("the backup cannot be encrypted: {reason}")]
    NotEncrypted {
        /// Why.
        reason: String,
    },
    /// The private key could be read by somebody else.
    #[error("identity file {} is open to others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not begin as it should.
    #[error("not a backup: it is no file of age")]
    OtherFormat,
    /// It was made for other keys.
    #[error("the backup was made for other keys than these")]
    OtherRecipient,
    /// Too large.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read, in bytes.
        limit: usize,
    },
    /// The header asks for more work than anybody needs.
    #[error("the backup asks for 2^{required} rounds of scrypt: at most 2^{MAX_WORK_FACTOR} are done")]
    TooMuchWork {
        /// log2 of N.
        required: u8,
    },
    /// The passphrase does not open it.
    #[error("wrong passphrase for the backup, or its header was altered")]
    WrongPassphrase,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const DOCUMENT: &[u8] = b"{\"a document\": true}\n";

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    fn for_identity(identity: &Identity) -> Vec<u8> {
        encrypt(DOCUMENT, &Lock::Recipients(&[identity.recipient()])).unwrap()
    }

    #[test]
    fn opens_what_it_locked_and_nothing_else_does() {
        let (mine, other) = (Identity::generate(), Identity::generate());
        let file = for_identity(&mine);
        assert_eq!(lock_kind(&file), Ok(LockKind::Recipients));
        let again = Identity::from_secret(mine.to_secret().as_bytes()).unwrap();
        assert_eq!(**decrypt(&file, &Opener::Identities(&[other, again])).unwrap(), *DOCUMENT);
        let refused = decrypt(&file, &Opener::Identities(&[Identity::generate()]));
        assert_eq!(refused.err(), Some(BackupFileError::OtherRecipient));
        let refused = decrypt(&file, &Opener::Passphrase(&passphrase("x")));
        assert_eq!(refused.err(), Some(BackupFileError::OtherRecipient));
        assert!(matches!(encrypt(b"", &Lock::Recipients(&[])), Err(BackupFileError::NotEncrypted { .. })));
    }

    #[test]
    fn a_passphrase_opens_what_it_locked() {
        let file = encrypt(DOCUMENT, &Lock::Passphrase(&passphrase("correct horse"))).unwrap();
        assert_eq!(lock_kind(&file), Ok(LockKind::Passphrase));
        assert_eq!(**decrypt(&file, &Opener::Passphrase(&passphrase("correct horse"))).unwrap(), *DOCUMENT);
        let refused = decrypt(&file, &Opener::Passphrase(&passphrase("correct house")));
        assert_eq!(refused.err(), Some(BackupFileError::WrongPassphrase));
    }

    #[test]
    fn a_file_does_not_say_how_much_work_it_is_worth() {
        let mut recipient = scrypt::Recipient::new(secret_text(&passphrase("p")));
        recipient.set_work_factor(1);
        let encryptor =
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let mut file = Vec::new();
        encryptor.wrap_output(&mut file).unwrap().finish().unwrap();
        let line = file.windows(3).position(|bytes| bytes == b" 1\n").unwrap();
        for factor in ["21", "30", "63", "255"] {
            let mut huge = file.clone();
            huge.splice(line + 1..=line + 1, factor.bytes());
            let refused = decrypt(&huge, &Opener::Passphrase(&passphrase("p"))).err().unwrap();
            let required = factor.parse().unwrap();
            assert_eq!(refused, BackupFileError::TooMuchWork { required });
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let mine = [Identity::generate()];
        let file = for_identity(&mine[0]);
        for end in 0..file.len() {
            assert!(decrypt(&file[..end], &Opener::Identities(&mine)).is_err(), "cut at {end}");
        }
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(decrypt(&bad, &Opener::Identities(&mine)).is_err(), "changed at {at}");
        }
        let longer = [file.as_slice(), b"x"].concat();
        assert_eq!(decrypt(&longer, &Opener::Identities(&mine)).err(), Some(BackupFileError::Altered));
        for other in [&b""[..], b"PK\x03\x04", b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"{}"] {
            assert_eq!(lock_kind(other), Err(BackupFileError::OtherFormat));
        }
        assert_eq!(lock_kind(MAGIC), Err(BackupFileError::Altered));
    }

    #[test]
    fn a_header_without_end_is_not_worked_through() {
        let mine = [Identity::generate()];
        let file = for_identity(&mine[0]);
        let end = file.windows(HEADER_END.len()).position(|bytes| bytes == HEADER_END).unwrap() + 1;
        let stanza = &file[MAGIC.len()..end];
        let many = [MAGIC, &stanza.repeat(HEADER_BYTES / stanza.len() + 1), &file[end..]].concat();
        assert_eq!(lock_kind(&many), Err(BackupFileError::Altered));
        let some = [MAGIC, &stanza.repeat(9), &file[end..]].concat();
        assert_eq!(lock_kind(&some), Ok(LockKind::Recipients));
        let crowd = vec![mine[0].recipient(); RECIPIENTS];
        let file = encrypt(DOCUMENT, &Lock::Recipients(&crowd)).unwrap();
        assert_eq!(**decrypt(&file, &Opener::Identities(&mine)).unwrap(), *DOCUMENT);
        let more = vec![mine[0].recipient(); RECIPIENTS + 1];
        assert!(matches!(
            encrypt(DOCUMENT, &Lock::Recipients(&more)),
            Err(BackupFileError::NotEncrypted { .. })
        ));
    }

    #[test]
    fn identities_are_read_where_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        let text = format!("# made today\n\n{}\r\n", *Identity::generate().to_secret());
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read_identities(&path).err().unwrap();
        assert_eq!(refused, BackupFileError::OpenToOthers { path: path.clone(), mode: 0o640 });
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_identities(&path).ok().map(|all| all.len()), Some(1));
        for bad in ["", "# nothing\n", &format!("{text}AGE-PLUGIN-X\n"), &text.replace("AGE-SECRET", "AGE")] {
            fs::write(&path, bad).unwrap();
            let refused = read_identities(&path).err().unwrap();
            assert_eq!(refused, BackupFileError::NoIdentities { path: path.clone() });
        }
    }

    #[test]
    fn files_are_new_private_and_all_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        write_new(&[(one.clone(), b"1")]).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o7777, 0o600);
        let refused = write_new(&[(two.clone(), b"2"), (one.clone(), b"3")]);
        assert_eq!(refused, Err(BackupFileError::Exists { path: one.clone() }));
        assert!(!two.exists() && fs::read(&one).unwrap() == b"1");
        let link = folder.path().join("link");
        symlink(folder.path().join("nowhere"), &link).unwrap();
        assert_eq!(write_new(&[(link.clone(), b"4")]), Err(BackupFileError::Exists { path: link }));
        let away = folder.path().join("absent/three");
        assert!(matches!(write_new(&[(two.clone(), b"2"), (away, b"3")]), Err(BackupFileError::Io { .. })));
        assert!(!two.exists(), "the first of two stayed");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(BackupFileError::Io { .. })));
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(FILE_BYTES as u64 + 1).unwrap();
        assert_eq!(read(&path), Err(BackupFileError::TooLarge { path, limit: FILE_BYTES }));
    }
}
