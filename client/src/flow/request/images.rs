//! The tags that a request signs. Whoever completes it publishes what all signed, and the registry has
//! nothing of that: each signer can only put his own signature there.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::{RELEASES, REVOCATIONS, RoleName, Tag};
use bulla_keys_schema::request::{Change, SignatureFile};

use super::Judged;
use crate::flow::Ports;
use crate::flow::signing::KeyRing;
use crate::port::KeyStoreError;

/// A tag that is signed by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedImage {
    /// The tag.
    pub tag: Tag,
    /// What it means from then on.
    pub digest: Sha256Digest,
    /// The keys of this home with which it was signed just now.
    pub keys: Vec<KeyName>,
}

/// The tags that signers vouch for anew with this request, of which `file` brings signatures.
///
/// # Errors
/// The keys cannot be read.
pub fn signed_images(
    ports: Ports<'_>,
    judged: &Judged,
    file: &SignatureFile,
) -> Result<Vec<SignedImage>, KeyStoreError> {
    let ring = KeyRing::load(ports)?;
    let mut images = Vec::new();
    for changed in judged.open.diff().roles.iter().filter(|changed| is_of_signer(&changed.role)) {
        let signed = file.signatures.iter().filter(|one| one.role == changed.role).map(|one| one.key);
        let keys = ring.names(&signed.collect::<Vec<_>>());
        let tags = changed.changes.iter().filter_map(|change| match change {
            Change::Target { path, after: Some(after), .. } => Some((path.parse().ok()?, after.digest?)),
            _ => None,
        });
        images.extend(tags.map(|(tag, digest)| SignedImage { tag, digest, keys: keys.clone() }));
    }
    Ok(images)
}

/// Every tag stands in `releases` as well, which all signers sign.
fn is_of_signer(role: &RoleName) -> bool {
    match role {
        RoleName::Targets => true,
        RoleName::Delegated(name) => !matches!(name.as_str(), RELEASES | REVOCATIONS),
        RoleName::Root | RoleName::Snapshot | RoleName::Timestamp => false,
    }
}
