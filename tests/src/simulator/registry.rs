//! A registry that serves manifests and misbehaves when told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bulla::port::{Manifest, RegistryError, Wanted};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bytes::Bytes;

use super::wire::{Loopback, Reply, Request, Sending};

/// A registry; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Manifests by tag, and by digest as registries write it.
    manifests: BTreeMap<String, Bytes>,
    fault: Option<RegistryFault>,
    asked: Vec<String>,
    /// What was sent as `Authorization`.
    logins: Vec<String>,
}

/// How it misbehaves.
#[derive(Clone, Debug)]
pub enum RegistryFault {
    /// Other bytes than asked for, under whatever name.
    Instead(Bytes),
    /// A `Docker-Content-Digest` that is not that of the bytes.
    Claims(Sha256Digest),
    /// A manifest that never ends.
    Endless,
    /// Another status.
    Status(u16),
    /// "Look elsewhere."
    Redirect(String),
    /// A token is wanted; the token server answers like this.
    Token(Reply),
    /// A byte every so often.
    Slow(Duration),
    /// The connection ends before any answer.
    Hangup,
}

impl Registry {
    /// `tag` means `manifest` from now on; what it meant before stays under its digest.
    pub fn push(&self, tag: &str, manifest: &[u8]) -> Sha256Digest {
        let digest = Sha256Digest::of(manifest);
        let bytes = Bytes::copy_from_slice(manifest);
        let mut state = self.state();
        state.manifests.insert(tag.to_owned(), bytes.clone());
        state.manifests.insert(digest.to_oci(), bytes);
        digest
    }

    /// Misbehaves from now on, or no more.
    pub fn spoil(&self, fault: Option<RegistryFault>) {
        self.state().fault = fault;
    }

    /// Every tag or digest asked for since this was called last.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// Every login or token that was sent since this was called last.
    #[must_use]
    pub fn logins(&self) -> Vec<String> {
        std::mem::take(&mut self.state().logins)
    }

    /// The same registry over HTTP.
    #[must_use]
    pub fn over_http(&self) -> Loopback {
        let registry = self.clone();
        Loopback::serve(move |request| registry.reply(request))
    }

    fn ask(&self, reference: &str) -> (Option<Bytes>, Option<RegistryFault>) {
        let mut state = self.state();
        state.asked.push(reference.to_owned());
        (state.manifests.get(reference).cloned(), state.fault.clone())
    }

    fn reply(&self, request: &Request) -> Reply {
        let login = request.headers.get("authorization");
        self.state().logins.extend(login.cloned());
        let fault = self.state().fault.clone();
        if let Some(RegistryFault::Token(reply)) = &fault {
            if request.path.starts_with("/token") {
                return reply.clone();
            }
            if !login.is_some_and(|login| login.starts_with("Bearer ")) {
                let host = request.headers.get("host").cloned().unwrap_or_default();
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"registry\"");
                return Reply::new(401, Bytes::new()).with("www-authenticate", challenge);
            }
        }
        if request.path.trim_end_matches('/') == "/v2" {
            return Reply::new(200, "{}".into());
        }
        let Some((_, reference)) = request.path.rsplit_once("/manifests/") else {
            return Reply::new(404, Bytes::new());
        };
        let (bytes, fault) = self.ask(reference);
        manifest(bytes, fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics in here")
    }
}

fn manifest(bytes: Option<Bytes>, fault: Option<RegistryFault>) -> Reply {
    let claimed = bytes.as_ref().map(|bytes| Sha256Digest::of(bytes));
    let good = |bytes: Bytes, digest: Sha256Digest| {
        let reply = Reply::new(200, bytes).with("docker-content-digest", digest.to_oci());
        reply.with("content-type", "application/vnd.oci.image.manifest.v1+json")
    };
    match (fault, bytes, claimed) {
        (Some(RegistryFault::Instead(other)), _, Some(claimed)) => good(other, claimed),
        (Some(RegistryFault::Claims(digest)), Some(bytes), _) => good(bytes, digest),
        (Some(RegistryFault::Endless), ..) => {
            Reply { status: 200, headers: Vec::new(), body: Sending::Endless }
        }
        (Some(RegistryFault::Slow(pause)), Some(bytes), _) => {
            Reply { status: 200, headers: Vec::new(), body: Sending::Dripping(bytes, pause) }
        }
        (Some(RegistryFault::Status(status)), ..) => Reply::new(status, "{}".into()),
        (Some(RegistryFault::Redirect(url)), ..) => Reply::new(307, Bytes::new()).with("location", url),
        (Some(RegistryFault::Hangup), ..) => {
            Reply { status: 200, headers: Vec::new(), body: Sending::Nothing }
        }
        (_, Some(bytes), Some(claimed)) => good(bytes, claimed),
        (_, _, _) => Reply::new(404, "{}".into()),
    }
}

#[async_trait]
impl bulla::port::Registry for Registry {
    async fn manifest(
        &self,
        repository: &RepositoryName,
        wanted: &Wanted,
    ) -> Result<Manifest, RegistryError> {
        let asked = match wanted {
            Wanted::Digest(digest) => digest.to_oci(),
            Wanted::Tag(tag) => tag.to_string(),
        };
        let (bytes, fault) = self.ask(&asked);
        let host = repository.host().unwrap_or_default().to_owned();
        let reference = format!("{repository}{wanted}");
        match (fault, bytes) {
            (Some(RegistryFault::Instead(other)), _) => Ok(Manifest::new(other, None)),
            (Some(RegistryFault::Endless), _) => {
                Err(RegistryError::TooLarge { host, reference, limit: limits::MANIFEST_BYTES })
            }
            (Some(RegistryFault::Status(401 | 403) | RegistryFault::Token(_)), _) => {
                Err(RegistryError::Unauthorised { host, reference })
            }
            (Some(RegistryFault::Status(404)), _) => Err(RegistryError::Unknown { host, reference }),
            (Some(RegistryFault::Status(status)), _) => {
                Err(RegistryError::Unexpected { host, reference, status })
            }
            (Some(RegistryFault::Hangup | RegistryFault::Redirect(_) | RegistryFault::Slow(_)), _) => {
                Err(RegistryError::Unreachable { host, reason: "gone".to_owned() })
            }
            (Some(RegistryFault::Claims(digest)), Some(bytes)) => Err(RegistryError::Mismatch {
                host,
                reference,
                computed: Sha256Digest::of(&bytes).to_oci(),
                expected: digest.to_oci(),
            }),
            (_, Some(bytes)) => Ok(Manifest::new(bytes, None)),
            (_, None) => Err(RegistryError::Unknown { host, reference }),
        }
    }
}
