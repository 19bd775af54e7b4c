//! Which images a question is about: the image itself, or those of an index that may be used.

use super::super::CheckId;
use super::super::case::Case;
use super::super::ledger::Ledger;
use super::super::rules::{Platforms, Rule};
use super::super::verdict::{Check, Quantity};
use crate::attest::ImageIdentity;
use crate::digest::Sha256Digest;
use crate::metadata::{ChildFacts, Facts, ImageFacts, Platform};

/// One image in question.
pub(super) struct Subject<'a> {
    /// The digest that was asked for and signed: of this image, or of the index it is in.
    pub(super) whole: Sha256Digest,
    /// The digest of the image in the index.
    pub(super) child: Option<Sha256Digest>,
    /// What it is, if that is known.
    pub(super) facts: Option<&'a Facts>,
    /// Which image of the index it is.
    pub(super) platform: Option<&'a Platform>,
}

impl Subject<'_> {
    /// Whether an attestation about `digest` is about this image.
    pub(super) fn is(&self, digest: Sha256Digest) -> bool {
        digest == self.whole || Some(digest) == self.child
    }

    /// All that is known of which image this is.
    pub(super) fn identity(&self) -> ImageIdentity {
        ImageIdentity {
            manifest: self.child.unwrap_or(self.whole),
            index: self.child.map(|_| self.whole),
            config: self.facts.map(|facts| facts.config),
            diff_ids: Vec::new(),
        }
    }

    /// The platform in words, where there is more than one.
    pub(super) fn name(&self) -> Option<String> {
        self.platform.map(ToString::to_string)
    }

    /// `linux/amd64: ` in front of what is said about one of several.
    pub(super) fn prefix(&self) -> String {
        self.platform.map(|platform| format!("{platform}: ")).unwrap_or_default()
    }
}

/// The images in question, with the check of what the rule says about platforms. Empty where there is
/// no digest, or the index has nothing for the platform.
pub(super) fn check<'a>(
    rule: &Rule,
    case: &'a Case,
    digest: Option<Sha256Digest>,
    ledger: &mut Ledger<'_>,
) -> Vec<Subject<'a>> {
    let Some(whole) = digest else { return Vec::new() };
    let platforms = rule.signing.platforms;
    let asked = case.image.platform.as_ref();
    let found = match &case.facts {
        None => Found {
            subjects: vec![Subject { whole, child: None, facts: None, platform: None }],
            fault: platforms.map(|_| "nobody says which platforms the image is for".to_owned()),
        },
        Some(ImageFacts::Single(facts)) => single(whole, facts, platforms, asked),
        Some(ImageFacts::Index(children)) => of_index(whole, children, platforms, asked),
    };
    if platforms.is_some() || found.fault.is_some() {
        let names = found.subjects.iter().filter_map(Subject::name).collect();
        let check = Check::new(CheckId::SignPlatform, found.fault.is_none()).actual(Quantity::Texts(names));
        let check = match platforms {
            Some(Platforms::All) => check.limit("all"),
            Some(Platforms::Requested) | None => match asked {
                Some(asked) => check.limit(asked.to_string().as_str()),
                None => check,
            },
        };
        ledger.note(check.saying(found.fault.unwrap_or_default()));
    }
    found.subjects
}

struct Found<'a> {
    subjects: Vec<Subject<'a>>,
    fault: Option<String>,
}

fn single<'a>(
    whole: Sha256Digest,
    facts: &'a Facts,
    platforms: Option<Platforms>,
    asked: Option<&Platform>,
) -> Found<'a> {
    let fault = match (platforms, asked, &facts.platform) {
        (Some(Platforms::Requested), None, _) => Some("it is not known for which platform".to_owned()),
        (Some(Platforms::Requested), Some(_), None) => Some("the image names no platform".to_owned()),
        (Some(Platforms::Requested), Some(asked), Some(own)) if !asked.accepts(own) => {
            Some(format!("the image is for {own}"))
        }
        _ => None,
    };
    Found { subjects: vec![Subject { whole, child: None, facts: Some(facts), platform: None }], fault }
}

fn of_index<'a>(
    whole: Sha256Digest,
    children: &'a [ChildFacts],
    platforms: Option<Platforms>,
    asked: Option<&Platform>,
) -> Found<'a> {
    let wanted = asked.filter(|_| platforms != Some(Platforms::All));
    let is_wanted = |child: &&ChildFacts| match wanted {
        Some(wanted) => wanted.accepts(&child.platform),
        // What builders attach to an index is no image, unless somebody asks for just that.
        None => !child.platform.is_none(),
    };
    let subject = |child: &'a ChildFacts| Subject {
        whole,
        child: Some(child.digest),
        facts: child.facts.as_ref(),
        platform: Some(&child.platform),
    };
    let subjects: Vec<Subject<'a>> = children.iter().filter(is_wanted).map(subject).collect();
    let unlisted = subjects.iter().filter(|subject| subject.facts.is_none()).find_map(Subject::name);
    let fault = match (platforms, wanted) {
        (_, Some(wanted)) if subjects.is_empty() => Some(format!("the index has no image for {wanted}")),
        (_, None) if subjects.is_empty() => Some("the index has no image".to_owned()),
        (Some(Platforms::Requested), None) => Some("it is not known for which platform".to_owned()),
        (Some(_), _) => unlisted.map(|name| format!("nobody says what the image for {name} is")),
        (None, _) => None,
    };
    Found { subjects, fault }
}
