//! What is attested of an image, as a policy takes it.

use std::collections::BTreeSet;

use bulla_keys_schema::attest::{InvalidAttestation, Kind};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, SignerName};
use bulla_keys_schema::policy::{CheckId, ListedAttestation, Policy, UnusableAttestation};
use bulla_keys_schema::time::UtcTime;

use crate::flow::evidence::{Found, Unsound, evidence};
use crate::flow::refresh::RefreshError;
use crate::flow::vouching::Repository;

/// Everything that attesters list for `images`.
///
/// # Errors
/// As for [`evidence`].
pub(super) async fn gather(
    repository: &Repository<'_>,
    name: &RepositoryName,
    policy: &Policy,
    images: &[Sha256Digest],
) -> Result<Vec<ListedAttestation>, RefreshError> {
    let found = evidence(repository, images).await?.found;
    let withheld = withheld(&found, &trusted(policy, name));
    Ok(found.into_iter().filter_map(|found| listed(found, &withheld)).collect())
}

/// Who may attest by the rule that is for the repository.
fn trusted(policy: &Policy, name: &RepositoryName) -> BTreeSet<SignerName> {
    let rules = policy.rule(name).map(|rule| rule.attestations()).unwrap_or_default();
    rules.iter().flat_map(|rule| rule.signers() | rule.vex_signers()).collect()
}

/// An entry whose bytes nobody has. Who keeps a bad report back must not make an older one count
/// again, whoever made that, and whether of the index or of an image in it: nobody knows of how many
/// it speaks.
struct Withheld {
    signer: SignerName,
    kind: Option<Kind>,
    at: Option<UtcTime>,
}

impl Withheld {
    fn is_newer_than(&self, found: &Found) -> bool {
        let no_newer = match (found.signed_at, self.at) {
            (Some(theirs), Some(own)) => theirs <= own,
            _ => true,
        };
        self.kind == found.kind && no_newer
    }
}

fn withheld(found: &[Found], trusted: &BTreeSet<SignerName>) -> Vec<Withheld> {
    let missing = found.iter().filter(|found| matches!(found.standing, Err(Unsound::Missing)));
    let is_settled = |gone: &Found| {
        // Of other kinds nobody knows which of them takes the place of which.
        gone.kind != Some(Kind::Other)
            && found.iter().any(|other| {
                (&other.role, other.subject, other.kind) == (&gone.role, gone.subject, gone.kind)
                    && other.standing.is_ok()
                    && other.signed_at > gone.signed_at
            })
    };
    let entry = |gone: &Found| {
        let signer: SignerName = gone.role.as_str().parse().ok()?;
        trusted.contains(&signer).then_some(Withheld { signer, kind: gone.kind, at: gone.signed_at })
    };
    missing.filter(|gone| !is_settled(gone)).filter_map(entry).collect()
}

fn listed(found: Found, withheld: &[Withheld]) -> Option<ListedAttestation> {
    // Other tools give names that no policy can write.
    let signer = found.role.as_str().parse().ok()?;
    let kind = found.kind.unwrap_or(Kind::Other);
    let newer = withheld.iter().find(|newer| newer.is_newer_than(&found));
    let unusable = |check, message| Err(UnusableAttestation { kind, check, message });
    let (digest, signed_at, expires) = (found.digest?, found.signed_at, found.expires);
    let content = match (found.standing, newer) {
        (Ok(_), Some(newer)) => unusable(
            CheckId::AttMissing,
            format!("a newer one of {} is listed, and the trust server does not give it out", newer.signer),
        ),
        (Ok(sound), None) => Ok(sound.attestation),
        (Err(unsound), _) => unusable(check_of(&unsound), unsound.to_string()),
    };
    Some(ListedAttestation { signer, digest, signed_at, expires, content })
}

const fn check_of(unsound: &Unsound) -> CheckId {
    match unsound {
        Unsound::Missing | Unsound::TooMany => CheckId::AttMissing,
        Unsound::OtherImage => CheckId::AttSubject,
        Unsound::Attestation(InvalidAttestation::NotSigned) | Unsound::Denied | Unsound::Scope => {
            CheckId::AttSigner
        }
        Unsound::Envelope(_)
        | Unsound::Attestation(_)
        | Unsound::Name
        | Unsound::OtherKind { .. }
        | Unsound::TooLarge { .. } => CheckId::AttFormat,
    }
}
