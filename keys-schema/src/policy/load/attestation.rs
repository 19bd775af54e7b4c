//! What a rule says of one attestation.

use std::collections::{BTreeMap, BTreeSet};

use super::super::file::{AttestationEntry, CountWord, FixEntry, Scalar, SeverityWord, Text, TypeWord};
use super::super::invalid::{Fault, Place, PolicyError};
use super::super::rules::{AttestationRule, CountBy, ScanRule, Wanted};
use super::super::units::Span;
use super::{Groups, check_text, signers};
use crate::attest::{Kind, Severity};

pub(super) fn attestation_rule(
    entry: AttestationEntry,
    groups: &Groups,
    rule: &Place,
) -> Result<AttestationRule, PolicyError> {
    let place = rule.within("attestation", &entry.name);
    check_text(&entry.name, || rule.at("attestation").at("name"))?;
    let wanted = match (entry.kind, &entry.predicate) {
        (Some(_), Some(_)) => return Err(place.is(Fault::Both { one: "type", other: "predicate" })),
        (None, None) => return Err(place.is(Fault::NoType)),
        (Some(TypeWord::Vulns), None) => Wanted::Kind(Kind::Vulns),
        (Some(TypeWord::Sbom), None) => Wanted::Kind(Kind::Sbom),
        (Some(TypeWord::Vex), None) => Wanted::Kind(Kind::Vex),
        (None, Some(uri)) => {
            check_text(uri, || place.at("predicate"))?;
            Wanted::Predicate(uri.clone())
        }
    };
    if wanted != Wanted::Kind(Kind::Vulns) {
        refuse_scan_members(&entry, &place)?;
    }
    let require = required_values(&entry, &wanted, &place)?;
    let allowed = signers(&entry.signers, groups, &place, "signers")?;
    let max_age = entry.max_age.as_ref().map(|Text(span)| *span);
    let scan = scan_rule(&entry, groups, &place)?;
    Ok(AttestationRule { name: entry.name, wanted, signers: allowed, max_age, scan, require })
}

/// A limit that nothing would be held against.
fn refuse_scan_members(entry: &AttestationEntry, place: &Place) -> Result<(), PolicyError> {
    let idle = [
        ("db_max_age", entry.db_max_age.is_some()),
        ("max_critical", entry.max_critical.is_some()),
        ("max_high", entry.max_high.is_some()),
        ("max_medium", entry.max_medium.is_some()),
        ("max_low", entry.max_low.is_some()),
        ("max_total", entry.max_total.is_some()),
        ("min_score", entry.min_score.is_some()),
        ("max_secrets", entry.max_secrets.is_some()),
        ("deny_eol_os", entry.deny_eol_os.is_some()),
        ("unknown_as", entry.unknown_as.is_some()),
        ("count_by", entry.count_by.is_some()),
        ("fix_within", entry.fix_within.is_some()),
        ("rating_source", entry.rating_source.is_some()),
        ("vex_signers", entry.vex_signers.is_some()),
    ];
    match idle.into_iter().find(|(_, is_there)| *is_there) {
        Some((member, _)) => Err(place.at(member).is(Fault::NotFor { member, wanted: "type \"vulns\"" })),
        None => Ok(()),
    }
}

fn required_values(
    entry: &AttestationEntry,
    wanted: &Wanted,
    place: &Place,
) -> Result<BTreeMap<String, serde_json::Value>, PolicyError> {
    let Some(require) = &entry.require else { return Ok(BTreeMap::new()) };
    let place = place.at("require");
    if matches!(wanted, Wanted::Kind(_)) {
        return Err(place.is(Fault::NotFor { member: "require", wanted: "a `predicate`" }));
    }
    let mut values = BTreeMap::new();
    for (pointer, value) in require {
        if !is_pointer(pointer) {
            return Err(place.is(Fault::Pointer { pointer: pointer.clone() }));
        }
        let value = match value {
            Scalar::Flag(flag) => serde_json::Value::from(*flag),
            Scalar::Number(number) => serde_json::Value::from(*number),
            Scalar::Text(text) => serde_json::Value::from(text.as_str()),
        };
        values.insert(pointer.clone(), value);
    }
    Ok(values)
}

/// A JSON pointer to something below the top (RFC 6901).
fn is_pointer(text: &str) -> bool {
    let mut after_tilde = text.split('~').skip(1);
    text.starts_with('/') && after_tilde.all(|rest| rest.starts_with(['0', '1']))
}

fn scan_rule(entry: &AttestationEntry, groups: &Groups, place: &Place) -> Result<ScanRule, PolicyError> {
    if entry.min_score.is_some_and(|score| score > 100) {
        return Err(place.at("min_score").is(Fault::Score));
    }
    let limits = [
        (Severity::Critical, entry.max_critical),
        (Severity::High, entry.max_high),
        (Severity::Medium, entry.max_medium),
        (Severity::Low, entry.max_low),
    ];
    let vex_signers = match &entry.vex_signers {
        Some(words) => signers(words, groups, place, "vex_signers")?,
        None => BTreeSet::new(),
    };
    let rating_source = entry.rating_source.clone().unwrap_or_default();
    for source in &rating_source {
        check_text(source, || place.at("rating_source"))?;
    }
    Ok(ScanRule {
        db_max_age: entry.db_max_age.as_ref().map(|Text(span)| *span),
        limits: limits.into_iter().filter_map(|(severity, limit)| Some((severity, limit?))).collect(),
        max_total: entry.max_total,
        min_score: entry.min_score,
        max_secrets: entry.max_secrets,
        deny_eol: entry.deny_eol_os.unwrap_or(false),
        unknown_as: match entry.unknown_as {
            Some(SeverityWord::Critical) => Severity::Critical,
            None | Some(SeverityWord::High) => Severity::High,
            Some(SeverityWord::Medium) => Severity::Medium,
            Some(SeverityWord::Low) => Severity::Low,
        },
        count_by: match entry.count_by {
            None | Some(CountWord::Finding) => CountBy::Finding,
            Some(CountWord::Cve) => CountBy::Cve,
        },
        fix_within: entry.fix_within.as_ref().map(windows).unwrap_or_default(),
        rating_source,
        vex_signers,
    })
}

fn windows(entry: &FixEntry) -> BTreeMap<Severity, Span> {
    let windows = [
        (Severity::Critical, &entry.critical),
        (Severity::High, &entry.high),
        (Severity::Medium, &entry.medium),
        (Severity::Low, &entry.low),
    ];
    windows.into_iter().filter_map(|(severity, span)| Some((severity, span.as_ref()?.0))).collect()
}
