//! `bulla key`

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{KeyAlgorithm, KeyFile, KeyName, Protection};
use clap::{Subcommand, ValueEnum};
use zeroize::Zeroizing;

use super::signer::UnusableFile;
use super::{Context, say_dry_run};
use crate::flow::key::{change_passphrase, generate, import, require_free};
use crate::report::{KeyReport, KeysReport};

/// Largest key file read, in bytes; the formats' own limits are lower.
const KEY_FILE_BYTES: u64 = 64 * 1024;

/// Make and keep signing keys
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a key, protected by a passphrase
    Generate {
        /// Its name in this home
        name: KeyName,
        /// What kind of key
        #[arg(long, value_enum, default_value_t)]
        algorithm: Algorithm,
        /// Only check that the name is free
        #[arg(long)]
        dry_run: bool,
    },
    /// Take over a key of docker, notary, cosign or openssl, under a new passphrase
    ///
    /// Reads PKCS#8, EC and cosign's key files in PEM, encrypted or not. The file stays as it is.
    Import {
        /// The key file
        file: PathBuf,
        /// Its name in this home [default: as the file is named, or the role in it]
        #[arg(long)]
        name: Option<KeyName>,
        /// File with the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Only read the file, and check that the name is free
        #[arg(long)]
        dry_run: bool,
    },
    /// List the keys of this home
    List,
    /// Show one key; nothing secret
    Show {
        /// Its name
        name: KeyName,
    },
    /// Print the public key as PEM
    Export {
        /// Its name
        name: KeyName,
    },
    /// Change the passphrase of a key
    Passwd {
        /// Its name
        name: KeyName,
        /// File with the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Only check that the key is there
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a key for ever
    Remove {
        /// Its name
        name: KeyName,
        /// Only check that the key is there
        #[arg(long)]
        dry_run: bool,
    },
}

/// Algorithms that keys can be made of.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Algorithm {
    /// Read by every TUF client, and by cosign
    #[default]
    EcdsaP256,
    /// Smaller and faster
    Ed25519,
}

impl From<Algorithm> for KeyAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EcdsaP256 => Self::EcdsaP256,
            Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::Generate { name, algorithm, dry_run } => make(context, &name, algorithm.into(), dry_run),
            Self::Import { file, name, new_passphrase_file, dry_run } => {
                take_over(context, &file, name, new_passphrase_file, dry_run)
            }
            Self::List => {
                let keys = context.settings.local(None).ports().keys.list()?;
                Ok(output.answer(&KeysReport::new(&keys))?)
            }
            Self::Show { name } => {
                let key = context.settings.local(None).ports().keys.find(&name)?;
                Ok(output.answer(&KeyReport::from(&key))?)
            }
            Self::Export { name } => {
                let key = context.settings.local(None).ports().keys.find(&name)?;
                if output.is_json() {
                    return Ok(output.answer(&KeyReport::from(&key))?);
                }
                Ok(output.raw(key.public.to_pem().as_bytes())?)
            }
            Self::Passwd { name, new_passphrase_file, dry_run } => {
                let local = context.settings.local(new_passphrase_file);
                let key = match dry_run {
                    true => local.ports().keys.find(&name)?,
                    false => change_passphrase(local.ports(), &name)?,
                };
                say_dry_run(output, dry_run);
                Ok(output.answer(&KeyReport::from(&key))?)
            }
            Self::Remove { name, dry_run } => remove(context, &name, dry_run),
        }
    }
}

fn make(context: &Context, name: &KeyName, algorithm: KeyAlgorithm, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    if dry_run {
        require_free(local.ports().keys, name)?;
        say_dry_run(context.output, true);
        return Ok(());
    }
    let key = generate(local.ports(), name, algorithm)?;
    context.output.answer(&KeyReport::from(&key))?;
    if let Some(path) = local.ports().keys.public_path(name) {
        context.output.say(&format!("public key: {}", path.display()));
    }
    context.output.say("keep a copy of the key files: a lost key cannot be made again");
    Ok(())
}

fn take_over(
    context: &Context,
    path: &Path,
    name: Option<KeyName>,
    new_passphrase_file: Option<PathBuf>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let output = context.output;
    let (file, mode) = read(path)?;
    let Some(name) = name.or_else(|| name_for(path, &file)) else {
        return Err(NoName { path: path.to_owned() }.into());
    };
    let local = context.settings.local(new_passphrase_file);
    require_free(local.ports().keys, &name)?;
    if let Some(role) = &file.role {
        let of = file.gun.as_ref().map(|gun| format!(" of {gun}")).unwrap_or_default();
        output.say(&format!("the file says that this is the key for {role}{of}"));
    }
    let weakness = weakness(file.protection, mode);
    if dry_run {
        say_dry_run(output, true);
    } else {
        let key = import(local.ports(), &name, file)?;
        output.answer(&KeyReport::from(&key))?;
    }
    if let Some(weakness) = weakness {
        output.warn(&format!(
            "{} {weakness}; remove it where nothing else needs it, and replace the key if others had the file",
            path.display()
        ));
    }
    Ok(())
}

