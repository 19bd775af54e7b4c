//! From what a test says to what a policy takes.

use std::collections::BTreeSet;

use bulla_keys_schema::attest::{Attestation, Declared, Envelope, Predicate, SubjectClaim};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::limits::{ENVELOPE_BYTES, REPORT_BYTES};
use bulla_keys_schema::metadata::{BaseImage, ChildFacts, Facts, ImageFacts, Labels, Platform};
use bulla_keys_schema::policy::{
    AskedImage, Case, CheckId, Demands, ListedAttestation, SignedImage, Standing, UnusableAttestation,
    Voucher,
};
use bulla_keys_schema::time::UtcTime;

use super::{
    AttestationEntry, CaseEntry, ExpectWord, Expected, FactsEntry, InvalidTests, Material, Planned,
    SignedEntry,
};

/// How long what is not said is good for, in seconds.
const YEAR: i64 = 365 * 24 * 60 * 60;

impl CaseEntry {
    pub(super) fn plan(&self, material: &dyn Material, now: UtcTime) -> Result<Planned, InvalidTests> {
        let fault = |fault: String| InvalidTests::Case { name: self.name.clone(), fault };
        let now = self.now.unwrap_or(now);
        let digest = self.digest();
        let decision = match (self.expect, self.check) {
            (ExpectWord::Allow, None) => "allow",
            (ExpectWord::Audit, Some(_)) => "audit",
            (ExpectWord::Deny, Some(_)) => "deny",
            (ExpectWord::Allow, Some(_)) => return Err(fault("an allowed image fails no check".to_owned())),
            (_, None) => return Err(fault("it does not say which check fails".to_owned())),
        };
        let standing = match (&self.refused, &self.signed) {
            (Some(refused), None) => Standing::Refused {
                check: refused.check,
                message: refused.message.clone(),
                digest: self.image.digest(),
            },
            (None, Some(signed)) => Standing::Signed(Box::new(self.signed(signed, digest, now)?)),
            _ => return Err(fault("write either [case.signed] or [case.refused]".to_owned())),
        };
        let facts = self.facts.as_ref().map(|facts| facts.image(digest));
        let attestations: Result<Vec<_>, _> = self
            .attestation
            .iter()
            .map(|entry| entry.listed(material, digest, facts.as_ref(), now).map_err(fault))
            .collect();
        Ok(Planned {
            name: self.name.clone(),
            case: Case {
                image: AskedImage {
                    repository: self.image.repository().clone(),
                    tag: self.image.tag().cloned(),
                    digest: self.image.digest(),
                    platform: self.platform.clone(),
                },
                standing,
                attestations: attestations?,
                facts,
                first_seen: self.first_seen.iter().map(|(name, at)| (name.clone(), at.0)).collect(),
            },
            now,
            expected: Expected { decision, check: self.check, rule: self.rule.clone() },
        })
    }

    /// The digest of the image: as signed, as asked for, or made up.
    fn digest(&self) -> Sha256Digest {
        let signed = self.signed.as_ref().and_then(|signed| signed.digest);
        signed.or(self.image.digest()).unwrap_or_else(|| Sha256Digest::of(self.image.to_string().as_bytes()))
    }

    fn signed(
        &self,
        signed: &SignedEntry,
        digest: Sha256Digest,
        now: UtcTime,
    ) -> Result<SignedImage, InvalidTests> {
        let tag = self.image.tag().cloned().or_else(|| "latest".parse().ok());
        let fault =
            || InvalidTests::Case { name: self.name.clone(), fault: "the image has no tag".to_owned() };
        let signers = signed.by.iter().map(|voucher| Voucher {
            name: voucher.signer.clone(),
            keys: key_of(voucher.signer.as_str()),
            signed_at: voucher.at.or(Some(now)),
            expires: now.plus_seconds(YEAR),
        });
        Ok(SignedImage {
            tag: tag.ok_or_else(fault)?,
            digest,
            size: signed.size.unwrap_or(1),
            signers: signers.collect(),
            demands: Demands::default(),
            fresh_at: signed.fresh_at.or(Some(now)),
            offline: signed.offline,
            valid_until: now.plus_seconds(YEAR),
        })
    }
}

/// Each signer has one key, and none of another's.
fn key_of(name: &str) -> BTreeSet<Fingerprint> {
    Sha256Digest::of(name.as_bytes()).to_string().parse().into_iter().collect()
}

