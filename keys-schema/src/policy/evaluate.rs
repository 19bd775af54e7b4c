//! The one order in which an image is held against a policy: blocked registry, deny list, allowed
//! registry, the rule, trust metadata, tag and digest, signers, platforms, attestations, the image
//! itself; exceptions as each check is noted, and the mode at the end.
//!
//! A check that fails does not end the walk, so that whoever reads the verdict sees all there is to
//! mend. Only where nothing is left to look at the rest does not apply.

mod attestations;
mod findings;
mod image;
mod signing;
mod subjects;

use super::CheckId;
use super::case::{Case, SignedImage, Standing};
use super::ledger::{Ledger, SKEW};
use super::rules::{Policy, Rule};
use super::verdict::{Check, Verdict};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

impl Policy {
    /// Holds an image against this policy.
    #[must_use]
    pub fn evaluate(&self, case: &Case, now: UtcTime) -> Verdict {
        let repository = &case.image.repository;
        let rule = self.rule(repository);
        let mut ledger = Ledger::new(self, repository, now);
        self.registry(case, &mut ledger);
        match rule {
            Some(rule) => {
                ledger.pass(CheckId::PolicyNoMatch);
                self.apply(rule, case, &mut ledger);
            }
            None => {
                ledger.fail(CheckId::PolicyNoMatch, format!("no rule is for {repository}"));
                refusal(None, case, &mut ledger);
            }
        }
        let is_known = rule.is_some() && matches!(case.standing, Standing::Signed(_));
        let verdict = ledger.close(self, rule.map(|rule| (rule.name.as_str(), rule.mode)), digest(case));
        // Where no metadata was looked at, nothing says how long there will be none that revokes.
        Verdict { valid_until: verdict.valid_until.filter(|_| is_known), ..verdict }
    }

    /// The verdict on something that there is no case for, such as a text that is no image reference.
    #[must_use]
    pub fn refuse(&self, check: CheckId, why: &str, now: UtcTime) -> Verdict {
        let mut ledger = Ledger::empty(now);
        ledger.fail(check, why);
        ledger.close(self, None, None)
    }

    fn registry(&self, case: &Case, ledger: &mut Ledger<'_>) {
        let repository = &case.image.repository;
        let host = repository.host().unwrap_or_default();
        if self.block.iter().any(|pattern| pattern.blocks(repository)) {
            ledger.fail(CheckId::RegistryBlocked, format!("{host} is blocked"));
        } else {
            ledger.pass(CheckId::RegistryBlocked);
        }
        let Some(allowed) = &self.allow else { return };
        if allowed.iter().any(|pattern| pattern.allows(repository)) {
            ledger.pass(CheckId::RegistryNotAllowed);
        } else {
            ledger.fail(CheckId::RegistryNotAllowed, format!("{host} is not on the list of registries"));
        }
    }

    fn apply(&self, rule: &Rule, case: &Case, ledger: &mut Ledger<'_>) {
        reference(rule, case, ledger);
        let goes_on = match &case.standing {
            Standing::Refused { .. } => refusal(Some(rule), case, ledger),
            Standing::Signed(signed) => {
                self.metadata(rule, case, signed, ledger);
                true
            }
        };
        if !goes_on {
            return;
        }
        let signed = match &case.standing {
            Standing::Signed(signed) => Some(&**signed),
            Standing::Refused { .. } => None,
        };
        if rule.signing.required {
            signing::check(&rule.signing, signed, ledger);
        }
        let subjects = subjects::check(rule, case, digest(case), ledger);
        let unpacked = attestations::check(rule, case, &subjects, ledger);
        image::check(rule, &subjects, &unpacked, ledger);
    }

