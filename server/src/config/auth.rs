//! Who may do what, and how callers say who they are.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use super::{Fault, duration};
use crate::auth::{Algorithm, RegistrySettings};

/// The most that `leeway` can be.
const LEEWAY: Duration = Duration::from_secs(300);

/// `[auth]`. Tokens are made with `bullad token create` and live in the data folder. There is
/// no setting that turns authentication off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether anybody may read metadata and targets below `/tuf/`, and what Notary's clients
    /// read below `/v2/`, as of a public mirror.
    /// The API needs a token in any case. Default false.
    pub anonymous_read: bool,
    /// `[auth.registry]`: tokens of a registry's token server are taken as well.
    pub registry: Option<RegistryConfig>,
}

/// `[auth.registry]`, with the names that Docker's registry and Notary's server use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// URL of the token server, told to clients. They send passwords there: `https`, or
    /// `http` on loopback.
    pub realm: String,
    /// The name of this server in tokens (`aud`).
    pub service: String,
    /// The name of the token server in tokens (`iss`).
    pub issuer: String,
    /// PEM file with certificates: of keys that sign tokens, or of authorities over such.
    pub rootcertbundle: Option<PathBuf>,
    /// JSON file with public keys that sign tokens (RFC 7517).
    pub jwks: Option<PathBuf>,
    /// How tokens may be signed. Default `["ES256", "RS256", "EdDSA"]`.
    #[serde(default = "all_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// How far the clock of the token server may differ. Default 60 s, at most 5 m.
    #[serde(default = "default_leeway", deserialize_with = "duration::read")]
    pub leeway: Duration,
}

impl From<&RegistryConfig> for RegistrySettings {
    fn from(config: &RegistryConfig) -> Self {
        Self {
            realm: config.realm.clone(),
            service: config.service.clone(),
            issuer: config.issuer.clone(),
            rootcertbundle: config.rootcertbundle.clone(),
            jwks: config.jwks.clone(),
            algorithms: config.algorithms.clone(),
            leeway: config.leeway,
        }
    }
}

impl AuthConfig {
    pub(super) fn validate(&self, faults: &mut Vec<Fault>) {
        if let Some(registry) = &self.registry {
            registry.validate(faults);
        }
    }
}

impl RegistryConfig {
    fn validate(&self, faults: &mut Vec<Fault>) {
        if !is_safe_url(&self.realm) {
            faults.push(Fault::new(
                "auth.registry.realm",
                "must be a URL with https, or with http and localhost, 127.0.0.1 or [::1]: passwords are sent there",
            ));
        }
        for (path, value) in
            [("auth.registry.service", &self.service), ("auth.registry.issuer", &self.issuer)]
        {
            let visible = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            if value.trim().is_empty() || !visible {
                faults.push(Fault::new(path, "must be visible ASCII characters, at least one"));
            }
        }
        if self.rootcertbundle.is_none() && self.jwks.is_none() {
            faults.push(Fault::new(
                "auth.registry.issuer",
                "there is no key of it; set auth.registry.rootcertbundle to a PEM file with certificates, \
                 or auth.registry.jwks to a JSON file with public keys",
            ));
        }
        if self.algorithms.is_empty() {
            faults.push(Fault::new("auth.registry.algorithms", "must name ES256, RS256 or EdDSA"));
        }
        if self.leeway > LEEWAY {
            faults.push(Fault::new("auth.registry.leeway", "must not be longer than 5m"));
        }
    }
}

fn is_safe_url(text: &str) -> bool {
    // The parser lets through what cannot stand in a header.
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    let Some(uri) = text.parse::<Uri>().ok().filter(|_| visible) else { return false };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

fn all_algorithms() -> Vec<Algorithm> {
    Algorithm::ALL.to_vec()
}

const fn default_leeway() -> Duration {
    Duration::from_secs(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_over_tls_or_stay_on_the_machine() {
        for good in [
            "https://auth.example.com/token",
            "https://auth.example.com:8443/v2/token?x=1",
            "http://localhost:5001/token",
            "http://127.0.0.1/token",
            "http://[::1]:5001/token",
        ] {
            assert!(is_safe_url(good), "{good}");
        }
        for bad in [
            "",
            "auth.example.com",
            "/token",
            "http://auth.example.com/token",
            "http://localhost.example.com/token",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "ftp://localhost/",
            "https:///token",
            "https://a b/",
            "https://a/\n",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
    }
}
