//! Keys that a rotation makes in this home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{
    Fingerprint, KeyAlgorithm, KeyName, KeySidecar, Passphrase, PublicKey, SecretKey,
};
use bulla_keys_schema::metadata::TopLevelRole;
use bulla_keys_schema::verify::submission::CurrentState;
use zeroize::Zeroizing;

use super::{RotateError, Subject};
use crate::flow::Ports;
use crate::flow::key::{self, KeyPorts};
use crate::flow::signing::KeyRing;
use crate::port::{Entropy, KeyStore, KeyStoreError, PassphraseError, Passphrases, StoredKey};

/// Longest name of a key, in bytes.
const NAME_BYTES: usize = 64;
/// How many names are tried for a successor.
const NAMES: u32 = 1_000;

/// A key to be made.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) name: KeyName,
    pub(super) algorithm: KeyAlgorithm,
    /// The key in whose place it comes.
    pub(super) replaces: Option<Fingerprint>,
}

impl Fresh {
    /// Something like it that nobody holds.
    ///
    /// # Errors
    /// No randomness.
    pub(super) fn stand_in(&self, ports: Ports<'_>) -> Result<StoredKey, RotateError> {
        let public = draw(ports.entropy, self.algorithm)?;
        let sidecar = KeySidecar {
            name: self.name.clone(),
            fingerprint: public.fingerprint(),
            algorithm: self.algorithm,
            created: ports.clock.now(),
            roles: vec![],
            loaded: None,
        };
        Ok(StoredKey { name: self.name.clone(), public, sidecar })
    }

    /// Makes it.
    ///
    /// # Errors
    /// The name is taken meanwhile, no passphrase, or it cannot be written.
    pub(super) fn make(&self, ports: Ports<'_>) -> Result<StoredKey, RotateError> {
        let Ports { keys, passphrases, entropy, clock, .. } = ports;
        let ports = KeyPorts { keys, passphrases, entropy, clock };
        Ok(key::generate(ports, &self.name, self.algorithm)?)
    }
}

/// One new key for each key of `subject` that is in this home. A key of targets that is lost
/// gets a successor as well, if it is the only one: root decides over it. `planned` are names
/// that are taken soon.
///
/// # Errors
/// None of several keys is here, or the names of this home cannot be read.
pub(super) fn successors(
    keys: &dyn KeyStore,
    state: &CurrentState,
    ring: &KeyRing<'_>,
    subject: &Subject,
    listed: &BTreeSet<Fingerprint>,
    planned: &[(usize, Fresh)],
) -> Result<Vec<Fresh>, RotateError> {
    let mut taken: BTreeSet<KeyName> = planned.iter().map(|(_, fresh)| fresh.name.clone()).collect();
    let mut successors = Vec::new();
    for (print, stored) in listed.iter().filter_map(|print| Some((print, ring.find(print)?))) {
        let name = successor(|name| is_free(keys, &taken, name), stored.name.as_str())?;
        taken.insert(name.clone());
        let algorithm = algorithm(state, subject, stored.public.algorithm());
        successors.push(Fresh { name, algorithm, replaces: Some(*print) });
    }
    if !successors.is_empty() {
        return Ok(successors);
    }
    match (subject, listed.first()) {
        (Subject::Top(TopLevelRole::Targets), Some(lost)) if listed.len() == 1 => {
            let name = successor(|name| is_free(keys, &taken, name), "targets")?;
            let algorithm = algorithm(state, subject, KeyAlgorithm::EcdsaP256);
            Ok(vec![Fresh { name, algorithm, replaces: Some(*lost) }])
        }
        _ => Err(RotateError::NoneHere { role: subject.role(), keys: listed.len() }),
    }
}

/// A key that nobody can sign with.
///
/// # Errors
/// No randomness.
pub(super) fn nobodys_key(entropy: &dyn Entropy) -> Result<PublicKey, RotateError> {
    draw(entropy, KeyAlgorithm::Ed25519)
}

