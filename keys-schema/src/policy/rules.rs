//! A policy as it is meant: every name resolved, every number with its unit.

use std::collections::{BTreeMap, BTreeSet};

use super::glob::{RegistryPattern, TagGlob};
use super::units::{Size, Span};
use super::{CheckId, Scope};
use crate::attest::{Kind, Severity};
use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::names::{RepositoryName, SignerName};
use crate::time::UtcTime;

/// A policy that can be held against images. Only [`Policy::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(super) name: String,
    pub(super) version: Option<u64>,
    /// What happens where no rule is for a repository.
    pub(super) default: Mode,
    pub(super) allow: Option<Vec<RegistryPattern>>,
    pub(super) block: Vec<RegistryPattern>,
    pub(super) trust: Vec<Trust>,
    pub(super) rules: Vec<Rule>,
    pub(super) exceptions: Vec<Exception>,
    /// How long an exception may last.
    pub(super) exception_max: Span,
}

impl Policy {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, if it has one: what refuses an older policy in place of this one.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        self.version
    }

    /// All rules, as the file lists them.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All trust entries, by scope.
    #[must_use]
    pub fn trust(&self) -> &[Trust] {
        &self.trust
    }

    /// All exceptions, as the file lists them.
    #[must_use]
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The one rule for a repository: that with the narrowest pattern.
    #[must_use]
    pub fn rule(&self, repository: &RepositoryName) -> Option<&Rule> {
        let narrowest = |rule: &Rule| {
            let own = rule.scopes.iter().filter(|scope| scope.matches(repository));
            own.map(Scope::specificity).max()
        };
        let fitting = self.rules.iter().filter_map(|rule| Some((narrowest(rule)?, rule)));
        fitting.max_by_key(|(specificity, _)| *specificity).map(|(_, rule)| rule)
    }

    /// What says which root of a repository is trusted: the narrowest entry.
    #[must_use]
    pub fn trust_of(&self, repository: &RepositoryName) -> Option<&Trust> {
        let fitting = self.trust.iter().filter(|trust| trust.scope.matches(repository));
        fitting.max_by_key(|trust| trust.scope.specificity())
    }
}

/// Whether what fails is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Enforce,
    /// Not yet; it is only reported.
    Audit {
        /// From this moment on it is refused.
        until: UtcTime,
    },
}

/// Whose root is trusted for the repositories of a scope, and how old its word may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The repositories.
    pub scope: Scope,
    /// The server to ask, as the file spells it.
    pub server: Option<String>,
    /// What a root is measured by.
    pub pin: TrustPin,
    /// How old the newest word of the server may be.
    pub metadata_max_age: Option<Span>,
    /// How much older, while the server cannot be reached.
    pub offline_grace: Option<Span>,
}

/// What a root is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustPin {
    /// The digest of a root document of the one repository in scope.
    Root(Sha256Digest),
    /// Keys, so many of which must have signed the first root that is seen of each repository.
    RootKeys {
        /// The keys.
        keys: BTreeSet<Fingerprint>,
        /// How many of them.
        threshold: usize,
    },
}

/// What images of some repositories have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) mode: Mode,
    pub(super) require_digest: bool,
    pub(super) tags: Option<Vec<TagGlob>>,
    pub(super) deny_tags: Vec<TagGlob>,
    pub(super) signing: Signing,
    pub(super) attestations: Vec<AttestationRule>,
    pub(super) image: ImageRule,
    pub(super) base: Option<Vec<Scope>>,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repositories that it is for.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether it refuses, or only reports.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether an image has to be signed.
    #[must_use]
    pub const fn requires_signatures(&self) -> bool {
        self.signing.required
    }

    /// Whether trust metadata is needed at all: for signatures or for attestations.
    #[must_use]
    pub fn needs_trust(&self) -> bool {
        self.signing.required || !self.attestations.is_empty()
    }

    /// Whether something is asked about what the image is, so that [`Case::facts`](super::Case::facts)
    /// is needed.
    #[must_use]
    pub fn needs_facts(&self) -> bool {
        let image = &self.image;
        image.non_root
            || !image.required_labels.is_empty()
            || image.max_size.is_some()
            || image.max_unpacked_size.is_some()
            || image.max_layers.is_some()
            || self.base.is_some()
            || self.signing.platforms.is_some()
    }

    /// The attestations that have to be there.
    #[must_use]
    pub fn attestations(&self) -> &[AttestationRule] {
        &self.attestations
    }
}

