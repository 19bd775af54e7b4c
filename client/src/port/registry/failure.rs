//! Why a registry did not do what it was asked for.

use bulla_keys_schema::names::RepositoryName;

/// Why a registry gave nothing, or took nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Somebody else wrote in between.
    #[error("{host} has another {reference} than before")]
    Changed {
        /// The registry.
        host: String,
        /// What was to be replaced.
        reference: String,
    },
    /// The stored login cannot be used.
    #[error("cannot use the stored login for {host}: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Not allowed to push.
    #[error("{host} does not let us write {reference}")]
    MayNotWrite {
        /// The registry.
        host: String,
        /// What was to be written.
        reference: String,
    },
    /// The bytes have another digest than asked for, or than the registry claims.
    #[error("{host} sent {reference} with digest {computed}, expected {expected}")]
    Mismatch {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// Digest of the received bytes.
        computed: String,
        /// The digest asked for or claimed.
        expected: String,
    },
    /// The name has no registry host, so there is nobody to ask.
    #[error("{repository} names no registry")]
    NoHost {
        /// The repository.
        repository: RepositoryName,
    },
    /// The token server that the registry names would be shown the login in the clear.
    #[error("{host} wants the login sent to {realm}, in plain HTTP")]
    PlainLogin {
        /// The registry.
        host: String,
        /// The token server: scheme, host and port.
        realm: String,
    },
    /// The registry takes no such thing.
    #[error("{host} refused {reference} with {status}{}", explain(reason.as_deref()))]
    Refused {
        /// The registry.
        host: String,
        /// What was to be written.
        reference: String,
        /// The HTTP status.
        status: u16,
        /// What it said, made printable.
        reason: Option<String>,
    },
    /// Too many requests.
    #[error("{host} is asked too often for {reference}")]
    Throttled {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
    },
    /// More bytes than asked for.
    #[error("{host} sent more than {limit} bytes for {reference}")]
    TooLarge {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A list longer than anybody needs.
    #[error("{host} lists more than {limit} entries for {reference}")]
    TooMany {
        /// The registry.
        host: String,
        /// Of what.
        reference: String,
        /// The limit.
        limit: usize,
    },
    /// Not allowed to see it, or it does not exist: registries do not tell the two apart.
    #[error("{host} does not let us read {reference}")]
    Unauthorised {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
    },
    /// The registry answered something that is no manifest and no known error.
    #[error("{host} answered {status} for {reference}")]
    Unexpected {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// The HTTP status.
        status: u16,
    },
    /// No such tag or digest.
    #[error("{host} has no {reference}")]
    Unknown {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach the registry {host}: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// An answer that means nothing.
    #[error("cannot read what {host} answered for {reference}: {reason}")]
    Unreadable {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn explain(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}