/// The same kind of key, but for kinds that are only read here, and for root keys of Notary's
/// dialect, which must fit into a certificate.
const fn algorithm(state: &CurrentState, subject: &Subject, before: KeyAlgorithm) -> KeyAlgorithm {
    match (state.root().dialect(), subject, before) {
        (Dialect::Notary1, Subject::Top(TopLevelRole::Root), _) => KeyAlgorithm::EcdsaP256,
        (_, _, KeyAlgorithm::Ed25519) => KeyAlgorithm::Ed25519,
        (_, _, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::RsaPss) => KeyAlgorithm::EcdsaP256,
    }
}

/// The first free name after `name`: `release-2` after `release`, then `release-3`.
fn successor(
    is_free: impl Fn(&KeyName) -> Result<bool, RotateError>,
    name: &str,
) -> Result<KeyName, RotateError> {
    let (stem, count) = match name.rsplit_once('-').map(|(stem, count)| (stem, count.parse::<u32>())) {
        Some((stem, Ok(count))) if !stem.is_empty() && count < NAMES => (stem, count),
        _ => (name, 1),
    };
    for next in count + 1..count + NAMES {
        let ending = format!("-{next}");
        let kept: String = stem.chars().take(NAME_BYTES.saturating_sub(ending.len())).collect();
        let Ok(name) = format!("{kept}{ending}").parse::<KeyName>() else { break };
        if is_free(&name)? {
            return Ok(name);
        }
    }
    Err(RotateError::NoName { name: name.to_owned() })
}

/// Whether no key of this home has or will have this name, nor anything that looks like one.
fn is_free(keys: &dyn KeyStore, taken: &BTreeSet<KeyName>, name: &KeyName) -> Result<bool, RotateError> {
    if taken.contains(name) {
        return Ok(false);
    }
    match key::require_free(keys, name) {
        Ok(()) => Ok(true),
        Err(key::KeyError::Exists { .. } | key::KeyError::Store(KeyStoreError::Invalid { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn draw(entropy: &dyn Entropy, algorithm: KeyAlgorithm) -> Result<PublicKey, RotateError> {
    let mut seed = Zeroizing::new([0; 32]);
    entropy.fill(seed.as_mut_slice())?;
    Ok(SecretKey::from_seed(algorithm, &seed)?.public_key().clone())
}

/// Asks for the passphrase of a new key once, although it is needed twice: to seal the key, and
/// to open it for its first signature.
pub(super) struct Remembering<'a> {
    inner: &'a dyn Passphrases,
    fresh: Mutex<BTreeMap<KeyName, Passphrase>>,
}

impl<'a> Remembering<'a> {
    pub(super) const fn new(inner: &'a dyn Passphrases) -> Self {
        Self { inner, fresh: Mutex::new(BTreeMap::new()) }
    }
}

impl Passphrases for Remembering<'_> {
    fn existing(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        let known = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        known.map_or_else(|| self.inner.existing(name), Ok)
    }

    fn fresh(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        let passphrase = self.inner.fresh(name)?;
        let again = Passphrase::new(String::from_utf8_lossy(passphrase.as_bytes()).into_owned());
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), again);
        Ok(passphrase)
    }

    fn replacement(&self, name: &KeyName) -> Result<Passphrase, PassphraseError> {
        self.inner.replacement(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_count_on_and_never_take_a_name() {
        let long = "x".repeat(64);
        for (before, after) in [
            ("release", "release-2".to_owned()),
            ("release-2", "release-3".to_owned()),
            ("team-a", "team-a-2".to_owned()),
            ("release-2026", "release-2026-2".to_owned()),
            (long.as_str(), format!("{}-2", "x".repeat(62))),
        ] {
            assert_eq!(successor(|_| Ok(true), before).unwrap().as_str(), after);
        }
        let third = successor(|name| Ok(name.as_str() != "release-2"), "release");
        assert_eq!(third.unwrap().as_str(), "release-3");
        assert!(matches!(successor(|_| Ok(false), "release"), Err(RotateError::NoName { .. })));
    }
}
