//! Why a file is no policy: where, what, and what to do about it.

use std::fmt;

use super::glob::InvalidGlob;
use crate::limits::{POLICY_BYTES, POLICY_PATTERNS};

/// A text is no policy that could be held against an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too many bytes.
    #[error("the policy is larger than {POLICY_BYTES} bytes")]
    TooLarge,
    /// Neither TOML nor JSON, or a member that is missing, unknown, there twice or of the wrong form.
    #[error("line {line}, column {column}: {message}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// Readable, and yet it means nothing, or two things.
    #[error("{place}: {fault}")]
    Meaning {
        /// Where, by the names that the file gives.
        place: Place,
        /// What is wrong there.
        fault: Fault,
    },
}

impl PolicyError {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::TooLarge => "split it by repository, or take out what is no policy",
            Self::Form { .. } => "correct that line; nothing in a policy is ignored",
            Self::Meaning { fault, .. } => fault.advice(),
        }
    }
}

/// A place in a policy, from the top: `rule "myapp", attestation "sbom", signers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(Vec<String>);

impl Place {
    /// A member of the top.
    pub(super) fn top(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// An entry with a name.
    pub(super) fn entry(kind: &str, name: &str) -> Self {
        Self(vec![format!("{kind} {name:?}")])
    }

    /// A member of this place.
    pub(super) fn at(&self, name: &str) -> Self {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        Self(names)
    }

    /// An entry with a name at this place.
    pub(super) fn within(&self, kind: &str, name: &str) -> Self {
        self.at(&format!("{kind} {name:?}"))
    }

    /// The complaint about this place.
    pub(super) const fn is(self, fault: Fault) -> PolicyError {
        PolicyError::Meaning { place: self, fault }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// What is wrong with a part of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A format that this program does not know.
    #[error("format {found} is not known here")]
    Format {
        /// What the file says.
        found: u64,
    },
    /// A text that has to say something is empty or too long.
    #[error("it must have 1 to 500 characters, and no control characters")]
    Text,
    /// A list that has to name something is empty.
    #[error("the list is empty")]
    Empty,
    /// A number that cannot be zero.
    #[error("0 would let everything pass")]
    Zero,
    /// Two entries have the same name.
    #[error("the name is there twice")]
    Twice,
    /// A pattern that is none.
    #[error("{text:?} is no pattern of repositories: {error}")]
    Glob {
        /// The text.
        text: String,
        /// Why.
        error: InvalidGlob,
    },
    /// More patterns than a policy may have.
    #[error("the policy has more than {POLICY_PATTERNS} patterns")]
    TooMany,
    /// A group that nobody defines.
    #[error("there is no group {name:?}")]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// A name that no signer can have.
    #[error("{name:?} is no name of a signer")]
    Signer {
        /// The text.
        name: String,
    },
    /// A threshold that nobody can reach.
    #[error("{threshold} is more than the {available} that are listed")]
    Threshold {
        /// What is asked for.
        threshold: usize,
        /// How many there are.
        available: usize,
    },
    /// A mandatory signer who may not sign.
    #[error("{name:?} is not among the signers")]
    NotASigner {
        /// Who.
        name: String,
    },
    /// A rule that asks for no signatures, and then says which.
    #[error("the rule requires no signatures, so this would do nothing")]
    NotRequired,
    /// A rule that asks for signatures where nothing says which root to trust.
    #[error("the rule needs signatures, and no [trust] entry covers {scope:?}")]
    NoTrust {
        /// What is not covered.
        scope: String,
    },
    /// Two entries are for the same repositories, and none is the narrower.
    #[error("{scope:?} and {other:?} of {owner} can both be for one repository, and none is narrower")]
    Tie {
        /// The pattern here.
        scope: String,
        /// The other pattern.
        other: String,
        /// Whose it is.
        owner: String,
    },
    /// Neither a root nor keys of a root, or both.
    #[error("it pins {found}")]
    Pin {
        /// What it pins.
        found: &'static str,
    },
    /// A root document for more than one repository.
    #[error("`root` names the root of one repository, and the scope is wider")]
    RootOfMany,
    /// No address.
    #[error("{text:?} is no address of a server")]
    Server {
        /// The text.
        text: String,
    },
    /// A time that means nothing without another.
    #[error("it has no meaning without {other}")]
    Alone {
        /// The other member.
        other: &'static str,
    },
    /// Audit without an end.
    #[error("audit needs audit_until: the moment from which it is enforced")]
    NoEnd,
    /// An end of an audit that nobody asked for.
    #[error("audit_until has no meaning without audit")]
    NoAudit,
    /// Members that exclude each other.
    #[error("{one} and {other} exclude each other")]
    Both {
        /// One of them.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Neither `type` nor `predicate`.
    #[error("it says neither `type` nor `predicate`")]
    NoType,
    /// A limit on something that such an attestation does not hold.
    #[error("{member} is only for attestations of {wanted}")]
    NotFor {
        /// The member.
        member: &'static str,
        /// What it is for.
        wanted: &'static str,
    },
    /// A required value at a place that is no JSON pointer.
    #[error("{pointer:?} is no JSON pointer")]
    Pointer {
        /// The text.
        pointer: String,
    },
    /// A score that nothing can have.
    #[error("a score is at most 100")]
    Score,
    /// A check that no exception can take back.
    #[error("no exception can take back {check}")]
    Protected {
        /// The check.
        check: &'static str,
    },
    /// Vulnerabilities excepted from a check that counts none.
    #[error("{check} counts no vulnerabilities, so none can be excepted from it")]
    CountsNothing {
        /// The check.
        check: &'static str,
    },
    /// An exception that lasts too long.
    #[error("it lasts {days} days and more, and {most} are the most")]
    TooLong {
        /// How long, in whole days.
        days: i64,
        /// The limit, in whole days.
        most: i64,
    },
    /// An exception that ends before it begins.
    #[error("it ends before it was created")]
    Backwards,
}

impl Fault {
    const fn advice(&self) -> &'static str {
        match self {
            Self::Format { .. } => "write `policy = 1`, or use a newer program",
            Self::Text => "say in a few words what it is",
            Self::Empty => "name at least one, or leave the member out",
            Self::Zero => "write 1 or more",
            Self::Twice => "give each entry a name of its own",
            Self::Glob { .. } => "write it like registry.example.com/team/**",
            Self::TooMany => "put repositories under common names, so that fewer patterns do",
            Self::NoGroup { .. } => "define it in [groups], or write the name of a signer without `@`",
            Self::Signer { .. } => "use the name that `bulla signer add` was given; groups are written @NAME",
            Self::Threshold { .. } => "lower the threshold, or list more",
            Self::NotASigner { .. } => "add the name to signers",
            Self::NotRequired => "write `required = true`, or take the member out",
            Self::NoTrust { .. } => "add a [trust] entry whose scope covers the rule",
            Self::Tie { .. } => "make one of the patterns longer, or put both into one entry",
            Self::Pin { .. } => {
                "write `root` for one repository, or `root_keys` and `root_threshold`, and not both"
            }
            Self::RootOfMany => "pin `root_keys` with `root_threshold` instead",
            Self::Server { .. } => "write it like https://trust.example.com",
            Self::Alone { .. } => "add the other member, or take this one out",
            Self::NoEnd => "add it, like audit_until = 2030-01-31T00:00:00Z",
            Self::NoAudit => "take it out, or write `mode = \"audit\"` or `default = \"audit\"` beside it",
            Self::Both { .. } => "take one of them out",
            Self::NoType => "write type = \"vulns\", \"sbom\" or \"vex\", or predicate = \"URI\"",
            Self::NotFor { .. } => "move it to an attestation of that type",
            Self::Pointer { .. } => "write it like /result/fail",
            Self::Score => "write 0 to 100",
            Self::Protected { .. } => "take the cause away instead: these checks stop attacks",
            Self::CountsNothing { .. } => "name checks like vuln.high, or leave `vulnerabilities` out",
            Self::TooLong { .. } => "let it end earlier, or set exception_max",
            Self::Backwards => "correct one of the two times",
        }
    }
}
