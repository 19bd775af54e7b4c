//! The ports, made real: files, network, terminal, randomness of the system.

mod api;
pub mod backup_file;
pub mod backup_passphrase;
pub mod connection;
mod feed;
pub mod key_files;
pub mod key_sources;
pub mod no_server;
pub mod notary_http;
mod oci;
pub mod oci_credentials;
pub mod oci_registry;
pub mod os_entropy;
mod registry_token;
mod signing_requests;
pub mod system_clock;
mod tls;
pub mod tty;
pub mod tuf_http;
pub mod unattended;

use std::error::Error;
use std::time::Duration;

/// How long a server may take before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until there is a connection.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// For the whole answer: one that sends a byte now and then is never silent.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), read: seconds(30), whole: seconds(120) }
    }
}

impl Patience {
    fn apply(self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        builder.connect_timeout(self.connect).read_timeout(self.read).timeout(self.whole)
    }
}

/// The innermost cause of `error`: reqwest's outer layers only say that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
