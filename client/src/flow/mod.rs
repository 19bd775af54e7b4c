//! The stories, one file each, told in order against ports. No printing, no command line.

pub mod attest;
pub mod attestation;
pub mod backup;
pub mod certificate;
pub mod cosign;
pub mod current;
pub mod deny;
pub mod enrol;
pub mod evidence;
pub mod facts;
pub mod init;
pub mod inspect;
pub mod key;
pub mod layout;
pub mod lifetimes;
pub mod policy_import;
pub mod policy_publish;
pub mod policy_source;
pub mod policy_test;
pub mod publish;
pub mod refresh;
pub mod renew;
pub mod repair;
pub mod request;
pub mod revoke;
pub mod root_change;
pub mod rotate;
pub mod sign;
pub mod signed_since;
pub mod signer;
pub mod signer_revoke;
pub mod signing;
pub mod status;
pub mod tidy;
pub mod verdict;
pub mod verify;
pub mod vouching;

use crate::home::Home;
use crate::port::{Clock, Entropy, KeyStore, Passphrases, Registry, TrustServer};

/// Everything a flow may use of the world.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// The trust server.
    pub server: &'a dyn TrustServer,
    /// The container registries.
    pub registry: &'a dyn Registry,
    /// The keys of this home.
    pub keys: &'a dyn KeyStore,
    /// Who knows the passphrases of these keys.
    pub passphrases: &'a dyn Passphrases,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Pins and cache.
    pub home: &'a Home,
}
