//! The keys in a `tar` of a trust folder of docker or notary: what their manuals tell people to
//! keep, packed with gzip or not.
//!
//! Nothing is unpacked. Key files are read where they lie in the stream, each within bounds, and
//! their names say nothing about where anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Component, Path};

use bulla_keys_schema::dialect::notary1::key_id;
use bulla_keys_schema::key::{InvalidKeyFile, KeyFile, KeyFileContent, KeyName, PublicKey};
use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};
use zeroize::Zeroizing;

use crate::flow::key::{KeyError, KeyPorts};
use crate::flow::signing::UnlockError;
use crate::port::{Passphrases, StoredKey};

/// How gzip begins (RFC 1952 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How much is read in all, in bytes, once it is unpacked.
const UNPACKED_BYTES: u64 = 64 * 1024 * 1024;
/// Most entries.
const ENTRIES: usize = 20_000;
/// Most keys.
const KEYS: usize = 1_024;
/// Largest key file, in bytes; the formats' own limits are lower.
const KEY_BYTES: u64 = 64 * 1024;
/// How much of a key's id tells two of the same role apart, in characters.
const ID_PART: usize = 8;

/// A key in the folder.
pub struct FoundKey {
    /// What to call it here.
    pub name: KeyName,
    /// The id that its file is named after: notary's id of the key, as a rule.
    pub id: String,
    /// The key, as far as it is read without a passphrase.
    pub file: KeyFile,
}

impl FoundKey {
    /// The key of this home that the file holds, if it is named after one. A name alone proves
    /// nothing, so the file is opened; and who throws the tar away then needs our private half.
    ///
    /// # Errors
    /// The file, or our private half of that key, cannot be opened or read.
    pub fn known<'a>(
        &self,
        ports: KeyPorts<'_>,
        here: &'a [StoredKey],
    ) -> Result<Option<&'a StoredKey>, KeyError> {
        let is_named = |key: &&StoredKey| key_id(&key.public).as_str() == self.id;
        let mut kept = here.iter().filter(|key| key.sidecar.loaded.is_none());
        let Some(known) = kept.find(is_named) else { return Ok(None) };
        if self.public_key(ports.passphrases)? != known.public {
            return Ok(None);
        }
        ports.keys.sealed(&known.name)?;
        Ok(Some(known))
    }

    fn public_key(&self, passphrases: &dyn Passphrases) -> Result<PublicKey, KeyError> {
        match &self.file.content {
            KeyFileContent::Open(secret) => Ok(secret.public_key().clone()),
            KeyFileContent::Encrypted(encrypted) => {
                let passphrase = passphrases.existing(&self.name)?;
                let failed = |source| UnlockError::Open { name: self.name.clone(), source };
                Ok(encrypted.open(&passphrase).map_err(failed)?.public_key().clone())
            }
        }
    }
}

/// What is in such a folder.
#[derive(Default)]
pub struct Folder {
    /// Keys that can be used.
    pub keys: Vec<FoundKey>,
    /// Whole key files of kinds that cannot be used here: their paths, and why.
    pub left_out: Vec<(String, InvalidKeyFile)>,
}

/// Finds the key files in a `tar`.
///
/// # Errors
/// See [`DockerFolderError`]. One bad entry spoils the whole.
pub fn read(mut source: impl Read) -> Result<Folder, DockerFolderError> {
    let mut head = [0; GZIP.len()];
    let length = read_up_to(&mut source, &mut head)?;
    let source = head.get(..length).unwrap_or_default().chain(source);
    if head == GZIP { read_tar(GzDecoder::new(source)) } else { read_tar(source) }
}

