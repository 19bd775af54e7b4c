//! Which attestation counts for each entry of a rule, and whether it says what the rule wants.

use super::super::CheckId;
use super::super::case::{Case, ListedAttestation};
use super::super::ledger::{Ledger, SKEW};
use super::super::rules::{AttestationRule, Rule, Wanted};
use super::super::verdict::{Check, Evidence};
use super::findings;
use super::subjects::Subject;
use crate::attest::{Attestation, Kind};
use crate::time::UtcTime;

/// An attestation that may count, read.
pub(super) struct Candidate<'a> {
    pub(super) listed: &'a ListedAttestation,
    pub(super) said: &'a Attestation,
    /// Of when it is: the earlier of what it says itself and what its signer says.
    pub(super) at: Option<UtcTime>,
}

impl<'a> Candidate<'a> {
    /// What is listed, if it can be used at all.
    pub(super) fn of(listed: &'a ListedAttestation) -> Option<Self> {
        let said = listed.content.as_ref().ok()?;
        let at = match (said.scanned_at, listed.signed_at) {
            (Some(said), Some(signed)) => Some(said.min(signed)),
            (said, signed) => said.or(signed),
        };
        Some(Self { listed, said, at })
    }

    /// Whether it is about `subject`.
    pub(super) fn is_about(&self, subject: &Subject<'_>) -> bool {
        self.said.subjects.iter().any(|digest| subject.is(*digest))
    }

    /// Why it cannot be used at `now`, whoever made it.
    pub(super) fn flaw(&self, now: UtcTime) -> Option<Flaw> {
        let ahead = self.at.filter(|at| at.seconds_since(now) > SKEW);
        if self.listed.expires.is_over(now) {
            return Some((
                CheckId::AttStale,
                format!("the list it stands in expired at {}", self.listed.expires),
            ));
        }
        ahead.map(|at| (CheckId::AttStale, format!("it is of {at}, which is still to come")))
    }
}

/// The check that something fails, and why.
type Flaw = (CheckId, String);