impl FactsEntry {
    fn image(&self, digest: Sha256Digest) -> ImageFacts {
        if self.child.is_empty() {
            return ImageFacts::Single(self.facts(digest));
        }
        let nowhere = || Platform { os: "unknown".into(), architecture: "unknown".into(), variant: None };
        let child = |(at, child): (usize, &Self)| {
            let made_up = || Sha256Digest::of(format!("{digest} {at}").as_bytes());
            let own = child.digest.unwrap_or_else(made_up);
            let platform = child.platform.clone().unwrap_or_else(nowhere);
            let facts = (!platform.is_none()).then(|| child.facts(own));
            ChildFacts { platform, digest: own, facts }
        };
        ImageFacts::Index(self.child.iter().enumerate().map(child).collect())
    }

    fn facts(&self, digest: Sha256Digest) -> Facts {
        Facts {
            config: Sha256Digest::of(format!("configuration of {digest}").as_bytes()),
            platform: self.platform.clone(),
            user: self.user.clone(),
            labels: Labels::Full(self.labels.clone()),
            size: self.size,
            layers: self.layers,
            base: self.base.clone().map(|name| BaseImage { name, digest: None }),
        }
    }
}

impl AttestationEntry {
    fn listed(
        &self,
        material: &dyn Material,
        image: Sha256Digest,
        facts: Option<&ImageFacts>,
        now: UtcTime,
    ) -> Result<ListedAttestation, String> {
        let attestation = self.attestation(material, image, now)?;
        let kind = attestation.kind;
        let unusable =
            |check, message: &str| Err(UnusableAttestation { kind, check, message: message.to_owned() });
        let children = match facts {
            Some(ImageFacts::Index(children)) => children.iter().map(|child| child.digest).collect(),
            _ => vec![],
        };
        let is_of = |digest: &Sha256Digest| *digest == image || children.contains(digest);
        let content = match self.unusable {
            Some(check) => unusable(check, "the test says so"),
            None if !attestation.subjects.iter().any(is_of) => {
                unusable(CheckId::AttSubject, "the statement is about another image")
            }
            None => Ok(attestation),
        };
        let digest = Sha256Digest::of(format!("{} {:?} {}", self.signer, self.at, self.source()).as_bytes());
        Ok(ListedAttestation {
            signer: self.signer.clone(),
            digest,
            signed_at: self.at.or(Some(now)),
            expires: now.plus_seconds(YEAR),
            content,
        })
    }

    fn source(&self) -> &str {
        let named = [&self.report, &self.envelope, &self.predicate_type];
        named.into_iter().find_map(Option::as_deref).unwrap_or_default()
    }

    fn attestation(
        &self,
        material: &dyn Material,
        image: Sha256Digest,
        now: UtcTime,
    ) -> Result<Attestation, String> {
        let subject = self.subject.unwrap_or(image);
        let declared = Declared { arguments: self.arguments.clone(), database_at: self.database_at };
        let at = |name: &str, error: &dyn std::fmt::Display| format!("{name}: {error}");
        let predicate = match (&self.report, &self.envelope, &self.predicate) {
            (Some(name), None, None) => {
                let bytes = material.read(name, REPORT_BYTES).map_err(|error| at(name, &error))?;
                Predicate::of_report(&bytes, None, &declared).map_err(|error| at(name, &error))?
            }
            (None, Some(name), None) => {
                let bytes = material.read(name, ENVELOPE_BYTES).map_err(|error| at(name, &error))?;
                let envelope = Envelope::parse(bytes).map_err(|error| at(name, &error))?;
                return Attestation::read(envelope.payload()).map_err(|error| at(name, &error));
            }
            (None, None, Some(value)) => {
                let uri = self.predicate_type.as_deref().ok_or("a predicate without predicate_type")?;
                let text = value.to_string();
                Predicate::custom(text.as_bytes(), Some(uri), now).map_err(|error| at("predicate", &error))?
            }
            _ => return Err("an attestation needs one of report, envelope and predicate".to_owned()),
        };
        let (_, mut attestation) =
            predicate.statement("image", subject).map_err(|error| at(self.source(), &error))?;
        // The image is made up, so that the report names another one; the test says what it is of.
        attestation.scan.iter_mut().for_each(|scan| scan.subjects.clear());
        attestation.inventory.iter_mut().for_each(|list| list.subject = SubjectClaim::default());
        Ok(attestation)
    }
}
