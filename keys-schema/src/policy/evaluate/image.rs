//! What the image itself has to be. What is not known is not as the rule wants it.

use super::super::ledger::Ledger;
use super::super::rules::{ImageRule, Rule};
use super::super::units::Size;
use super::super::verdict::{Check, Quantity};
use super::super::{CheckId, Scope};
use super::subjects::Subject;
use crate::metadata::{BaseImage, Facts};
use crate::names::ImageRef;

/// Largest number of a user that container runtimes take.
const LAST_USER: u64 = i32::MAX as u64;
const UNKNOWN: &str = "nobody says what the image is";

/// All that the rule says of the image, for all images in question, with how large each is unpacked.
pub(super) fn check(
    rule: &Rule,
    subjects: &[Subject<'_>],
    unpacked: &[Option<u64>],
    ledger: &mut Ledger<'_>,
) {
    for id in asked(rule) {
        if subjects.is_empty() {
            ledger.fail(id, UNKNOWN);
        }
        for (subject, unpacked) in subjects.iter().zip(unpacked) {
            let check = match subject.facts {
                None => Check::new(id, false).saying(UNKNOWN),
                Some(facts) => one(id, rule, facts, *unpacked),
            };
            let detail = match check.detail.as_str() {
                "" => String::new(),
                detail => format!("{}{detail}", subject.prefix()),
            };
            ledger.note(check.saying(detail));
        }
    }
}

/// What the rule asks about.
fn asked(rule: &Rule) -> Vec<CheckId> {
    let image = &rule.image;
    let asked = [
        (CheckId::FactLabel, !image.required_labels.is_empty()),
        (CheckId::FactUser, image.non_root),
        (CheckId::FactSize, image.max_size.is_some() || image.max_unpacked_size.is_some()),
        (CheckId::FactLayers, image.max_layers.is_some()),
        (CheckId::BaseNotAllowed, rule.base.is_some()),
    ];
    asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(id, _)| id).collect()
}

fn one(id: CheckId, rule: &Rule, facts: &Facts, unpacked: Option<u64>) -> Check {
    match id {
        CheckId::FactLabel => labels(&rule.image, facts),
        CheckId::FactUser => user(&facts.user),
        CheckId::FactSize => size(&rule.image, facts.size, unpacked),
        CheckId::FactLayers => {
            let limit = rule.image.max_layers.unwrap_or(u64::MAX);
            Check::new(id, facts.layers <= limit).limit(limit).actual(facts.layers)
        }
        _ => base(rule.base.as_deref().unwrap_or_default(), facts.base.as_ref()),
    }
}

fn labels(rule: &ImageRule, facts: &Facts) -> Check {
    let is_there = |label: &&String| facts.labels.contains(label) == Some(true);
    let missing: Vec<&str> =
        rule.required_labels.iter().filter(|label| !is_there(label)).map(String::as_str).collect();
    let check = Check::new(CheckId::FactLabel, missing.is_empty())
        .limit(Quantity::Texts(rule.required_labels.clone()));
    if missing.is_empty() { check } else { check.saying(format!("missing: {}", missing.join(", "))) }
}

fn user(user: &str) -> Check {
    let check = Check::new(CheckId::FactUser, !is_root(user)).limit("non-root").actual(user);
    if is_root(user) { check.saying("the image runs as root, or may") } else { check }
}

/// Whether the image runs as root. That nothing else is said means root; so may what no runtime reads
/// as we do. A name other than root is taken for what it says: what number it has stands in the image.
fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !begins || !name.chars().all(is_word) {
        return true;
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return !name.parse::<u64>().is_ok_and(|number| (1..=LAST_USER).contains(&number));
    }
    ["root", "containeradministrator", "administrator"].contains(&name.to_ascii_lowercase().as_str())
}

fn size(rule: &ImageRule, packed: u64, unpacked: Option<u64>) -> Check {
    let check = |holds, limit: Size| Check::new(CheckId::FactSize, holds).limit(limit.bytes());
    if let Some(limit) = rule.max_size.filter(|limit| packed > limit.bytes()) {
        return check(false, limit).actual(packed).saying("bytes of all layers, compressed");
    }
    match (rule.max_unpacked_size, unpacked) {
        (Some(limit), Some(size)) => {
            check(size <= limit.bytes(), limit).actual(size).saying("bytes of all layers, unpacked")
        }
        (Some(limit), None) => check(false, limit).saying("no report says how large the image is unpacked"),
        (None, _) => {
            let check = Check::new(CheckId::FactSize, true).actual(packed);
            if let Some(limit) = rule.max_size { check.limit(limit.bytes()) } else { check }
        }
    }
}

fn base(allowed: &[Scope], base: Option<&BaseImage>) -> Check {
    let check = |holds| {
        let limit = allowed.iter().map(ToString::to_string).collect();
        Check::new(CheckId::BaseNotAllowed, holds).limit(Quantity::Texts(limit))
    };
    let Some(base) = base else { return check(false).saying("the image does not say what it is built on") };
    let Ok(image) = base.name.parse::<ImageRef>() else {
        return check(false).actual(base.name.as_str()).saying("the base is no image reference");
    };
    check(allowed.iter().any(|scope| scope.matches(image.repository()))).actual(base.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_many_names() {
        for root in [
            "",
            "root",
            "0",
            "0:0",
            "root:root",
            "00",
            ":1000",
            "0:1000",
            "ROOT",
            "+0",
            "-0",
            " 0",
            "0 ",
            " root",
            "4294967296",
            "18446744073709551616",
            "2147483648",
            "$USER",
            "\u{660}",
            "ContainerAdministrator",
            "1000\n",
            "a/b",
        ] {
            assert!(is_root(root), "{root:?}");
        }
        for other in ["1000", "1000:0", "nobody", "app:app", "_apt", "65534", "2147483647", "roots", "0x0"] {
            assert!(!is_root(other), "{other:?}");
        }
    }
}
