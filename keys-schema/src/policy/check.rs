//! The checks of a verdict, under names that never change: labels of metrics, exit codes and
//! documentation hang on them.

use std::fmt;
use std::str::FromStr;

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        /// One check. The order is the one in which the checks are made and reported, and in which the
        /// first that fails decides.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId {
            $($(#[$doc])* $name,)*
        }

        impl CheckId {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, as reports and policies write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }
        }
    };
}

checks! {
    /// What was asked for is no image reference.
    RefInvalid = "ref.invalid",
    /// Nothing was asked for.
    RefEmpty = "ref.empty",
    /// The policy is none, or is not for this image.
    PolicyError = "policy.error",
    /// The registry is blocked, whatever else the policy says.
    RegistryBlocked = "registry.blocked",
    /// The tag was taken back.
    RevokedTag = "revoked.tag",
    /// The digest was taken back.
    RevokedDigest = "revoked.digest",
    /// The key of the signer was taken back.
    RevokedSigner = "revoked.signer",
    /// The image is held back until somebody has looked at it.
    Quarantined = "quarantined",
    /// The registry is not on the list of those that are allowed.
    RegistryNotAllowed = "registry.not_allowed",
    /// No rule is about this repository.
    PolicyNoMatch = "policy.no_match",
    /// The image was not asked for by digest.
    RefDigestRequired = "ref.digest_required",
    /// The tag is one that nobody may use.
    RefTagDenied = "ref.tag_denied",
    /// No root is pinned for the repository.
    TrustNoRoot = "trust.no_root",
    /// The repository has no trust data.
    TrustNoData = "trust.no_data",
    /// Metadata has expired.
    MetaExpired = "meta.expired",
    /// Metadata is older than the policy accepts.
    MetaStale = "meta.stale",
    /// Metadata is older than what was seen before, or was tampered with.
    MetaRollback = "meta.rollback",
    /// Metadata has too few good signatures, or demands more than the image has.
    MetaThreshold = "meta.threshold",
    /// Nobody signed the tag.
    TagUnknown = "tag.unknown",
    /// The registry serves another digest than the signed one.
    TagMismatch = "tag.mismatch",
    /// Fewer signers vouch for the image than the rule wants.
    SignThreshold = "sign.threshold",
    /// A signer whom the rule names does not vouch for the image.
    SignMustInclude = "sign.must_include",
    /// Signatures are older than the rule accepts.
    SignExpired = "sign.expired",
    /// The platforms in question are not listed by the signers.
    SignPlatform = "sign.platform",
    /// There is no attestation.
    AttMissing = "att.missing",
    /// The attestation is too old, or does not say how old it is.
    AttStale = "att.stale",
    /// The attestation is by somebody whom the rule does not name.
    AttSigner = "att.signer",
    /// The attestation is about another image.
    AttSubject = "att.subject",
    /// The attestation cannot be read, or does not say what the rule requires.
    AttFormat = "att.format",
    /// Findings were left out of the report that a limit would count.
    AttFiltered = "att.filtered",
    /// The scanner's database is too old, or its age is not known.
    DbStale = "db.stale",
    /// Too many critical vulnerabilities.
    VulnCritical = "vuln.critical",
    /// Too many high ones.
    VulnHigh = "vuln.high",
    /// Too many medium ones.
    VulnMedium = "vuln.medium",
    /// Too many low ones.
    VulnLow = "vuln.low",
    /// Too many vulnerabilities together.
    VulnTotal = "vuln.total",
    /// The score is too low.
    VulnScore = "vuln.score",
    /// Too many secrets in the image, or nobody looked for them.
    SecretCount = "secret.count",
    /// The system in the image gets no advisories any more, or nobody knows.
    OsEol = "os.eol",
    /// A label is missing.
    FactLabel = "fact.label",
    /// The image runs as root.
    FactUser = "fact.user",
    /// The image is too large.
    FactSize = "fact.size",
    /// The image has too many layers.
    FactLayers = "fact.layers",
    /// The image is built on a base that is not allowed.
    BaseNotAllowed = "base.not_allowed",
    /// Nothing could be decided.
    Internal = "internal",
}

impl CheckId {
    /// Whether nothing in a policy can take this check back: no exception, and no audit mode. What
    /// they stop is an attack, a digest that is known to be bad, or state that nobody can judge.
    #[must_use]
    pub const fn is_protected(self) -> bool {
        matches!(
            self,
            Self::RegistryBlocked
                | Self::RevokedTag
                | Self::RevokedDigest
                | Self::RevokedSigner
                | Self::MetaExpired
                | Self::MetaStale
                | Self::MetaRollback
                | Self::MetaThreshold
                | Self::TagMismatch
        )
    }

    /// Whether this check says that nothing could be judged at all. Letting it pass would be an "allow
    /// on error", which there is none of.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self, Self::RefInvalid | Self::RefEmpty | Self::PolicyError | Self::Internal)
    }

    /// Whether an exception may take the check back.
    #[must_use]
    pub const fn can_be_excepted(self) -> bool {
        !self.is_protected() && !self.is_error()
    }

    /// Whether the check counts vulnerabilities, so that single ones can be excepted from it.
    #[must_use]
    pub const fn counts_vulnerabilities(self) -> bool {
        matches!(
            self,
            Self::VulnCritical
                | Self::VulnHigh
                | Self::VulnMedium
                | Self::VulnLow
                | Self::VulnTotal
                | Self::VulnScore
        )
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CheckId {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|check| check.as_str() == text).ok_or(UnknownCheck)
    }
}

/// The text names no check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no check has this name")]
pub struct UnknownCheck;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The list of the specification, as it stands there.
    const SPECIFIED: &str = "ref.invalid ref.empty ref.tag_denied ref.digest_required registry.blocked
        registry.not_allowed policy.no_match policy.error trust.no_root trust.no_data
        meta.expired meta.stale meta.rollback meta.threshold tag.unknown tag.mismatch
        revoked.tag revoked.digest revoked.signer quarantined sign.threshold
        sign.must_include sign.expired sign.platform att.missing att.stale att.signer
        att.subject att.format att.filtered db.stale vuln.critical vuln.high vuln.medium
        vuln.low vuln.total vuln.score secret.count os.eol fact.label fact.user
        fact.size fact.layers base.not_allowed internal";

    #[test]
    fn the_names_are_those_that_were_promised() {
        let specified: BTreeSet<&str> = SPECIFIED.split_whitespace().collect();
        let ours: BTreeSet<&str> = CheckId::ALL.iter().map(|check| check.as_str()).collect();
        assert_eq!(ours, specified);
        assert_eq!(CheckId::ALL.len(), specified.len());
        for check in CheckId::ALL {
            assert_eq!(check.as_str().parse(), Ok(*check));
        }
        assert_eq!("vuln.High".parse::<CheckId>(), Err(UnknownCheck));
    }

    #[test]
    fn protected_is_what_was_promised() {
        for check in CheckId::ALL {
            let name = check.as_str();
            let promised = ["registry.blocked", "tag.mismatch"].contains(&name)
                || ["revoked.", "meta."].iter().any(|head| name.starts_with(head));
            assert_eq!(check.is_protected(), promised, "{name}");
        }
    }
}
