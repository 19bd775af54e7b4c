//! The ports, made real: files, network, terminal, randomness of the system.

pub mod key_files;
pub mod no_server;
pub mod oci_credentials;
pub mod oci_registry;
pub mod os_entropy;
mod registry_token;
pub mod system_clock;
pub mod tty;
pub mod tuf_http;
pub mod unattended;

use std::error::Error;

/// The innermost cause of `error`: reqwest's outer layers only say that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
