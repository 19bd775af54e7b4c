//! Who vouches for the image, counted: persons, not keys and not signatures.

use std::collections::BTreeSet;

use super::super::CheckId;
use super::super::case::{SignedImage, Voucher};
use super::super::ledger::{Ledger, SKEW};
use super::super::rules::Signing;
use super::super::verdict::{Check, Evidence, Quantity};
use crate::key::Fingerprint;
use crate::names::SignerName;
use crate::time::UtcTime;

/// What the signed metadata demands by itself. Exceptions do not reach it, nor does a policy.
pub(super) fn demands(signed: &SignedImage, ledger: &mut Ledger<'_>) {
    let demands = &signed.demands;
    if demands.threshold <= 1 && demands.must_include.is_empty() {
        ledger.pass(CheckId::MetaThreshold);
        return;
    }
    let vouchers: Vec<&Voucher> = signed.signers.iter().filter(|one| counts(one, ledger.now)).collect();
    let holds = is_met(&vouchers, demands.threshold, &demands.must_include);
    let check = Check::new(CheckId::MetaThreshold, holds).limit(demands.threshold).actual(people(&vouchers));
    ledger.note(check.saying("what the signed metadata demands").from(evidence(&vouchers)));
    expire(&vouchers, demands.threshold, &demands.must_include, |voucher| voucher.expires, ledger);
}

/// What the rule wants.
pub(super) fn check(rule: &Signing, signed: Option<&SignedImage>, ledger: &mut Ledger<'_>) {
    let all = signed.map_or(&[][..], |signed| &signed.signers);
    let is_named =
        |voucher: &&Voucher| rule.signers.as_ref().is_none_or(|named| named.contains(&voucher.name));
    let vouchers: Vec<&Voucher> =
        all.iter().filter(is_named).filter(|voucher| counts(voucher, ledger.now)).collect();
    let counted = people(&vouchers);
    let enough = counted >= rule.threshold;
    let check = Check::new(CheckId::SignThreshold, enough).limit(rule.threshold).actual(counted);
    let detail = if enough { String::new() } else { shortage(&vouchers, all) };
    ledger.note(check.saying(detail).from(evidence(&vouchers)));
    must_include(rule, &vouchers, ledger);
    let Some(most) = rule.max_age else {
        expire(&vouchers, rule.threshold, &rule.must_include, |voucher| voucher.expires, ledger);
        return;
    };
    let is_fresh = |voucher: &Voucher| {
        let age = voucher.signed_at.map(|at| ledger.now.seconds_since(at));
        age.is_some_and(|age| (-SKEW..=most.seconds()).contains(&age))
    };
    let (fresh, old): (Vec<&Voucher>, Vec<&Voucher>) = vouchers.iter().partition(|voucher| is_fresh(voucher));
    // Who is missing altogether is no matter of age.
    let holds = people(&fresh) >= rule.threshold.min(counted)
        && !old.iter().any(|voucher| rule.must_include.contains(&voucher.name));
    let check = Check::new(CheckId::SignExpired, holds).limit(most.seconds().unsigned_abs());
    ledger.note(
        check
            .saying(old.iter().copied().map(age_of).collect::<Vec<_>>().join(", "))
            .from(evidence(&vouchers)),
    );
    if holds {
        let end = |voucher: &Voucher| {
            let aged = voucher.signed_at.map(|at| at.plus_seconds(most.seconds().saturating_add(1)));
            aged.map_or(voucher.expires, |aged| aged.min(voucher.expires))
        };
        expire(&fresh, rule.threshold, &rule.must_include, end, ledger);
    } else {
        expire(&vouchers, rule.threshold, &rule.must_include, |voucher| voucher.expires, ledger);
    }
}

fn must_include(rule: &Signing, vouchers: &[&Voucher], ledger: &mut Ledger<'_>) {
    if rule.must_include.is_empty() {
        return;
    }
    let missing =
        rule.must_include.iter().filter(|name| !vouchers.iter().any(|voucher| voucher.name == **name));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    let check =
        Check::new(CheckId::SignMustInclude, missing.is_empty()).limit(names(rule.must_include.iter()));
    let detail = if missing.is_empty() { String::new() } else { format!("missing: {}", missing.join(", ")) };
    ledger.note(check.saying(detail).from(evidence(vouchers)));
}

/// Whether a voucher counts at all: a document that is not over, and a key that is known to have
/// signed it.
fn counts(voucher: &Voucher, now: UtcTime) -> bool {
    !voucher.keys.is_empty() && !voucher.expires.is_over(now)
}

/// How many people `vouchers` are for certain: names that share a key may all be the one who has it.
fn people(vouchers: &[&Voucher]) -> usize {
    let mut groups: Vec<(BTreeSet<&SignerName>, BTreeSet<&Fingerprint>)> = Vec::new();
    for voucher in vouchers {
        let mut names = BTreeSet::from([&voucher.name]);
        let mut keys: BTreeSet<&Fingerprint> = voucher.keys.iter().collect();
        groups.retain(|(known_names, known_keys)| {
            let is_apart = known_names.is_disjoint(&names) && known_keys.is_disjoint(&keys);
            if !is_apart {
                names.extend(known_names.iter().copied());
                keys.extend(known_keys.iter().copied());
            }
            is_apart
        });
        groups.push((names, keys));
    }
    groups.len()
}

fn is_met(vouchers: &[&Voucher], threshold: usize, must_include: &BTreeSet<SignerName>) -> bool {
    people(vouchers) >= threshold
        && must_include.iter().all(|name| vouchers.iter().any(|voucher| voucher.name == *name))
}

/// Notes the last moment at which enough of `vouchers` still count.
fn expire(
    vouchers: &[&Voucher],
    threshold: usize,
    must_include: &BTreeSet<SignerName>,
    end: impl Fn(&Voucher) -> UtcTime,
    ledger: &mut Ledger<'_>,
) {
    let mut ends: Vec<UtcTime> = vouchers.iter().map(|voucher| end(voucher)).collect();
    ends.sort_unstable();
    let lasts = |moment: &&UtcTime| {
        let left: Vec<&Voucher> =
            vouchers.iter().copied().filter(|voucher| end(voucher) >= **moment).collect();
        is_met(&left, threshold, must_include)
    };
    if let Some(moment) = ends.iter().rev().find(lasts) {
        ledger.expire(*moment);
    }
}

/// Why there are too few.
fn shortage(counted: &[&Voucher], all: &[Voucher]) -> String {
    let others = all.iter().filter(|one| !counted.iter().any(|voucher| voucher.name == one.name));
    let others: Vec<String> = others.map(|voucher| voucher.name.to_string()).collect();
    let mut words = Vec::new();
    if counted.len() > people(counted) {
        words.push("signers who share a key count once".to_owned());
    }
    if !others.is_empty() {
        words.push(format!("not counted: {}", others.join(", ")));
    }
    words.join("; ")
}

fn age_of(voucher: &Voucher) -> String {
    match voucher.signed_at {
        Some(at) => format!("{} signed at {at}", voucher.name),
        None => format!("{} does not say when", voucher.name),
    }
}

fn evidence(vouchers: &[&Voucher]) -> Vec<Evidence> {
    let of = |voucher: &&Voucher| Evidence {
        attestation: None,
        signer: Some(voucher.name.clone()),
        digest: None,
        platform: None,
        at: voucher.signed_at,
    };
    vouchers.iter().map(of).collect()
}

fn names<'a>(names: impl Iterator<Item = &'a SignerName>) -> Quantity {
    Quantity::Texts(names.map(ToString::to_string).collect())
}