/// Who has to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signing {
    pub(super) required: bool,
    /// Who counts; everybody whom the repository lets sign if it is not said.
    pub(super) signers: Option<BTreeSet<SignerName>>,
    pub(super) threshold: usize,
    pub(super) must_include: BTreeSet<SignerName>,
    pub(super) max_age: Option<Span>,
    pub(super) platforms: Option<Platforms>,
}

/// Which images of an index are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platforms {
    /// The one that will be used.
    Requested,
    /// All of them.
    All,
}

/// One attestation that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationRule {
    pub(super) name: String,
    pub(super) wanted: Wanted,
    pub(super) signers: BTreeSet<SignerName>,
    pub(super) max_age: Option<Span>,
    pub(super) scan: ScanRule,
    /// JSON pointer and the value that must stand there.
    pub(super) require: BTreeMap<String, serde_json::Value>,
}

impl AttestationRule {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of which sort it must be.
    #[must_use]
    pub const fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Who may have made it.
    #[must_use]
    pub const fn signers(&self) -> &BTreeSet<SignerName> {
        &self.signers
    }

    /// Who may say that a finding does no harm.
    #[must_use]
    pub const fn vex_signers(&self) -> &BTreeSet<SignerName> {
        &self.scan.vex_signers
    }
}

/// Of which sort an attestation must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A kind that can be read: vulnerabilities, an inventory, or statements on findings.
    Kind(Kind),
    /// A predicate of this type.
    Predicate(String),
}

/// Limits on what a scanner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScanRule {
    pub(super) db_max_age: Option<Span>,
    /// How many findings pass, by severity: critical, high, medium and low.
    pub(super) limits: BTreeMap<Severity, u64>,
    pub(super) max_total: Option<u64>,
    pub(super) min_score: Option<u64>,
    pub(super) max_secrets: Option<u64>,
    pub(super) deny_eol: bool,
    /// What a finding of unknown severity counts as.
    pub(super) unknown_as: Severity,
    pub(super) count_by: CountBy,
    /// How long a finding with a fix may stand, by severity.
    pub(super) fix_within: BTreeMap<Severity, Span>,
    pub(super) rating_source: Vec<String>,
    pub(super) vex_signers: BTreeSet<SignerName>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountBy {
    /// Each place where a vulnerability was found.
    Finding,
    /// Each vulnerability once for each severity that it was found with.
    Cve,
}

/// What the image itself has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageRule {
    pub(super) non_root: bool,
    pub(super) required_labels: Vec<String>,
    pub(super) max_size: Option<Size>,
    pub(super) max_unpacked_size: Option<Size>,
    pub(super) max_layers: Option<u64>,
}

/// Checks that need not hold for a while, for some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its name.
    pub id: String,
    /// The repositories.
    pub scopes: Vec<Scope>,
    /// The checks.
    pub checks: BTreeSet<CheckId>,
    /// If there are any: the checks hold, but do not count these vulnerabilities.
    pub vulnerabilities: BTreeSet<String>,
    /// When it was made, if the file says so.
    pub created: Option<UtcTime>,
    /// When it ends.
    pub expires: UtcTime,
    /// Why it was made.
    pub reason: String,
    /// Who agreed to it.
    pub approved_by: String,
    /// Where it was discussed.
    pub ticket: Option<String>,
}
