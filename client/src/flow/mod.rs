//! The stories, one file each, told in order against ports. No printing, no command line.

pub mod certificate;
pub mod current;
pub mod enrol;
pub mod init;
pub mod inspect;
pub mod key;
pub mod layout;
pub mod lifetimes;
pub mod publish;
pub mod refresh;
pub mod repair;
pub mod revoke;
pub mod sign;
pub mod signer;
pub mod signing;
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
