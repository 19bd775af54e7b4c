//! Import: keys of other programs' files become keys of this home, sealed as all of them are.

use bulla_keys_schema::key::{HeldRole, KeyFile, KeyFileContent, KeyName, Passphrase, Protection, SecretKey};
use bulla_keys_schema::names::RoleName;

use super::{KeyError, KeyPorts, describe, require_free, seal};
use crate::flow::signing::UnlockError;
use crate::port::StoredKey;

/// A key that was taken over.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The key.
    pub key: StoredKey,
    /// How the file protected it.
    pub was: Protection,
    /// What the file said it is for. Nobody vouches for it.
    pub label: Option<Box<str>>,
    /// Of which repository, likewise.
    pub gun: Option<Box<str>>,
}

/// Keeps the keys of another program's file, each under its name: all of them or none. What the
/// file says about their roles is noted, and means no more there.
///
/// # Errors
/// A name is taken, a wrong passphrase for a key, no new one, no randomness, or a key cannot be
/// written.
pub fn import(ports: KeyPorts<'_>, files: Vec<(KeyName, KeyFile)>) -> Result<Vec<Imported>, KeyError> {
    // Before anybody is asked for a passphrase.
    for (name, _) in &files {
        require_free(ports.keys, name)?;
    }
    let mut opened = Vec::new();
    for (name, file) in files {
        opened.push(open(ports, &name, file)?);
    }
    let mut imported: Vec<Imported> = Vec::new();
    for (one, secret, passphrase) in opened {
        let sealed = seal(ports.entropy, &secret, &passphrase)?;
        if let Err(error) = ports.keys.create(&one.key, &sealed) {
            for done in &imported {
                // Nothing better can be done: the error that led here is the one to report.
                let _ = ports.keys.remove(&done.key.name);
            }
            return Err(error.into());
        }
        imported.push(one);
    }
    Ok(imported)
}

/// The names of several keys in one file: after their roles, with a number where one comes twice.
/// `base`, if given, stands in front. `None` where that is no name.
#[must_use]
pub fn names_in_bundle(base: Option<&KeyName>, files: &[KeyFile]) -> Option<Vec<KeyName>> {
    let mut names: Vec<KeyName> = Vec::new();
    for file in files {
        let role = file.role.as_deref().unwrap_or("key");
        let stem = base.map_or_else(|| role.to_owned(), |base| format!("{base}-{role}"));
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let name = std::iter::once(stem.clone())
            .chain(numbered.take(files.len()))
            .filter_map(|name| name.parse::<KeyName>().ok())
            .find(|name| !names.contains(name))?;
        names.push(name);
    }
    Some(names)
}

fn open(
    ports: KeyPorts<'_>,
    name: &KeyName,
    file: KeyFile,
) -> Result<(Imported, SecretKey, Passphrase), KeyError> {
    let held = held_role(&file);
    let (secret, passphrase) = match file.content {
        KeyFileContent::Open(secret) => (secret, ports.passphrases.fresh(name)?),
        KeyFileContent::Encrypted(encrypted) => {
            let old = ports.passphrases.existing(name)?;
            let failed = |source| UnlockError::Open { name: name.clone(), source };
            let secret = encrypted.open(&old).map_err(failed)?;
            (secret, ports.passphrases.replacement(name)?)
        }
    };
    let mut key = describe(ports, name, &secret);
    key.sidecar.roles.extend(held);
    Ok((Imported { key, was: file.protection, label: file.role, gun: file.gun }, secret, passphrase))
}

