//! Changes and warnings in words.

use std::collections::BTreeMap;

use bulla_keys_schema::attest::{Attestation, Envelope};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Scope;
use bulla_keys_schema::request::{Change, KeyChange, Listed, Warning};
use bytes::Bytes;
use serde::Serialize;

use super::super::attestation;
use super::Names;

/// One change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChangeReport {
    kind: &'static str,
    pub(super) text: String,
}

impl ChangeReport {
    pub(super) fn new(change: &Change, names: &Names<'_>, said: &BTreeMap<Sha256Digest, String>) -> Self {
        let (kind, mut text) = words(change, names);
        if let Change::Target { after: Some(Listed { digest: Some(digest), .. }), .. } = change
            && let Some(said) = said.get(digest)
        {
            text = format!("{text}, which says {said}");
        }
        Self { kind, text: one_line(&text) }
    }
}

/// What the attestations among the files of a request say. Nobody should sign a digest of a report that he
/// has not seen.
pub(super) fn said(files: &[Bytes]) -> BTreeMap<Sha256Digest, String> {
    let read = files.iter().filter_map(|bytes| {
        let envelope = Envelope::parse(bytes.clone()).ok()?;
        let said = Attestation::read(envelope.payload()).ok()?;
        Some((Sha256Digest::of(bytes), attestation::in_words(&said)))
    });
    read.collect()
}

/// Documents name tags, members and reasons as they like. What they say stays on one line and in
/// the direction in which it was written, or a request could show changes that it does not make.
fn one_line(text: &str) -> String {
    text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

fn words(change: &Change, names: &Names<'_>) -> (&'static str, String) {
    match change {
        Change::Key { of, change, id, key } => {
            let key = match key {
                Some((key, algorithm)) => format!("{algorithm} {}", names.whole(key)),
                None => format!("of an unknown kind, id {id}"),
            };
            match change {
                KeyChange::Added => ("key-added", format!("+ key of {of}: {key}")),
                KeyChange::Reissued => ("key-reissued", format!("~ key of {of}, listed anew: {key}")),
                KeyChange::Removed => ("key-removed", format!("- key of {of}: {key}")),
            }
        }
        Change::Threshold { of, before, after } => {
            let before = before.map_or_else(|| "new".to_owned(), |before| before.to_string());
            ("threshold", format!("~ keys that must sign {of}: {before} -> {after}"))
        }
        Change::Expires { before, after } => {
            let before = before.map_or_else(|| "new".to_owned(), |before| before.to_string());
            ("expires", format!("~ expires: {before} -> {after}"))
        }
        Change::Repository { after } => {
            let after = after.as_ref().map_or("no repository in particular", |name| name.as_str());
            ("repository", format!("~ made for: {after}"))
        }
        Change::Other { what } => ("other", format!("~ {what}")),
        Change::Target { .. } | Change::Revoked { .. } | Change::RevocationRemoved { .. } => tag(change),
        Change::DelegationAdded { .. }
        | Change::DelegationRemoved { .. }
        | Change::Delegation { .. }
        | Change::DelegationEnds { .. }
        | Change::DelegationOrder { .. } => delegation(change),
    }
}

fn tag(change: &Change) -> (&'static str, String) {
    match change {
        Change::Target { path, before: None, after: Some(after) } => {
            ("tag-added", format!("+ tag {path}: {}", listed(after)))
        }
        Change::Target { path, before: Some(before), after: Some(after) } => {
            ("tag-moved", format!("~ tag {path}: {} -> {}", listed(before), listed(after)))
        }
        Change::Target { path, before: Some(before), .. } => {
            ("tag-removed", format!("- tag {path}: {}", listed(before)))
        }
        Change::Revoked { path, digest, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            ("revoked", format!("- revoked {path} {}{reason}", digest.to_oci()))
        }
        Change::RevocationRemoved { path } => {
            ("revocation-removed", format!("~ {path} is not noted as revoked any more"))
        }
        _ => ("other", "~ something else".to_owned()),
    }
}

fn delegation(change: &Change) -> (&'static str, String) {
    let end = |terminating: bool| if terminating { ", and a search ends there" } else { "" };
    match change {
        Change::DelegationAdded { name, scope: tags, terminating } => {
            ("delegation-added", format!("+ {name} may speak for {}{}", scope(tags), end(*terminating)))
        }
        Change::DelegationRemoved { name } => ("delegation-removed", format!("- {name} may speak no more")),
        Change::Delegation { name, before, after, terminating } => (
            "delegation",
            format!("~ {name} may speak for {} -> {}{}", scope(before), scope(after), end(*terminating)),
        ),
        Change::DelegationEnds { name, after } => {
            let after =
                after.map_or_else(|| "as long as it is listed".to_owned(), |end| format!("until {end}"));
            ("delegation-ends", format!("~ {name} may speak {after}"))
        }
        Change::DelegationOrder { after } => {
            let after: Vec<&str> = after.iter().map(bulla_keys_schema::names::RoleName::as_str).collect();
            ("delegation-order", format!("~ roles are asked in this order: {}", after.join(", ")))
        }
        _ => ("other", "~ something else".to_owned()),
    }
}

fn scope(scope: &Scope) -> String {
    let texts: Vec<String> = match scope {
        Scope::HashPrefixes(texts) => texts.iter().map(|text| format!("hash {text}...")).collect(),
        Scope::Paths(patterns) => patterns.iter().map(ToString::to_string).collect(),
        Scope::Prefixes(texts) => texts.iter().map(|text| format!("{text}*")).collect(),
    };
    texts.join(", ")
}

fn listed(info: &Listed) -> String {
    let digest = info.digest.map_or_else(|| "no sha256".to_owned(), |digest| digest.to_oci());
    format!("{digest} ({} bytes)", info.length)
}

/// A warning in words.
pub(super) fn warning(warning: &Warning, names: &Names<'_>) -> String {
    let text = match warning {
        Warning::AllRootKeysReplaced => "no root key of before stays".to_owned(),
        Warning::ExpiresEarlier { role } => format!("{role} would expire earlier than the one before"),
        Warning::FewHolders { holders } => {
            format!("root has {holders} key: whoever holds it can change everything, or lose it")
        }
        Warning::NoSpareKey { keys } => {
            format!("all {keys} root keys must sign: if one is lost, root can never be changed again")
        }
        Warning::NotProven { key } => {
            format!(
                "not proven: root key {} has not signed, so nobody has shown that he holds it",
                names.whole(key)
            )
        }
        Warning::SameKeyTwice { role, key } => {
            format!("{role} lists key {} twice; it counts once", names.whole(key))
        }
        Warning::ThresholdFalls { role, before, after } => {
            format!("fewer keys must sign {role} than before: {before} -> {after}")
        }
        Warning::UnusableKey { role, id } => {
            format!("{role} lists a key of a kind that is unknown here, id {id}")
        }
    };
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_documents_say_stays_on_its_line() {
        let holders = BTreeMap::new();
        let say = |change: &Change| ChangeReport::new(change, &Names(&holders), &BTreeMap::new()).text;
        let what = "x\n\nwarning: none\u{202e}\u{1b}[2J".to_owned();
        assert_eq!(say(&Change::Other { what }), "~ x\\n\\nwarning: none\\u{202e}\\u{1b}[2J");
        let path = "v1\n- tag latest: gone".to_owned();
        assert_eq!(say(&Change::RevocationRemoved { path }).lines().count(), 1);
        assert_eq!(say(&Change::Other { what: "it's \"\u{f6}\"".to_owned() }), "~ it's \"\u{f6}\"");
    }
}
