//! One file that says which images may be used, and the engine that holds an image against it.
//!
//! [`Policy::parse`] reads the file and refuses whatever could be misunderstood.
//! [`Policy::evaluate`] takes a [`Case`], which others filled with verified facts, and the time, and
//! gives back a [`Verdict`]: every check with its outcome, and not only the first that fails.
//! [`PublishedPolicy`] is one that others publish, with the rule by which its versions rise.

mod case;
mod check;
mod evaluate;
mod file;
mod glob;
mod invalid;
mod ledger;
mod load;
mod published;
mod rules;
mod units;
mod verdict;

pub use case::{
    AskedImage, Case, Demands, ListedAttestation, SignedImage, Standing, UnusableAttestation, Voucher,
};
pub use check::{CheckId, UnknownCheck};
pub use glob::{InvalidGlob, RegistryPattern, Scope, Specificity, TagGlob};
pub use invalid::{Fault, Place, PolicyError};
pub use published::{
    Backwards, Edition, InvalidPublished, PolicyName, PublishedPolicy, Succession, hinted_version,
    is_for_policies,
};
pub use rules::{AttestationRule, Exception, Mode, Policy, Rule, Trust, TrustPin, Wanted};
pub use units::{InvalidSize, InvalidSpan, Size, Span};
pub use verdict::{AppliedException, Check, Decision, Evidence, Outcome, PolicyIdentity, Quantity, Verdict};
