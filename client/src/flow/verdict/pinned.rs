//! The trust entry of a policy as a pin: nothing is trusted on first use.

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::policy::{Policy, Trust, TrustPin};

use crate::flow::Ports;
use crate::flow::refresh::RefreshError;
use crate::pins::{Mode, Pin, PinnedRoot, Pins, Scope};

/// What `policy` pins for a repository, if it says anything of it. How the metadata is written is
/// for the home to say, or it is the usual way.
///
/// # Errors
/// The pins of the home cannot be read, or nothing can satisfy the entry.
pub(super) fn pin(
    ports: Ports<'_>,
    policy: &Policy,
    name: &RepositoryName,
) -> Result<Option<Pin>, RefreshError> {
    let Some(trust) = policy.trust_of(name) else { return Ok(None) };
    let mode = Pins::load(ports.home)?.find(name).map(|pin| pin.mode).unwrap_or_default();
    let pin = to_pin(trust, name, mode);
    pin.map(Some).ok_or_else(|| RefreshError::NotPinned { repository: name.clone() })
}

/// As a pin of a home. One for many repositories takes no root that names none.
fn to_pin(trust: &Trust, name: &RepositoryName, mode: Mode) -> Option<Pin> {
    let root = match &trust.pin {
        TrustPin::Root(digest) => PinnedRoot::Document(*digest),
        TrustPin::RootKeys { keys, threshold } => {
            PinnedRoot::keys(keys.iter().copied(), u64::try_from(*threshold).ok()?).ok()?
        }
    };
    let scope = match trust.scope.repository() {
        Some(_) => Scope::Repository(name.clone()),
        None => Scope::Below(name.host()?.parse().ok()?),
    };
    Some(Pin { scope, mode, root, server: trust.server.clone() })
}
