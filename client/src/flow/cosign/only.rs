//! Signatures in the registry alone, with a key that is named: for those who use cosign and have
//! no trust server. Nothing of this binds a tag or a time.

use std::collections::BTreeMap;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyName, Signer};
use bulla_keys_schema::names::ImageRef;

use super::write::{self, Image, WriteFailure, Written};
use crate::flow::Ports;
use crate::flow::signing::{self, UnlockError};
use crate::port::registry::NotAnIndex;
use crate::port::{KeyStoreError, RegistryError, StoredKey, Wanted};

/// What to sign, and with what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image, by tag, by digest, or both.
    pub image: ImageRef,
    /// The keys of this home.
    pub keys: Vec<KeyName>,
    /// What is signed along.
    pub annotations: BTreeMap<String, String>,
    /// Write nothing, and ask for no passphrase.
    pub dry_run: bool,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The manifest.
    pub digest: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What is in the registry now, or would be.
    pub written: Vec<Written>,
    /// Whether anything was done.
    pub done: bool,
}

/// Signs in the registry alone.
///
/// # Errors
/// See [`OnlyError`]. Everything can be repeated.
pub async fn sign(ports: Ports<'_>, request: &Request) -> Result<Signed, OnlyError> {
    let Request { image, annotations, .. } = request;
    let repository = image.repository();
    let keys = request.keys.iter().map(|name| find(ports, name)).collect::<Result<Vec<_>, _>>()?;
    let wanted = match (image.digest(), image.tag()) {
        (Some(digest), _) => Wanted::Digest(digest),
        (None, Some(tag)) => Wanted::Tag(tag.clone()),
        (None, None) => return Err(OnlyError::NoTag { image: image.to_string() }),
    };
    let manifest = ports.registry.manifest(repository, &wanted).await?;
    let subjects = write::subjects(&manifest)?;
    let (digest, size) = (manifest.digest(), manifest.size());
    let (repository, tag) = (repository.clone(), image.tag().cloned());
    let image = Image { repository, tag, subjects, annotations: annotations.clone() };
    if request.dry_run {
        return Ok(Signed { digest, size, written: image.plan(keys.len()), done: false });
    }
    let open = keys.iter().map(|key| signing::open(ports.keys, ports.passphrases, key));
    let open = open.collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<&dyn Signer> = open.iter().map(|key| key as &dyn Signer).collect();
    let written = image.sign(ports, &signers).await?;
    Ok(Signed { digest, size, written, done: true })
}

/// The key of that name.
///
/// # Errors
/// There is none, or the keys cannot be read.
pub(in crate::flow) fn find(ports: Ports<'_>, name: &KeyName) -> Result<StoredKey, OnlyError> {
    let found = ports.keys.list()?.into_iter().find(|key| key.name == *name);
    found.ok_or_else(|| OnlyError::UnknownKey { name: name.clone() })
}

/// Why nothing was signed, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum OnlyError {
    /// The index cannot be read.
    #[error("cannot sign the images of the index: {0}")]
    Index(#[from] NotAnIndex),
    /// A name without anything that says which image.
    #[error("{image} names neither a tag nor a digest")]
    NoTag {
        /// The image.
        image: String,
    },
    /// The registry gave no manifest.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// No such key.
    #[error("this home has no key {name}")]
    UnknownKey {
        /// The name.
        name: KeyName,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// Not everything could be written.
    #[error(transparent)]
    Write(#[from] WriteFailure),
}
