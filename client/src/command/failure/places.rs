//! What trust servers and registries did not do.

use super::{Exit, Explained, hint, tampered};
use crate::port::trust_server::Right;
use crate::port::{RegistryError, TrustServerError};

pub(super) fn token(scope: &str, right: Right) -> String {
    format!("bullad token create NAME --scope {scope} --can {right} --expires 90d --config bullad.toml")
}

pub(super) fn server(error: &TrustServerError) -> Explained {
    match error {
        TrustServerError::Changed { .. } => (Exit::Busy, hint("try again")),
        TrustServerError::ClientSnapshot { repository } => (
            Exit::Usage,
            hint(&format!("its owner hands it to the server: notary key rotate {repository} snapshot -r")),
        ),
        TrustServerError::NoRequests => {
            (Exit::Configuration, hint("signing requests need bullad as trust server"))
        }
        TrustServerError::RequestOver { .. } => (Exit::Busy, hint("make the change again, with --request")),
        TrustServerError::NotConfigured => {
            (Exit::Configuration, hint("name it: --server URL, BULLA_SERVER, or server in config.toml"))
        }
        TrustServerError::NotFound { .. } => {
            (Exit::NoTrustData, hint("check the name, and that BULLA_TOKEN may publish it"))
        }
        TrustServerError::Refused { hint, .. } => (Exit::Usage, hint.clone()),
        TrustServerError::TooLarge { .. } => tampered(),
        TrustServerError::Forbidden { repository, right, .. } => (
            Exit::Unauthorised,
            hint(&format!(
                "the server's admin makes a token that may: {}",
                token(repository.as_str(), *right)
            )),
        ),
        TrustServerError::Unauthorised { right, .. } => (
            Exit::Unauthorised,
            hint(&format!(
                "put a valid token into BULLA_TOKEN, made with: {}; a server that only a policy names gets none: \
                 name it with --server",
                token("SCOPE", *right)
            )),
        ),
        TrustServerError::Unavailable { .. } => (Exit::Unreachable, hint("try again later")),
        TrustServerError::Unexpected { .. } => (Exit::Unreachable, hint("check --server")),
        TrustServerError::Unreachable { .. } => {
            (Exit::Unreachable, hint("check --server, --ca-cert and the network"))
        }
    }
}

pub(super) fn registry(error: &RegistryError) -> Explained {
    match error {
        RegistryError::Changed { .. } => (Exit::Busy, hint("others write there too: run the command again")),
        RegistryError::Credentials { host, .. } => {
            (Exit::Unauthorised, hint(&format!("log in again: docker login {host}")))
        }
        RegistryError::MayNotWrite { host, .. } => {
            (Exit::Unauthorised, hint(&format!("log in as somebody who may push: docker login {host}")))
        }
        RegistryError::Mismatch { .. } | RegistryError::TooLarge { .. } => {
            (Exit::Tampered, hint("do not pull; tell the admin of the registry what happened"))
        }
        RegistryError::NoHost { .. } => {
            (Exit::Usage, hint("name the registry: registry.example.com/team/app:TAG"))
        }
        RegistryError::PlainLogin { .. } => (
            Exit::Unauthorised,
            hint(
                "have it speak https; if nobody else can listen there, add its HOST:PORT to plain-http in config.toml",
            ),
        ),
        RegistryError::Refused { .. } => {
            (Exit::Unreachable, hint("ask the admin of the registry why it does not take this"))
        }
        RegistryError::Throttled { .. } => (Exit::Unreachable, hint("try again later")),
        RegistryError::TooMany { .. } => {
            (Exit::Unreachable, hint("ask the admin of the registry to remove what nobody needs"))
        }
        RegistryError::Unauthorised { host, .. } => {
            (Exit::Unauthorised, hint(&format!("check the name, and log in: docker login {host}")))
        }
        RegistryError::Unexpected { .. } | RegistryError::Unreadable { .. } => {
            (Exit::Unreachable, hint("check that this is a registry"))
        }
        RegistryError::Unknown { .. } => (Exit::TagUnknown, hint("check the tag, or push it first")),
        RegistryError::Unreachable { .. } => {
            (Exit::Unreachable, hint("check the name and the network, --registry-ca-cert or --plain-http"))
        }
    }
}