fn read_tar(source: impl Read) -> Result<Folder, DockerFolderError> {
    let mut bounded = source.take(UNPACKED_BYTES);
    let mut archive = Archive::new(&mut bounded);
    let (mut found, mut left_out) = (BTreeMap::new(), Vec::new());
    for (count, entry) in archive.entries().map_err(not_read)?.enumerate() {
        let mut entry = entry.map_err(not_read)?;
        if count >= ENTRIES || found.len() + left_out.len() > KEYS {
            return Err(DockerFolderError::TooMany);
        }
        match key_file(&mut entry)? {
            Some((path, Ok(file))) => drop(found.insert(path, file)),
            Some((path, Err(reason))) => left_out.push((path, reason)),
            None => {}
        }
    }
    if bounded.limit() == 0 {
        return Err(DockerFolderError::TooLarge);
    }
    if found.is_empty() && left_out.is_empty() {
        return Err(DockerFolderError::NoKeys);
    }
    Ok(Folder { keys: named(found), left_out })
}

/// A path, and the key there, or why that cannot be used.
type Found = (String, Result<KeyFile, InvalidKeyFile>);

/// The key in `entry`, if its name ends like that of one.
fn key_file(entry: &mut Entry<'_, impl Read>) -> Result<Option<Found>, DockerFolderError> {
    let bytes = entry.path_bytes().into_owned();
    let shown: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
    let path = String::from_utf8(bytes).map_err(|_| DockerFolderError::Path { path: shown.clone() })?;
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(&path).components().all(plain) {
        return Err(DockerFolderError::Path { path: shown });
    }
    if Path::new(&path).extension().is_none_or(|extension| extension != "key") {
        return Ok(None);
    }
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory => return Ok(None),
        _ => return Err(DockerFolderError::NoFile { path: shown }),
    }
    if entry.size() > KEY_BYTES {
        return Err(DockerFolderError::LargeKey { path: shown });
    }
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(entry.size()).unwrap_or_default() + 1));
    entry.take(KEY_BYTES).read_to_end(&mut text).map_err(not_read)?;
    let invalid = |source| DockerFolderError::Key { path: shown.clone(), source };
    let text = str::from_utf8(&text).map_err(|_| invalid(InvalidKeyFile::Structure))?;
    match KeyFile::parse(text) {
        Ok(mut file) => {
            add_what_the_path_says(&path, &mut file);
            Ok(Some((path, Ok(file))))
        }
        Err(
            reason @ (InvalidKeyFile::Key(_)
            | InvalidKeyFile::Encryption { .. }
            | InvalidKeyFile::Pkcs1 { .. }),
        ) => Ok(Some((shown, Err(reason)))),
        Err(damaged) => Err(invalid(damaged)),
    }
}

/// Old versions of notary wrote `root_keys/ID_root.key` and `tuf_keys/GUN/ID_ROLE.key`, without
/// headers.
fn add_what_the_path_says(path: &str, file: &mut KeyFile) {
    let Some((folder, name)) = path.rsplit_once('/') else { return };
    if file.role.is_none() {
        let role = name.strip_suffix(".key").and_then(|stem| stem.rsplit_once('_')).map(|(_, role)| role);
        file.role = role.map(Into::into);
    }
    if file.gun.is_none() {
        file.gun = folder.split_once("tuf_keys/").map(|(_, gun)| gun.into());
    }
}

/// Names after roles; where two would be alike, with a part of the id.
fn named(found: BTreeMap<String, KeyFile>) -> Vec<FoundKey> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for file in found.values() {
        *uses.entry(role_name(file)).or_default() += 1;
    }
    let mut taken = BTreeSet::new();
    let mut named = Vec::new();
    for (path, file) in found {
        let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".key")).unwrap_or_default();
        let id = stem.split('_').next().unwrap_or_default().to_owned();
        let part: String = id.chars().filter(char::is_ascii_alphanumeric).take(ID_PART).collect();
        let base = role_name(&file);
        let first = if uses.get(&base) == Some(&1) { base.clone() } else { format!("{base}-{part}") };
        let names = [first, format!("docker-{part}")].into_iter();
        // Ids differ in their beginnings unless somebody made them alike.
        let names = names.chain((2..KEYS + 2).map(|count| format!("docker-{part}-{count}")));
        let name = names.filter_map(|name| name.parse::<KeyName>().ok()).find(|name| !taken.contains(name));
        if let Some(name) = name {
            taken.insert(name.clone());
            named.push(FoundKey { name, id, file });
        }
    }
    named
}