    /// What trust metadata has to be besides valid. It was verified; that is not done again.
    fn metadata(&self, rule: &Rule, case: &Case, signed: &SignedImage, ledger: &mut Ledger<'_>) {
        use CheckId::{
            MetaExpired, MetaRollback, Quarantined, RevokedDigest, RevokedSigner, RevokedTag, TagUnknown,
            TrustNoData, TrustNoRoot,
        };
        for id in [
            RevokedTag,
            RevokedDigest,
            RevokedSigner,
            Quarantined,
            TrustNoRoot,
            TrustNoData,
            MetaRollback,
            TagUnknown,
        ] {
            ledger.pass(id);
        }
        if signed.valid_until.is_over(ledger.now) {
            ledger.fail(MetaExpired, format!("the metadata expired at {}", signed.valid_until));
        } else {
            ledger.expire(signed.valid_until);
            ledger.pass(MetaExpired);
        }
        if rule.needs_trust() {
            self.freshness(case, signed, ledger);
        }
        signing::demands(signed, ledger);
        let asked = &case.image;
        let other_tag = asked.tag.as_ref().is_some_and(|tag| *tag != signed.tag);
        let other_digest = asked.digest.is_some_and(|digest| digest != signed.digest);
        let check = Check::new(CheckId::TagMismatch, !(other_tag || other_digest));
        ledger.note(if other_tag || other_digest {
            let (tag, digest) = (&signed.tag, signed.digest.to_oci());
            check
                .saying(format!("the signers vouch for {tag} with {digest}, which is not what was asked for"))
        } else {
            check
        });
    }

    fn freshness(&self, case: &Case, signed: &SignedImage, ledger: &mut Ledger<'_>) {
        let Some(trust) = self.trust_of(&case.image.repository) else { return };
        let Some(most) = trust.metadata_max_age else { return };
        let grace = trust.offline_grace.filter(|_| signed.offline).map_or(0, |grace| grace.seconds());
        let most = most.seconds().saturating_add(grace);
        let check = |holds| Check::new(CheckId::MetaStale, holds).limit(most.unsigned_abs());
        let Some(at) = signed.fresh_at else {
            ledger.note(check(false).saying("the metadata does not tell when it was made"));
            return;
        };
        let age = ledger.now.seconds_since(at);
        let check = check((-SKEW..=most).contains(&age)).actual(at);
        let is_ahead = age < -SKEW;
        ledger.note(if is_ahead { check.saying("the metadata was made in the future") } else { check });
        ledger.expire_after(at, most);
    }
}

/// How the image was asked for.
fn reference(rule: &Rule, case: &Case, ledger: &mut Ledger<'_>) {
    let asked = &case.image;
    if rule.require_digest {
        let holds = asked.digest.is_some();
        let check = Check::new(CheckId::RefDigestRequired, holds);
        ledger.note(if holds { check } else { check.saying("the image was not asked for by digest") });
    }
    // By digest alone, the tag that the signers vouch for it under is what is denied or not.
    let signed = match &case.standing {
        Standing::Signed(signed) => Some(&signed.tag),
        Standing::Refused { .. } => None,
    };
    let Some(tag) = asked.tag.as_ref().or(signed) else { return };
    if rule.tags.is_none() && rule.deny_tags.is_empty() {
        return;
    }
    let denied = rule.deny_tags.iter().find(|glob| glob.matches(tag));
    let unlisted = rule.tags.as_ref().is_some_and(|tags| !tags.iter().any(|glob| glob.matches(tag)));
    let check = Check::new(CheckId::RefTagDenied, denied.is_none() && !unlisted).actual(tag.as_str());
    ledger.note(match denied {
        Some(glob) => check.saying(format!("the rule denies tags like {}", glob.as_str())),
        None if unlisted => check.saying("the rule allows other tags only"),
        None => check,
    });
}

/// What the trust metadata refused. Gives back whether there is something left to look at.
fn refusal(rule: Option<&Rule>, case: &Case, ledger: &mut Ledger<'_>) -> bool {
    let Standing::Refused { check, message, .. } = &case.standing else { return false };
    let is_wanted = rule.is_some_and(|rule| rule.signing.required)
        || check.is_protected()
        || check.is_error()
        || *check == CheckId::Quarantined;
    if !is_wanted {
        return true;
    }
    ledger.fail(*check, message)
}

/// The digest in question.
fn digest(case: &Case) -> Option<Sha256Digest> {
    match &case.standing {
        Standing::Signed(signed) => Some(signed.digest),
        Standing::Refused { digest, .. } => digest.or(case.image.digest),
    }
}
