//! Verify: pin, refresh, find who vouches for the tag, compare with what the registry serves.
//! Read only. "No" is an answer: see [`Refusal`].

use std::collections::BTreeSet;
use std::fmt;

use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{Denial, ImageFacts, Tombstone};
use bulla_keys_schema::names::{DelegatedRoleName, ImageRef, RepositoryName, RoleName, Tag};
use bulla_keys_schema::time::UtcTime;

use crate::flow::Ports;
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::vouching::Repository;
use crate::port::{Manifest, RegistryError, Wanted};

/// What a tag may be trusted to mean.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; for a bare digest, the first one that means it.
    pub tag: Tag,
    /// What to pull.
    pub digest: Sha256Digest,
    /// Size of the manifest, in bytes.
    pub size: u64,
    /// Who says so.
    pub signed_by: Vec<Voucher>,
    /// When to ask again at the latest.
    pub valid_until: UtcTime,
    /// Until when what stands above the signers can be used.
    pub listed_until: UtcTime,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
}

/// One role that lists the tag.
#[derive(Clone, Debug)]
pub struct Voucher {
    /// The role.
    pub role: RoleName,
    /// The keys that signed it.
    pub keys: BTreeSet<Fingerprint>,
    /// When it expires.
    pub expires: UtcTime,
    /// When the tag was signed, by the role's own word.
    pub signed_at: Option<UtcTime>,
    /// What the image is, by the role's word.
    pub facts: Option<ImageFacts>,
}

/// A key, and what else its holder may sign here, which is all that metadata tells of who that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub key: Fingerprint,
    /// The roles that list it now, signers among them; none once it was taken out of all.
    pub roles: Vec<RoleName>,
}

impl fmt::Display for KeyHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<&str> = self.roles.iter().map(RoleName::as_str).collect();
        match roles.as_slice() {
            [] => write!(f, "key {}", self.key),
            roles => write!(f, "{} (key {})", roles.join(" and "), self.key),
        }
    }
}

/// Decides whether what the registry serves for `image` is what its signers vouch for. An
/// image given by digest is compared with that digest, and no registry is asked.
///
/// # Errors
/// [`VerifyError::Refused`] is the answer "no"; every other error means that there is none.
pub async fn verify(ports: Ports<'_>, image: &ImageRef) -> Result<Trusted, VerifyError> {
    let trusted = resolve(ports, image).await?;
    if image.digest().is_none() {
        require_served(ports, &trusted).await?;
    }
    Ok(trusted)
}

/// Demands that the registry serves for the tag what its signers vouch for, and returns it.
///
/// # Errors
/// It serves something else, or nothing.
pub(super) async fn require_served(ports: Ports<'_>, trusted: &Trusted) -> Result<Manifest, VerifyError> {
    let served = ports.registry.manifest(&trusted.repository, &Wanted::Tag(trusted.tag.clone())).await?;
    require_same(trusted, served.digest())?;
    if served.size() != trusted.size {
        return Err(Refusal::Size { signed: trusted.size, served: served.size() }.into());
    }
    Ok(served)
}

/// What the signers vouch for, without asking a registry.
///
/// # Errors
/// As for [`verify`].
pub async fn resolve(ports: Ports<'_>, image: &ImageRef) -> Result<Trusted, VerifyError> {
    let session = Session::open(ports, image.repository()).await?;
    let repository = Repository::open(session, image.repository()).await?;
    let trusted = find(&repository, image).await?;
    repository.finish()?;
    Ok(trusted)
}

/// What the signers of an opened repository vouch for.
///
/// # Errors
/// As for [`verify`].
pub(super) async fn find(repository: &Repository<'_>, image: &ImageRef) -> Result<Trusted, VerifyError> {
    if let Some(asked) = image.digest() {
        repository.require_not_denied(&Hashes::sha256(asked))?;
    }
    match (image.tag(), image.digest()) {
        (Some(tag), asked) => {
            let trusted = repository.tag(tag).await?;
            if let Some(asked) = asked {
                require_same(&trusted, asked)?;
            }
            Ok(trusted)
        }
        (None, Some(digest)) => repository.digest(digest).await,
        (None, None) => Err(VerifyError::NothingNamed),
    }
}

