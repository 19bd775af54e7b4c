//! What a flow needs from the world, as traits: real adapters in production, fakes and
//! hostile simulators in tests.

pub mod clock;
pub mod entropy;
pub mod key_sources;
pub mod key_store;
pub mod passphrases;
pub mod registry;
pub mod trust_server;

pub use clock::Clock;
pub use entropy::{Entropy, EntropyError};
pub use key_sources::{KeySourceError, KeySources};
pub use key_store::{KeyStore, KeyStoreError, StoredKey};
pub use passphrases::{PassphraseError, Passphrases};
pub use registry::{
    Descriptor, Manifest, ManifestPush, Over, Platform, Pushed, Registry, RegistryError, Wanted,
};
pub use trust_server::{TrustServer, TrustServerError};
