//! Export: a private key for another program, in the form that it reads.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{
    KeyName, KeySidecar, NotaryKeyLabels, Passphrase, Pbkdf2Digest, Protection, SealedKey, SecretKey,
    write_notary_key, write_pkcs8_key,
};
use bulla_keys_schema::names::{RELEASES, RepositoryName, RoleName};

use super::{KeyError, KeyPorts, random, seal};
use crate::flow::signing::open_with_passphrase;
use crate::home::{self, Existing};
use crate::port::{EntropyError, KeyStoreError, PassphraseError, StoredKey};

/// For which programs a key is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// cosign, and another home of ours.
    Cosign,
    /// OpenSSL, and whatever reads encrypted PKCS#8.
    Pkcs8,
    /// docker and notary, which need to know what a key is for.
    Docker {
        /// The role, if this home does not know it.
        role: Option<RoleName>,
        /// The repository of a targets or snapshot key, likewise.
        repository: Option<RepositoryName>,
    },
}

/// What to write where.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// The key.
    pub name: KeyName,
    /// The form.
    pub format: ExportFormat,
    /// The file; it must not exist.
    pub out: PathBuf,
    /// Protect the file with a passphrase of its own, in place of the key's.
    pub new_passphrase: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The key.
    pub key: StoredKey,
    /// How the file protects it.
    pub protection: Protection,
}

/// Writes a private key, encrypted, to a new file of mode 0600.
///
/// # Errors
/// No such key, a wrong passphrase, labels that docker's form needs and nobody named, or the
/// file exists or cannot be written.
pub fn export(ports: KeyPorts<'_>, request: &ExportRequest) -> Result<Exported, ExportError> {
    let key = ports.keys.find(&request.name).map_err(KeyError::from)?;
    let labels = match &request.format {
        ExportFormat::Docker { role, repository } => {
            Some(labels(&key.sidecar, role.as_ref(), repository.as_ref())?)
        }
        ExportFormat::Cosign | ExportFormat::Pkcs8 => None,
    };
    // Before anybody is asked for a passphrase.
    if request.out.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: request.out.clone() });
    }
    if request.dry_run {
        return Ok(Exported { protection: protection(&request.format), key });
    }
    let (secret, passphrase) = unlock(ports, &key, request.new_passphrase)?;
    let text = write(ports, &request.format, &secret, &passphrase, labels.as_ref())?;
    place(&request.out, text.as_bytes())?;
    Ok(Exported { protection: protection(&request.format), key })
}

fn unlock(
    ports: KeyPorts<'_>,
    key: &StoredKey,
    new_passphrase: bool,
) -> Result<(SecretKey, Passphrase), KeyError> {
    let (secret, own) = open_with_passphrase(ports.keys, ports.passphrases, key)?;
    let passphrase = match own {
        Some(_) if new_passphrase => ports.passphrases.replacement(&key.name)?,
        Some(own) => own,
        None if new_passphrase => ports.passphrases.replacement(&key.name)?,
        None => ports.passphrases.fresh(&key.name)?,
    };
    if passphrase.as_bytes().is_empty() {
        return Err(PassphraseError::Empty { name: key.name.clone() }.into());
    }
    Ok((secret, passphrase))
}

/// What docker and notary read in the headers of a key file.
struct Labels {
    role: RoleName,
    repository: Option<RepositoryName>,
}

