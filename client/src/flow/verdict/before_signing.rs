//! What a policy would say of an image at pull, if it were signed now.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{ImageFacts, Platform, TargetInfo};
use bulla_keys_schema::names::{ImageRef, RoleName, SignerName, Tag};
use bulla_keys_schema::policy::{
    AskedImage, Case, CheckId, Demands, Policy, SignedImage, Standing, Verdict, Voucher,
};
use bulla_keys_schema::time::UtcTime;

use super::{attested, open, standing, subjects};
use crate::flow::Ports;
use crate::flow::verify::VerifyError;

/// An image that is about to be signed.
#[derive(Clone, Debug)]
pub struct Signing<'a> {
    /// Its repository and tag.
    pub image: &'a ImageRef,
    /// The tag.
    pub tag: &'a Tag,
    /// The digest that the tag is to mean.
    pub digest: Sha256Digest,
    /// Size of the manifest, in bytes.
    pub size: u64,
    /// What it is, as far as known.
    pub facts: Option<&'a ImageFacts>,
    /// The platform that will be used, if it is known.
    pub platform: Option<&'a Platform>,
}

/// What is known of it now, but for the new signature.
#[derive(Clone, Debug)]
pub struct BeforeSigning<'p> {
    policy: &'p Policy,
    case: Case,
}

/// Who signs, with what the signature will say.
#[derive(Clone, Debug)]
pub struct NewSignature {
    /// The role.
    pub role: RoleName,
    /// Its keys.
    pub keys: BTreeSet<Fingerprint>,
    /// When its new document expires.
    pub expires: UtcTime,
}

impl<'p> BeforeSigning<'p> {
    /// Finds out all that `policy` will look at.
    ///
    /// # Errors
    /// The cache or the pins cannot be used. What speaks against the image is for the verdict.
    pub async fn look(
        ports: Ports<'_>,
        policy: &'p Policy,
        signing: &Signing<'_>,
    ) -> Result<Self, VerifyError> {
        let mut case = Case {
            image: AskedImage {
                repository: signing.image.repository().clone(),
                tag: Some(signing.tag.clone()),
                digest: Some(signing.digest),
                platform: signing.platform.cloned(),
            },
            standing: Standing::Refused { check: CheckId::Internal, message: String::new(), digest: None },
            facts: signing.facts.cloned(),
            attestations: vec![],
            first_seen: BTreeMap::new(),
        };
        match gather(ports, policy, signing, &mut case).await {
            Ok(()) => {}
            Err(error) => case.standing = standing::of(&error).ok_or(error)?,
        }
        Ok(Self { policy, case })
    }

    /// The verdict on the image as it will be with this signature.
    #[must_use]
    pub fn with(&self, new: &NewSignature, now: UtcTime) -> Verdict {
        let mut case = self.case.clone();
        if let Standing::Signed(image) = &mut case.standing
            && let Some(name) = signer(&new.role)
        {
            image.signers.retain(|voucher| voucher.name != name);
            let (keys, expires) = (new.keys.clone(), new.expires);
            image.signers.push(Voucher { name, keys, signed_at: Some(now), expires });
        }
        self.policy.evaluate(&case, now)
    }
}

/// `targets` is the admin, and no signer.
fn signer(role: &RoleName) -> Option<SignerName> {
    match role {
        RoleName::Delegated(name) => name.as_str().parse().ok(),
        _ => None,
    }
}

async fn gather(
    ports: Ports<'_>,
    policy: &Policy,
    signing: &Signing<'_>,
    case: &mut Case,
) -> Result<(), VerifyError> {
    let name = signing.image.repository();
    let repository = open(ports, policy, name).await?;
    let hashes = Hashes::sha256(signing.digest);
    repository.require_not_denied(&hashes)?;
    let info = TargetInfo { length: signing.size, hashes, custom: None };
    let others = repository.who_lists(signing.tag, &info).await?;
    let images = subjects(signing.digest, signing.facts);
    case.attestations = attested::gather(&repository, name, policy, &images).await?;
    case.standing = Standing::Signed(Box::new(SignedImage {
        tag: signing.tag.clone(),
        digest: signing.digest,
        size: signing.size,
        signers: standing::signers(&others),
        demands: Demands::default(),
        fresh_at: Some(repository.session().fresh_at()?),
        offline: repository.session().offline().is_some(),
        valid_until: repository.listed_until(),
    }));
    Ok(())
}
