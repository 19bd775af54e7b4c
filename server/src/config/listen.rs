//! Where the server listens, and with which certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::Fault;

/// The port if none is set; Notary's server uses the same one.
pub const DEFAULT_PORT: u16 = 4443;

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:4443`.
    pub listen: SocketAddr,
    /// Declares that a proxy in front ends TLS, so that plain HTTP may be spoken on other
    /// addresses than loopback. The proxy must pass the `Host` header on: clients of Notary are
    /// sent there for tokens. Default false.
    pub trusted_proxy: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)), trusted_proxy: false }
    }
}

impl ServerConfig {
    pub(super) fn validate(&self, tls: bool, faults: &mut Vec<Fault>) {
        if !tls && !self.trusted_proxy && !self.listen.ip().is_loopback() {
            faults.push(Fault::new(
                "server.listen",
                "plain HTTP is served on loopback only; set tls.certificate and tls.key, or \
                 server.trusted_proxy = true if a proxy in front of it ends TLS",
            ));
        }
    }
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[operations]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperationsConfig {
    /// Address of `/healthz`, `/readyz` and `/metrics`, plain HTTP; off if not set.
    pub listen: Option<SocketAddr>,
}
