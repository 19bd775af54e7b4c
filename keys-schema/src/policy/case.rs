//! What a policy is asked about: everything that was verified about one image, before anybody said
//! whether it is enough. Whoever fills a [`Case`] has checked signatures, digests and expiry; the
//! policy only weighs.

use std::collections::{BTreeMap, BTreeSet};

use super::CheckId;
use crate::attest::{Attestation, Kind};
use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::metadata::{ImageFacts, Platform};
use crate::names::{RepositoryName, SignerName, Tag};
use crate::time::UtcTime;

/// One image and what is known of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What was asked for.
    pub image: AskedImage,
    /// What the trust metadata says.
    pub standing: Standing,
    /// What the image is: from the signed metadata, or from bytes that were checked from the digest in
    /// `standing` down. Nothing where neither is at hand; then every check that needs it fails.
    pub facts: Option<ImageFacts>,
    /// Everything that attesters list for this image, valid or not, once for each role that lists it.
    pub attestations: Vec<ListedAttestation>,
    /// When a vulnerability was seen for the first time, by the name that a report gives it. Only a
    /// record that lasts belongs here: one that forgets would put off the end of `fix_within` for ever.
    /// What is missing counts as seen long ago.
    pub first_seen: BTreeMap<String, UtcTime>,
}

/// An image as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedImage {
    /// The repository, with host, normalised as in [`ImageRef`](crate::names::ImageRef).
    pub repository: RepositoryName,
    /// The tag, also the one that stands for none.
    pub tag: Option<Tag>,
    /// The digest, if one was given.
    pub digest: Option<Sha256Digest>,
    /// The platform that will be used, if it is known.
    pub platform: Option<Platform>,
}

/// What the trust metadata says of the image.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It refuses, or there is none.
    Refused {
        /// Which check it fails: one of `revoked.*`, `quarantined`, `trust.*`, `meta.*`, `tag.*`,
        /// `ref.invalid`, `ref.empty` or `internal`.
        check: CheckId,
        /// Why, for people.
        message: String,
        /// The digest in question, where there is one.
        digest: Option<Sha256Digest>,
    },
    /// It vouches for a digest, and the registry, where it was asked, serves that digest.
    Signed(Box<SignedImage>),
}

/// A digest that the trust metadata vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedImage {
    /// The tag that it is signed under.
    pub tag: Tag,
    /// The digest of the manifest or the index.
    pub digest: Sha256Digest,
    /// Length of that manifest, in bytes.
    pub size: u64,
    /// Everybody who vouches for the tag with this digest. The role that lists all released tags is
    /// no signer.
    pub signers: Vec<Voucher>,
    /// What the signed metadata demands by itself.
    pub demands: Demands,
    /// When the server last said under its signature that this state is the current one. Nothing where
    /// the metadata does not tell.
    pub fresh_at: Option<UtcTime>,
    /// The server could not be asked; this is what was kept.
    pub offline: bool,
    /// Until when the metadata above the signers can be used.
    pub valid_until: UtcTime,
}

/// A signer who vouches for the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The signer.
    pub name: SignerName,
    /// The keys whose good signatures stand on his document. Never empty for one that counts.
    pub keys: BTreeSet<Fingerprint>,
    /// When he signed, in his own words.
    pub signed_at: Option<UtcTime>,
    /// When his document expires.
    pub expires: UtcTime,
}

/// What signed metadata demands of the images of its repository. A policy may ask for more, never for
/// less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// How many signers have to vouch. 0 and 1 mean one.
    pub threshold: usize,
    /// Signers who must be among them.
    pub must_include: BTreeSet<SignerName>,
}

/// An envelope in the current document of a role whose scope covers its path.
#[derive(Clone, Debug)]
pub struct ListedAttestation {
    /// The role that lists it.
    pub signer: SignerName,
    /// The digest of the envelope.
    pub digest: Sha256Digest,
    /// When the role says that it was attested.
    pub signed_at: Option<UtcTime>,
    /// Until when the role's document can be used.
    pub expires: UtcTime,
    /// What it says, if its bytes are those that are listed, a key of this very role signed it, and it
    /// can be read.
    pub content: Result<Attestation, UnusableAttestation>,
}

/// An attestation that is listed and does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableAttestation {
    /// What its path says that it is.
    pub kind: Kind,
    /// Which check it fails: `att.signer` for a signature, `att.subject` for another image,
    /// `att.missing` for bytes that cannot be had, `att.format` for the rest.
    pub check: CheckId,
    /// Why, for people.
    pub message: String,
}