/// The role of one repository that a file of docker or notary names. Signers' files name no
/// repository.
fn held_role(file: &KeyFile) -> Option<HeldRole> {
    let repository = file.gun.as_deref()?.parse().ok()?;
    let role = [RoleName::Root, RoleName::Targets, RoleName::Snapshot]
        .into_iter()
        .find(|role| Some(role.as_str()) == file.role.as_deref())?;
    Some(HeldRole { repository, role })
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::key::{NotaryKeyLabels, OpenError, SealedKey, write_notary_key};

    use super::super::world::{World, name, secret};
    use super::*;
    use crate::port::{Clock as _, KeyStore as _};

    const SEC1: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem");

    fn notary(passphrase: &str, role: &RoleName, gun: Option<&str>) -> KeyFile {
        let gun = gun.map(|gun| gun.parse().unwrap());
        let labels = NotaryKeyLabels { role, gun: gun.as_ref(), path: None };
        let passphrase = Passphrase::new(passphrase.to_owned());
        KeyFile::parse(&write_notary_key(&secret(), &passphrase, labels, [7; 8], [9; 16])).unwrap()
    }

    fn import_one(world: &World, name: &KeyName, file: KeyFile) -> Result<Imported, KeyError> {
        import(world.ports(), vec![(name.clone(), file)]).map(|mut imported| imported.remove(0))
    }

    #[test]
    fn an_encrypted_file_is_opened_and_sealed_anew() {
        let (world, name) = (World::default(), name("alice"));
        let file = notary("old", &RoleName::Targets, Some("registry.example.com/team/app"));
        let Imported { key, was, .. } = import_one(&world, &name, file).unwrap();
        assert!(was.is_weak());
        assert_eq!(world.asked(), ["old", "new"]);
        assert_eq!(key.public, *secret().public_key());
        assert_eq!(world.open(&name, "new"), Ok(key.public));
        assert_eq!(world.open(&name, "old"), Err(OpenError::WrongPassphrase));
        let held = HeldRole {
            repository: "registry.example.com/team/app".parse().unwrap(),
            role: RoleName::Targets,
        };
        assert_eq!(world.find(&name).unwrap().sidecar.roles, [held]);
        assert_eq!(key.sidecar.created, world.now());
    }

    #[test]
    fn a_file_in_the_clear_asks_for_one_passphrase_only() {
        let (world, name) = (World::default(), name("alice"));
        let Imported { key, was, .. } = import_one(&world, &name, KeyFile::parse(SEC1).unwrap()).unwrap();
        assert_eq!(was, Protection::None);
        assert_eq!(world.asked(), ["fresh"]);
        assert_eq!(world.open(&name, "fresh"), Ok(key.public));
        assert_eq!(key.sidecar.roles, []);
    }

    #[test]
    fn cosigns_own_files_are_read_as_well() {
        let (world, name) = (World::default(), name("alice"));
        let sealed = SealedKey::seal(&secret(), &Passphrase::new("old".to_owned()), [1; 32], [2; 24]);
        let key = import_one(&world, &name, KeyFile::parse(&sealed.to_pem()).unwrap()).unwrap().key;
        assert_eq!(world.open(&name, "new"), Ok(key.public));
        assert_ne!(world.sealed(&name).unwrap(), sealed);
    }

    #[test]
    fn nothing_is_kept_or_asked_for_where_a_name_is_taken() {
        let (world, alice) = (World::default(), name("alice"));
        import_one(&world, &alice, KeyFile::parse(SEC1).unwrap()).unwrap();
        world.asked();
        let files = [name("bob"), alice].map(|name| (name, notary("old", &RoleName::Root, None)));
        let again = import(world.ports(), files.into());
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        assert_eq!((world.asked().len(), world.list().unwrap().len()), (0, 1));
    }

    #[test]
    fn a_wrong_passphrase_keeps_nothing_and_asks_no_further() {
        for files in [
            vec![("alice", "other")],
            vec![("alice", "old"), ("bob", "other")],
            vec![("alice", "other"), ("bob", "old")],
        ] {
            let world = World::default();
            let read = |(key, passphrase)| (name(key), notary(passphrase, &RoleName::Root, None));
            let refused = import(world.ports(), files.into_iter().map(read).collect());
            let wrong = OpenError::WrongPassphrase;
            assert!(
                matches!(refused, Err(KeyError::Unlock(UnlockError::Open { source, .. })) if source == wrong)
            );
            assert_eq!(world.asked().last(), Some(&"old"));
            assert_eq!(world.list().unwrap().len(), 0);
        }
    }

    #[test]
    fn a_write_that_fails_takes_the_keys_before_it_away_again() {
        let world = World::default();
        world.refuse(&name("bob"));
        let files = ["alice", "bob"].map(|key| (name(key), notary("old", &RoleName::Root, None)));
        assert!(matches!(import(world.ports(), files.into()), Err(KeyError::Store(_))));
        assert_eq!(world.list().unwrap().len(), 0);
    }

    #[test]
    fn only_a_whole_claim_is_noted() {
        let carol = "carol".parse().unwrap();
        for (role, gun, noted) in [
            (&RoleName::Root, None, false),
            (&RoleName::Snapshot, Some("a.b/c"), true),
            (&carol, None, false),
            (&carol, Some("a.b/c"), false),
        ] {
            assert_eq!(held_role(&notary("old", role, gun)).is_some(), noted, "{role} {gun:?}");
        }
        let mut file = notary("old", &RoleName::Targets, None);
        file.gun = Some("../a".into());
        assert_eq!(held_role(&file), None);
    }

    #[test]
    fn keys_of_a_bundle_are_named_after_their_roles() {
        let carol = "carol".parse().unwrap();
        let files: Vec<_> = [&RoleName::Root, &RoleName::Targets, &RoleName::Targets, &carol]
            .into_iter()
            .map(|role| notary("old", role, None))
            .chain([KeyFile::parse(SEC1).unwrap()])
            .collect();
        let names = |base: Option<&KeyName>| -> Vec<String> {
            names_in_bundle(base, &files).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(None), ["root", "targets", "targets-2", "carol", "key"]);
        assert_eq!(names(Some(&name("old")))[..3], ["old-root", "old-targets", "old-targets-2"]);
        let mut odd = notary("old", &RoleName::Root, None);
        odd.role = Some("../root".into());
        assert_eq!(names_in_bundle(None, &[odd]), None);
    }
}
