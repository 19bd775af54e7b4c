//! The way to a trust server, whatever it speaks: TLS, the token, and answers of bounded length.

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use reqwest::{Method, RequestBuilder, Response, redirect};
use zeroize::Zeroizing;

use crate::adapter::tls::Tls;
use crate::adapter::{Patience, innermost};
use crate::config::ServerUrl;
use crate::port::TrustServerError;

/// Largest answer that is no document, in bytes: a head that lists thousands of roles.
pub(super) const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A trust server that can be asked.
pub struct Connection {
    client: reqwest::Client,
    server: ServerUrl,
    token: Option<Zeroizing<String>>,
}

impl Connection {
    /// Prepares connections to `server`: with the certificates of the system and of
    /// `ca_pem`, and `token` on every request. The server is given up when it outlasts
    /// `patience`.
    ///
    /// # Errors
    /// `ca_pem` holds no certificate, or the token cannot stand in a header.
    pub fn new(
        server: ServerUrl,
        ca_pem: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
        patience: Patience,
    ) -> Result<Self, InvalidConnection> {
        if let Some(token) = &token
            && (token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(InvalidConnection::Token);
        }
        // A redirect would carry the token and the blame to a server nobody configured.
        let mut builder = Tls::new(ca_pem)?
            .apply(patience.apply(reqwest::Client::builder()))
            .user_agent(concat!("bulla/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none());
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| InvalidConnection::Tls { reason: innermost(&error) })?;
        Ok(Self { client, server, token })
    }

    /// The server's URL, for messages.
    pub(super) fn server(&self) -> String {
        self.server.to_string()
    }

    /// A request for `path`, which starts with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.server.join(path));
        match &self.token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, TrustServerError> {
        request.send().await.map_err(|error| self.broken(&error))
    }

    /// At most `limit` bytes of body, whatever its headers announce.
    pub(super) async fn body(
        &self,
        mut response: Response,
        file: &str,
        limit: usize,
    ) -> Result<Bytes, TrustServerError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(TrustServerError::TooLarge {
                    server: self.server(),
                    file: file.to_owned(),
                    limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// An answer that is no answer.
    pub(super) fn unexpected(&self, detail: &str) -> TrustServerError {
        TrustServerError::Unexpected { server: self.server(), detail: detail.to_owned() }
    }

    fn broken(&self, error: &reqwest::Error) -> TrustServerError {
        // A body cut short or not gzip is found while reading: nothing is wrong with the way.
        let server = self.server();
        if error.is_timeout() && error.source().is_none() {
            return TrustServerError::Unreachable { server, reason: "timed out".to_owned() };
        }
        TrustServerError::Unreachable { server, reason: innermost(error) }
    }
}

/// Why no connection can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConnection {
    /// The file of certificates holds none.
    #[error("the CA file holds no PEM certificate")]
    Certificates,
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What the library said.
        reason: String,
    },
    /// The token cannot stand in a header.
    #[error("BULLA_TOKEN is not a token: it must be visible ASCII characters without spaces")]
    Token,
}