/// Notary's clients find targets and snapshot keys by their repository, all others by role alone.
fn labels(
    known: &KeySidecar,
    role: Option<&RoleName>,
    repository: Option<&RepositoryName>,
) -> Result<Labels, ExportError> {
    let name = || known.name.clone();
    let mut held: Vec<&RoleName> =
        known.roles.iter().map(|held| &held.role).filter(|role| role.as_str() != RELEASES).collect();
    held.dedup();
    let role = match (role, held.as_slice()) {
        (Some(role), _) => role.clone(),
        (None, [only]) => (*only).clone(),
        (None, _) => return Err(ExportError::NoRole { name: name() }),
    };
    let belongs = match role {
        RoleName::Targets | RoleName::Snapshot => true,
        RoleName::Root | RoleName::Delegated(_) => false,
        RoleName::Timestamp => return Err(ExportError::ServersRole),
    };
    let mut of = known.roles.iter().filter(|held| held.role == role).map(|held| &held.repository);
    let repository = match (belongs, repository, of.next(), of.next()) {
        (false, None, ..) => None,
        (false, Some(_), ..) => return Err(ExportError::AnyRepository { role }),
        (true, Some(named), ..) | (true, None, Some(named), None) => Some(named.clone()),
        (true, None, ..) => return Err(ExportError::NoRepository { name: name(), role }),
    };
    Ok(Labels { role, repository })
}

fn write(
    ports: KeyPorts<'_>,
    format: &ExportFormat,
    secret: &SecretKey,
    passphrase: &Passphrase,
    labels: Option<&Labels>,
) -> Result<String, ExportError> {
    let entropy = |error: EntropyError| KeyError::from(error);
    Ok(match (format, labels) {
        (ExportFormat::Docker { .. }, Some(labels)) => {
            let id = Dialect::Notary1.key_id(secret.public_key(), None);
            let repository = labels.repository.as_ref();
            let labels = NotaryKeyLabels { role: &labels.role, gun: repository, path: Some(&id) };
            let (salt, iv) =
                (random(ports.entropy).map_err(entropy)?, random(ports.entropy).map_err(entropy)?);
            write_notary_key(secret, passphrase, labels, salt, iv)
        }
        (ExportFormat::Pkcs8, _) => {
            let (salt, iv) =
                (random(ports.entropy).map_err(entropy)?, random(ports.entropy).map_err(entropy)?);
            write_pkcs8_key(secret, passphrase, salt, iv)
        }
        (ExportFormat::Cosign | ExportFormat::Docker { .. }, _) => {
            let sealed: SealedKey = seal(ports.entropy, secret, passphrase).map_err(entropy)?;
            sealed.to_pem()
        }
    })
}

const fn protection(format: &ExportFormat) -> Protection {
    match format {
        ExportFormat::Cosign => Protection::Scrypt { n: 65_536 },
        ExportFormat::Pkcs8 => Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha256, iterations: 600_000 },
        ExportFormat::Docker { .. } => Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha1, iterations: 2048 },
    }
}

fn place(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    home::write_whole(path, bytes, 0o600, Existing::Keep).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => ExportError::Exists { path: path.to_owned() },
        _ => ExportError::Write { path: path.to_owned(), reason: error.to_string() },
    })
}

