//! Programs of Debian releases that `.ci/peers` unpacks beside the machine's own.

use std::path::PathBuf;

use super::absent;

/// The release that still has all of Notary v1 and an engine of its time.
pub const BOOKWORM: &str = "bookworm";

/// The program `name` of the release `suite`; nothing if it was not unpacked, which is said aloud.
///
/// # Panics
/// It is missing in CI.
#[must_use]
pub fn program(suite: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("BULLA_PEERS_DEBIAN").and_then(|folder| {
        let user = PathBuf::from(folder).join(suite).join("usr");
        ["bin", "sbin"].iter().map(|bin| user.join(bin).join(name)).find(|program| program.is_file())
    });
    if found.is_none() {
        absent(&format!("{name} of Debian {suite}"), "source .ci/peers");
    }
    found
}
