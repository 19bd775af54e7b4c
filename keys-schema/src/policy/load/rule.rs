//! What a rule says of references, signers and the image itself.

use std::collections::BTreeSet;

use super::super::file::{ModeWord, Moment, PlatformsWord, RuleEntry, SigningEntry, Text, TypeWord};
use super::super::invalid::{Fault, Place, PolicyError};
use super::super::rules::{AttestationRule, ImageRule, Mode, Platforms, Rule, Signing};
use super::attestation::attestation_rule;
use super::{Groups, check_filled, check_text, check_threshold, signers, values};
use crate::names::SignerName;

pub(super) fn rule(entry: RuleEntry, of_file: Mode, groups: &Groups) -> Result<Rule, PolicyError> {
    let place = Place::entry("rule", &entry.name);
    check_text(&entry.name, || Place::top("rule").at("name"))?;
    check_filled(&entry.scopes, &place, "match")?;
    let mode = match (entry.mode, entry.audit_until) {
        (Some(ModeWord::Audit), Some(Moment(until))) => Mode::Audit { until },
        (Some(ModeWord::Audit), None) => return Err(place.at("mode").is(Fault::NoEnd)),
        (_, Some(_)) => return Err(place.at("audit_until").is(Fault::NoAudit)),
        (Some(ModeWord::Enforce), None) => Mode::Enforce,
        (None, None) => of_file,
    };
    let tags = entry.tags.map(values);
    if let Some(tags) = &tags {
        check_filled(tags, &place, "tags")?;
    }
    for label in &entry.image.required_labels {
        check_text(label, || place.at("image").at("required_labels"))?;
    }
    let base = entry.base.map(|base| values(base.allow));
    if let Some(base) = &base {
        check_filled(base, &place.at("base"), "allow")?;
    }
    let has_scan = entry.attestation.iter().any(|attestation| attestation.kind == Some(TypeWord::Vulns));
    if entry.image.max_unpacked_size.is_some() && !has_scan {
        let fault = Fault::Alone { other: "an attestation of type \"vulns\", whose report says it" };
        return Err(place.at("image").at("max_unpacked_size").is(fault));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = entry.attestation.iter().find(|attestation| !names.insert(&attestation.name)) {
        return Err(place.within("attestation", &twice.name).is(Fault::Twice));
    }
    let attestations: Result<Vec<AttestationRule>, PolicyError> = entry
        .attestation
        .into_iter()
        .map(|attestation| attestation_rule(attestation, groups, &place))
        .collect();
    Ok(Rule {
        signing: signing(&entry.signing, groups, &place.at("signing"))?,
        attestations: attestations?,
        name: entry.name,
        scopes: values(entry.scopes),
        mode,
        require_digest: entry.require_digest,
        tags,
        deny_tags: values(entry.deny_tags),
        image: ImageRule {
            non_root: entry.image.user.is_some(),
            required_labels: entry.image.required_labels,
            max_size: entry.image.max_size.map(|Text(size)| size),
            max_unpacked_size: entry.image.max_unpacked_size.map(|Text(size)| size),
            max_layers: entry.image.max_layers,
        },
        base,
    })
}

fn signing(entry: &SigningEntry, groups: &Groups, place: &Place) -> Result<Signing, PolicyError> {
    if !entry.required {
        let idle = [
            ("signers", entry.signers.is_some()),
            ("threshold", entry.threshold.is_some()),
            ("must_include", entry.must_include.is_some()),
            ("max_signature_age", entry.max_signature_age.is_some()),
            ("platforms", entry.platforms.is_some()),
        ];
        if let Some((member, _)) = idle.into_iter().find(|(_, is_there)| *is_there) {
            return Err(place.at(member).is(Fault::NotRequired));
        }
    }
    let listed = entry.signers.as_ref().map(|words| signers(words, groups, place, "signers")).transpose()?;
    let threshold = entry.threshold.unwrap_or(1);
    check_threshold(threshold, listed.as_ref().map_or(usize::MAX, BTreeSet::len), place, "threshold")?;
    let must_include = match &entry.must_include {
        Some(words) => signers(words, groups, place, "must_include")?,
        None => BTreeSet::new(),
    };
    let is_listed = |name: &&SignerName| listed.as_ref().is_none_or(|listed| listed.contains(name));
    if let Some(stranger) = must_include.iter().find(|name| !is_listed(name)) {
        return Err(place.at("must_include").is(Fault::NotASigner { name: stranger.to_string() }));
    }
    Ok(Signing {
        required: entry.required,
        signers: listed,
        threshold,
        must_include,
        max_age: entry.max_signature_age.as_ref().map(|Text(span)| *span),
        platforms: entry.platforms.map(|word| match word {
            PlatformsWord::Requested => Platforms::Requested,
            PlatformsWord::All => Platforms::All,
        }),
    })
}