/// Why a key was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A repository was named for a key that has none in docker's files.
    #[error("docker keeps no repository with a key for {role}: one such key serves many")]
    AnyRepository {
        /// The role.
        role: RoleName,
    },
    /// The file is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Docker's form names a repository.
    #[error("docker needs to know for which repository key {name} signs as {role}")]
    NoRepository {
        /// The key.
        name: KeyName,
        /// The role.
        role: RoleName,
    },
    /// Docker's form names a role.
    #[error("docker needs to know for which role key {name} signs")]
    NoRole {
        /// The key.
        name: KeyName,
    },
    /// Nobody but the server signs timestamps.
    #[error("timestamp is a role of the server: no client has a key for it")]
    ServersRole,
    /// The file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl From<KeyStoreError> for ExportError {
    fn from(error: KeyStoreError) -> Self {
        KeyError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bulla_keys_schema::key::{HeldRole, KeyFile, KeyFileContent};

    use super::super::world::{World, name, secret};
    use super::super::{describe, seal};
    use super::*;
    use crate::port::KeyStore as _;

    fn world(roles: &[(&str, &str)]) -> World {
        let world = World::default();
        let mut key = describe(world.ports(), &name("alice"), &secret());
        key.sidecar.roles = roles
            .iter()
            .map(|(role, gun)| HeldRole { repository: gun.parse().unwrap(), role: role.parse().unwrap() })
            .collect();
        let sealed = seal(&world, &secret(), &Passphrase::new("old".to_owned())).unwrap();
        world.create(&key, &sealed).unwrap();
        world
    }

    fn request(format: ExportFormat, out: &Path) -> ExportRequest {
        ExportRequest { name: name("alice"), format, out: out.into(), new_passphrase: false, dry_run: false }
    }

    #[test]
    fn each_form_is_read_again_with_the_right_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let world = world(&[("alice", "a.b/c"), ("releases", "a.b/c")]);
        let docker = ExportFormat::Docker { role: None, repository: None };
        for (at, format) in [ExportFormat::Cosign, ExportFormat::Pkcs8, docker].into_iter().enumerate() {
            for (new_passphrase, right) in [(false, "old"), (true, "new")] {
                let out = folder.path().join(format!("{at}-{right}"));
                let request = ExportRequest { new_passphrase, ..request(format.clone(), &out) };
                let exported = export(world.ports(), &request).unwrap();
                assert_eq!(out.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
                let file = KeyFile::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
                assert_eq!(file.protection, exported.protection);
                let KeyFileContent::Encrypted(encrypted) = file.content else { panic!("in the clear") };
                let open = |text: &str| encrypted.open(&Passphrase::new(text.to_owned()));
                assert_eq!(open(right).unwrap().public_key(), secret().public_key());
                assert!(open(if right == "old" { "new" } else { "old" }).is_err());
                assert!(matches!(export(world.ports(), &request), Err(ExportError::Exists { .. })));
            }
        }
        let dry = folder.path().join("dry");
        world.asked();
        export(world.ports(), &ExportRequest { dry_run: true, ..request(ExportFormat::Cosign, &dry) })
            .unwrap();
        assert!(!dry.exists() && world.asked().is_empty());
    }

    #[test]
    fn a_link_to_nowhere_is_a_file_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &out).unwrap();
        let refused = export(world(&[]).ports(), &request(ExportFormat::Cosign, &out));
        assert!(matches!(refused, Err(ExportError::Exists { .. })));
    }

    #[test]
    fn docker_is_told_what_a_key_is_for() {
        let sidecar = |roles: &[(&str, &str)]| world(roles).find(&name("alice")).unwrap().sidecar;
        let of = |roles: &[(&str, &str)], role: Option<&str>, gun: Option<&str>| {
            let (role, gun) = (role.map(|role| role.parse().unwrap()), gun.map(|gun| gun.parse().unwrap()));
            let labels = labels(&sidecar(roles), role.as_ref(), gun.as_ref())?;
            Ok::<_, ExportError>((labels.role.to_string(), labels.repository.map(|gun| gun.to_string())))
        };
        let (one, two) = (("targets", "a.b/c"), ("targets", "a.b/d"));
        let said = |role: &str, gun: Option<&str>| (role.to_owned(), gun.map(str::to_owned));
        assert_eq!(of(&[one], None, None).unwrap(), said("targets", Some("a.b/c")));
        assert_eq!(of(&[one, two], None, Some("a.b/d")).unwrap(), said("targets", Some("a.b/d")));
        assert_eq!(of(&[("root", "a.b/c"), one], Some("root"), None).unwrap(), said("root", None));
        assert_eq!(of(&[("bob", "a.b/c"), ("bob", "a.b/d")], None, None).unwrap(), said("bob", None));
        for (refused, words) in [
            (of(&[], None, None), "for which role"),
            (of(&[one, ("root", "a.b/c")], None, None), "for which role"),
            (of(&[one, two], None, None), "for which repository"),
            (of(&[], Some("snapshot"), None), "for which repository"),
            (of(&[], Some("root"), Some("a.b/c")), "no repository"),
            (of(&[], Some("timestamp"), None), "role of the server"),
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