/// `root`, `targets-APP`, or the name of a signer.
fn role_name(file: &KeyFile) -> String {
    let role = file.role.as_deref().unwrap_or("docker");
    let role = role.replace('/', "-");
    let role: String =
        role.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect();
    match &file.gun {
        Some(gun) if role != "root" => {
            let last = gun.rsplit('/').next().unwrap_or_default();
            let last = last.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(12);
            format!("{role}-{}", last.collect::<String>())
        }
        _ => role,
    }
}

fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, DockerFolderError> {
    let length = buffer.len() as u64;
    let mut rest = buffer;
    let copied = io::copy(&mut source.take(length), &mut rest).map_err(not_read)?;
    Ok(usize::try_from(copied).unwrap_or_default())
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn not_read(error: io::Error) -> DockerFolderError {
    DockerFolderError::NotATar { reason: error.to_string() }
}

/// Why a file is no trust folder of docker that can be taken over.
#[derive(Debug, thiserror::Error)]
pub enum DockerFolderError {
    /// A file that is called like a key is none that can be used.
    #[error("{path:?} in it: {source}")]
    Key {
        /// Its path in the tar.
        path: String,
        /// What is wrong with it.
        source: InvalidKeyFile,
    },
    /// A file that is called like a key is far larger than one.
    #[error("{path:?} in it is larger than 65536 bytes")]
    LargeKey {
        /// Its path in the tar.
        path: String,
    },
    /// What is called like a key is a link, or another thing that is no file.
    #[error("{path:?} in it is no file, but a link or a device")]
    NoFile {
        /// Its path in the tar.
        path: String,
    },
    /// There is no key in it.
    #[error("no key file is in it")]
    NoKeys,
    /// It is neither.
    #[error("neither a backup nor a tar file: {reason}")]
    NotATar {
        /// What the reader said.
        reason: String,
    },
    /// A path leads out of the folder.
    #[error("it names a path that leads out of its folder: {path:?}")]
    Path {
        /// The path.
        path: String,
    },
    /// Unpacked, it does not end.
    #[error("unpacked, it is larger than 64 MiB")]
    TooLarge,
    /// More entries than any such folder has.
    #[error("it has more than 20000 entries, or more than 1024 keys")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    const CAROL: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/docker-carol.pem");
    const TARGETS: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/notary-targets.pem");
    const RSA: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/openssl-rsa.pem");
    const ID: &str = "f9b8d0308a3079ae5ce92b7ba59a715bec24f04460082d0ff08a9d5c0cb20b8c";

    /// A tar of entries: path, kind, content.
    fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = Header::new_ustar();
            // `set_path` refuses what a hostile writer does not.
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            if *kind == EntryType::Symlink || *kind == EntryType::Link {
                header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/shadow");
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn refused(entries: &[(&str, EntryType, &[u8])]) -> DockerFolderError {
        read(tar(entries).as_slice()).err().unwrap()
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.keys.iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn keys_are_found_wherever_the_folder_lies_packed_or_not() {
        let one = format!("root/.docker/trust/private/{ID}.key");
        let entries = [
            ("root/.docker/trust/private/", EntryType::Directory, &b""[..]),
            (one.as_str(), EntryType::Regular, CAROL.as_bytes()),
            ("root/.docker/trust/tuf/a.b/c/metadata/root.json", EntryType::Regular, b"{}"),
            ("root/.docker/trust/link", EntryType::Symlink, b""),
        ];
        let plain = tar(&entries);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&plain).unwrap();
        for bytes in [plain, packed.finish().unwrap()] {
            let folder = read(bytes.as_slice()).unwrap();
            assert_eq!(names(&folder), ["carol"]);
            assert_eq!((folder.keys[0].id.as_str(), folder.left_out.len()), (ID, 0));
        }
    }

    #[test]
    fn no_two_keys_get_one_name() {
        let file = |path: &'static str| (path, EntryType::Regular, CAROL.as_bytes());
        let folder =
            read(tar(&[file("aaaaaaaa1.key"), file("bbbbbbbb1.key"), file("x/bbbbbbbb2.key")]).as_slice());
        let folder = folder.unwrap();
        assert_eq!(names(&folder), ["carol-aaaaaaaa", "carol-bbbbbbbb", "docker-bbbbbbbb"]);
        let gun = [("a.key", EntryType::Regular, TARGETS.as_bytes())];
        assert_eq!(names(&read(tar(&gun).as_slice()).unwrap()), ["targets-app"]);
    }

    #[test]
    fn old_folders_say_in_paths_what_keys_are_for() {
        let plain =
            include_bytes!("../../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem").as_slice();
        let folder = read(
            tar(&[
                ("private/root_keys/aa_root.key", EntryType::Regular, plain),
                ("private/tuf_keys/docker.com/notary/app/bb_targets.key", EntryType::Regular, plain),
            ])
            .as_slice(),
        );
        let folder = folder.unwrap();
        assert_eq!(names(&folder), ["root", "targets-app"]);
        let file = &folder.keys[1].file;
        assert_eq!(
            (file.role.as_deref(), file.gun.as_deref()),
            (Some("targets"), Some("docker.com/notary/app"))
        );
        assert_eq!(folder.keys[0].id, "aa");
    }

    #[test]
    fn keys_that_cannot_be_used_are_left_out_and_damaged_ones_spoil_all() {
        let carol = ("a.key", EntryType::Regular, CAROL.as_bytes());
        let folder = read(tar(&[carol, ("b.key", EntryType::Regular, RSA.as_bytes())]).as_slice()).unwrap();
        assert_eq!((names(&folder), folder.left_out[0].0.as_str()), (vec!["carol"], "b.key"));
        for bad in [&CAROL.as_bytes()[..90], b"", b"\xff\xfe", b"hello"] {
            let refused = refused(&[carol, ("b.key", EntryType::Regular, bad)]);
            assert!(matches!(refused, DockerFolderError::Key { .. }), "{refused}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for path in ["../a.key", "private/../../a.key", "/etc/a.key", "../x"] {
            let refused = refused(&[(path, EntryType::Regular, CAROL.as_bytes())]);
            assert!(matches!(refused, DockerFolderError::Path { .. }), "{path}: {refused}");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
            let refused = refused(&[("a.key", kind, b"")]);
            assert!(matches!(refused, DockerFolderError::NoFile { .. }), "{kind:?}: {refused}");
        }
    }

    #[test]
    fn what_is_huge_is_not_read() {
        let large = vec![b' '; usize::try_from(KEY_BYTES).unwrap() + 1];
        let refused = refused(&[("a.key", EntryType::Regular, &large)]);
        assert!(matches!(refused, DockerFolderError::LargeKey { .. }), "{refused}");
        let many: Vec<_> = (0..=ENTRIES).map(|_| ("d/", EntryType::Directory, &b""[..])).collect();
        assert!(matches!(read(tar(&many).as_slice()), Err(DockerFolderError::TooMany)));
        let keys: Vec<String> = (0..KEYS + 2).map(|at| format!("{at}.key")).collect();
        let keys: Vec<_> =
            keys.iter().map(|path| (path.as_str(), EntryType::Regular, CAROL.as_bytes())).collect();
        assert!(matches!(read(tar(&keys).as_slice()), Err(DockerFolderError::TooMany)));
        // A few kilobytes that unpack to more than memory.
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 33);
        header.set_cksum();
        bomb.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..80 {
            bomb.write_all(&zeros).unwrap();
        }
        assert!(read(bomb.finish().unwrap().as_slice()).is_err());
    }

    #[test]
    fn other_files_are_no_tar() {
        for bytes in [&b""[..], b"hello", &[0x1f, 0x8b, 0, 0], &[b'x'; 2048]] {
            let refused = read(bytes).err().unwrap();
            let said = matches!(refused, DockerFolderError::NotATar { .. } | DockerFolderError::NoKeys);
            assert!(said, "{refused}");
        }
        let cut = tar(&[("a.key", EntryType::Regular, CAROL.as_bytes())]);
        assert!(read(&cut[..600]).is_err());
        assert!(matches!(refused(&[("readme", EntryType::Regular, b"x")]), DockerFolderError::NoKeys));
    }
}