fn require_same(trusted: &Trusted, served: Sha256Digest) -> Result<(), Refusal> {
    if served == trusted.digest {
        return Ok(());
    }
    let (repository, tag, signed) = (trusted.repository.clone(), trusted.tag.clone(), trusted.digest);
    Err(Refusal::Moved { repository, tag, signed, served })
}

/// Why an image may not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The digest is on the deny list of the repository, which outranks every signature.
    #[error(
        "{} was revoked by {}{}{}",
        ImageRef::pinned(repository, denial.digest),
        who(by, &RoleName::Delegated(DelegatedRoleName::revocations())),
        at(denial.revoked_at),
        because(denial.reason.as_deref())
    )]
    Denied {
        /// The repository.
        repository: RepositoryName,
        /// What was denied, when and why.
        denial: Box<Denial>,
        /// Who did, as far as known.
        by: Vec<KeyHolder>,
    },
    /// No tag means this digest.
    #[error("{} is not signed", ImageRef::pinned(repository, *digest))]
    DigestNotSigned {
        /// The repository.
        repository: RepositoryName,
        /// The digest asked for.
        digest: Sha256Digest,
    },
    /// Roles contradict each other, or `releases` is missing: clients would not agree.
    #[error("{repository} is laid out so that clients disagree on what its tags mean")]
    Layout {
        /// The repository.
        repository: RepositoryName,
    },
    /// The tag means something else at the registry than its signers say.
    #[error("{repository}:{tag} is {} here, but its signers vouch for {}", served.to_oci(), signed.to_oci())]
    Moved {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// What the signers say.
        signed: Sha256Digest,
        /// What the registry serves, or what was asked for.
        served: Sha256Digest,
    },
    /// Nobody vouches for the tag.
    #[error("{repository}:{tag} is not signed")]
    NotSigned {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// Whether it would be known if the tag had been revoked: Notary keeps no record.
        is_certain: bool,
    },
    /// The tag is released, but no signer who may speak for it lists the same digest.
    #[error("{repository}:{tag} is listed as released, but no signer vouches for it")]
    NotVouched {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The signers who could.
        asked: Vec<RoleName>,
    },
    /// The tag was revoked.
    #[error(
        "{repository}:{tag} was revoked by {}{}{}",
        who(by, role),
        at(Some(tombstone.revoked_at)),
        because(tombstone.reason.as_deref())
    )]
    Revoked {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The role that revoked it.
        role: RoleName,
        /// What was revoked, and why.
        tombstone: Box<Tombstone>,
        /// Who did, as far as known.
        by: Vec<KeyHolder>,
    },
    /// Same digest, other length: the signed entry describes no bytes at all.
    #[error("the manifest has {served} bytes, but its signers vouch for {signed}")]
    Size {
        /// What the signers say, in bytes.
        signed: u64,
        /// What the registry serves, in bytes.
        served: u64,
    },
}

/// Why there is no "yes".
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Neither tag nor digest.
    #[error("neither a tag nor a digest is named")]
    NothingNamed,
    /// The metadata cannot be trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The answer is "no".
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry gave no manifest.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The holders of the keys, or the role that says it where none are named.
fn who(by: &[KeyHolder], role: &RoleName) -> String {
    let holders: Vec<String> = by.iter().map(ToString::to_string).collect();
    if holders.is_empty() { role.to_string() } else { holders.join(", ") }
}

fn at(moment: Option<UtcTime>) -> String {
    moment.map(|moment| format!(" at {moment}")).unwrap_or_default()
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {}", reason.escape_debug())).unwrap_or_default()
}