/// All entries of the rule, for all images in question. Gives back how large each image is unpacked,
/// by the largest number in a report that counts.
pub(super) fn check(
    rule: &Rule,
    case: &Case,
    subjects: &[Subject<'_>],
    ledger: &mut Ledger<'_>,
) -> Vec<Option<u64>> {
    let mut sizes = vec![None; subjects.len()];
    for entry in &rule.attestations {
        if subjects.is_empty() {
            ledger.fail(CheckId::AttMissing, format!("{}: there is no image to attest", entry.name));
        }
        for (subject, size) in subjects.iter().zip(&mut sizes) {
            *size = one(entry, case, subject, ledger).max(*size);
        }
    }
    sizes
}

fn one(entry: &AttestationRule, case: &Case, subject: &Subject<'_>, ledger: &mut Ledger<'_>) -> Option<u64> {
    let mut usable = Vec::new();
    let mut flawed: Vec<(&ListedAttestation, Flaw)> = Vec::new();
    for listed in case.attestations.iter().filter(|listed| is_wanted(entry, listed)) {
        match judge(entry, listed, subject, ledger.now) {
            Ok(candidate) => usable.push(candidate),
            Err(flaw) => flawed.push((listed, flaw)),
        }
    }
    let newest = usable
        .into_iter()
        .max_by_key(|candidate| (candidate.at, candidate.listed.signed_at, candidate.listed.digest));
    let ignored: Vec<String> =
        flawed.iter().map(|(listed, (_, why))| format!("{}'s is not used: {why}", listed.signer)).collect();
    let name = format!("{}{}", subject.prefix(), entry.name);
    let Some(chosen) = newest else {
        missing(entry, &name, &flawed, &ignored, ledger);
        return None;
    };
    let evidence = evidence(entry, &chosen, subject);
    let check = Check::new(CheckId::AttMissing, true).saying(ignored.join("; "));
    ledger.note(check.from([evidence.clone()]));
    ledger.expire(chosen.listed.expires);
    age(entry, &chosen, &name, &evidence, ledger);
    required(entry, &chosen, &name, &evidence, ledger);
    if entry.wanted == Wanted::Kind(Kind::Vulns) {
        findings::check(entry, &chosen, case, subject, &evidence, ledger);
    }
    chosen.said.scan.as_ref().and_then(|scan| scan.unpacked_size)
}

/// There is none: the reason that comes nearest to one is the check that fails.
fn missing(
    entry: &AttestationRule,
    name: &str,
    flawed: &[(&ListedAttestation, Flaw)],
    ignored: &[String],
    ledger: &mut Ledger<'_>,
) {
    let own = flawed.iter().filter(|(listed, _)| entry.signers.contains(&listed.signer));
    let near = own.map(|(_, (check, _))| *check).next();
    let other = flawed.first().map(|(_, (check, _))| *check);
    let check = near.or(other).unwrap_or(CheckId::AttMissing);
    let detail = match ignored {
        [] => format!("{name}: there is none"),
        ignored => format!("{name}: {}", ignored.join("; ")),
    };
    ledger.note(Check::new(check, false).saying(detail));
}

/// Whether the entry asks for such an attestation, by what it is or, where it cannot be read, by what
/// it is listed as.
fn is_wanted(entry: &AttestationRule, listed: &ListedAttestation) -> bool {
    match (&entry.wanted, &listed.content) {
        // A document can be an inventory and list vulnerabilities.
        (Wanted::Kind(Kind::Sbom), Ok(said)) => said.inventory.is_some(),
        (Wanted::Kind(kind), Ok(said)) => said.kind == *kind,
        (Wanted::Kind(kind), Err(unusable)) => unusable.kind == *kind,
        (Wanted::Predicate(uri), Ok(said)) => said.predicate_type == *uri,
        (Wanted::Predicate(_), Err(unusable)) => unusable.kind == Kind::Other,
    }
}

fn judge<'a>(
    entry: &AttestationRule,
    listed: &'a ListedAttestation,
    subject: &Subject<'_>,
    now: UtcTime,
) -> Result<Candidate<'a>, Flaw> {
    if !entry.signers.contains(&listed.signer) {
        return Err((CheckId::AttSigner, "the rule does not name this signer".to_owned()));
    }
    if let Err(unusable) = &listed.content {
        let check = match unusable.check {
            check @ (CheckId::AttMissing | CheckId::AttSigner | CheckId::AttSubject) => check,
            _ => CheckId::AttFormat,
        };
        return Err((check, unusable.message.clone()));
    }
    let candidate =
        Candidate::of(listed).ok_or_else(|| (CheckId::AttFormat, "it cannot be read".to_owned()))?;
    if !candidate.is_about(subject) {
        return Err((CheckId::AttSubject, "it is about another image".to_owned()));
    }
    if candidate.said.is_of_another(&subject.identity()) {
        return Err((CheckId::AttSubject, "the report in it is of another image".to_owned()));
    }
    match candidate.flaw(now) {
        Some(flaw) => Err(flaw),
        None => Ok(candidate),
    }
}

fn age(
    entry: &AttestationRule,
    chosen: &Candidate<'_>,
    name: &str,
    evidence: &Evidence,
    ledger: &mut Ledger<'_>,
) {
    let Some(most) = entry.max_age.map(|span| span.seconds()) else { return };
    let holds = chosen.at.is_some_and(|at| ledger.now.seconds_since(at) <= most);
    let check = Check::new(CheckId::AttStale, holds).limit(most.unsigned_abs()).from([evidence.clone()]);
    let check = match chosen.at {
        Some(at) => {
            ledger.expire_after(at, most);
            check.actual(at).saying(if holds { String::new() } else { format!("{name}: it is of {at}") })
        }
        None => check.saying(format!("{name}: nobody says when it was made")),
    };
    ledger.note(check);
}

fn required(
    entry: &AttestationRule,
    chosen: &Candidate<'_>,
    name: &str,
    evidence: &Evidence,
    ledger: &mut Ledger<'_>,
) {
    for (pointer, wanted) in &entry.require {
        let found = chosen.said.predicate.as_ref().and_then(|predicate| predicate.pointer(pointer));
        let check = Check::new(CheckId::AttFormat, found == Some(wanted))
            .limit(wanted.to_string().as_str())
            .from([evidence.clone()]);
        ledger.note(match found {
            Some(found) => {
                let shown: String = found.to_string().chars().take(80).collect();
                check.actual(shown.as_str()).saying(format!("{name}: {pointer}"))
            }
            None => check.saying(format!("{name}: {pointer} is not there")),
        });
    }
}

fn evidence(entry: &AttestationRule, chosen: &Candidate<'_>, subject: &Subject<'_>) -> Evidence {
    Evidence {
        attestation: Some(entry.name.clone()),
        signer: Some(chosen.listed.signer.clone()),
        digest: Some(chosen.listed.digest),
        platform: subject.name(),
        at: chosen.at,
    }
}