/// Reads a private key file, and who may read it.
fn read(path: &Path) -> Result<(KeyFile, u32), UnusableFile> {
    let failed = |action, reason: String| UnusableFile { action, path: path.to_owned(), reason };
    let unreadable = |error: io::Error| failed("read", error.to_string());
    let opened = File::open(path).map_err(unreadable)?;
    let mode = opened.metadata().map_err(unreadable)?.permissions().mode();
    let capacity = usize::try_from(KEY_FILE_BYTES).unwrap_or_default() + 1;
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    opened.take(KEY_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > KEY_FILE_BYTES {
        return Err(failed("use", format!("larger than {KEY_FILE_BYTES} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| failed("use", "not text".to_owned()))?;
    let file = KeyFile::parse(text).map_err(|error| failed("use", error.to_string()))?;
    Ok((file, mode))
}

/// The name of the file, but where docker and notary keep keys that is an id: there, the role.
fn name_for(path: &Path, file: &KeyFile) -> Option<KeyName> {
    let stem = path.file_stem()?.to_str()?;
    let is_id = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_id { file.role.as_deref()? } else { stem };
    name.parse().ok()
}

fn weakness(protection: Protection, mode: u32) -> Option<String> {
    match protection {
        Protection::None => Some("holds the key in the clear".to_owned()),
        weak if weak.is_weak() => Some(format!("protects the key weakly ({weak})")),
        _ if mode & 0o077 != 0 => Some(format!("is open to others (mode {:04o})", mode & 0o7777)),
        _ => None,
    }
}

/// Nothing says what to call the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} says no name that a key can have", path.display())]
pub(super) struct NoName {
    /// The file.
    path: PathBuf,
}

fn remove(context: &Context, name: &KeyName, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    let keys = local.ports().keys;
    let key = keys.find(name)?;
    if !dry_run {
        keys.remove(name)?;
    }
    say_dry_run(context.output, dry_run);
    Ok(context.output.answer(&KeyReport::from(&key))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bulla_keys_schema::key::Pbkdf2Digest;

    use super::*;

    const SEC1: &str = include_str!("../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem");
    const CAROL: &str = include_str!("../../../keys-schema/tests/data/notary-keys/docker-carol.pem");

    #[test]
    fn keys_are_named_after_their_files_but_not_after_ids() {
        let id = "f9b8d0308a3079ae5ce92b7ba59a715bec24f04460082d0ff08a9d5c0cb20b8c";
        let [plain, carol] = [SEC1, CAROL].map(|text| KeyFile::parse(text).unwrap());
        for (path, file, name) in [
            ("/a/b/release-key.pem", &plain, Some("release-key")),
            ("cosign.key", &plain, Some("cosign")),
            ("dave.key", &carol, Some("dave")),
            (&format!("private/{id}.key"), &carol, Some("carol")),
            (&format!("private/{id}.key"), &plain, None),
            ("my key.pem", &plain, None),
            ("..", &plain, None),
        ] {
            let expected = name.map(|name| name.parse().unwrap());
            assert_eq!(name_for(Path::new(path), file), expected, "{path}");
        }
    }

    #[test]
    fn says_what_was_weak() {
        let pbkdf2 = |iterations| Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha1, iterations };
        for (protection, mode, words) in [
            (Protection::None, 0o600, Some("in the clear")),
            (Protection::Md5, 0o600, Some("one round of MD5")),
            (pbkdf2(2048), 0o600, Some("PBKDF2 with 2048 rounds of SHA-1")),
            (pbkdf2(2_000_000), 0o600, None),
            (Protection::Scrypt, 0o100_600, None),
            (Protection::Scrypt, 0o100_640, Some("open to others (mode 0640)")),
        ] {
            let found = weakness(protection, mode);
            assert_eq!(found.is_some(), words.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(words.unwrap_or_default()), "{words:?}");
        }
    }

    #[test]
    fn reads_key_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, CAROL).unwrap();
        assert_eq!(read(&path).unwrap().0.role.as_deref(), Some("carol"));
        for (content, words) in [
            (vec![b' '; 65 * 1024], "larger than 65536 bytes"),
            (vec![0xff], "not text"),
            (
                b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_vec(),
                "not a private key file",
            ),
        ] {
            fs::write(&path, content).unwrap();
            let error = read(&path).err().unwrap();
            assert!(
                error.to_string().starts_with(&format!("cannot use {}: {words}", path.display())),
                "{error}"
            );
        }
        let error = read(&folder.path().join("absent")).err().unwrap();
        assert_eq!(error.action, "read");
    }
}
