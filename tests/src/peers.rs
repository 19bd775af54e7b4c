//! Foreign TUF clients, unmodified, that follow a repository and say what they came to trust.
//!
//! Four implementations by four groups of people read the same metadata: python-tuf and
//! tuf-js as programs of their own, `sigstore-tuf` and `tough` in this process. Each keeps
//! its state in a folder that the test owns, so that a repository can be followed through
//! its whole life. The crate `tuf` gives a [`second_opinion`](second_opinion::second_opinion)
//! on documents alone.

mod in_process;
mod program;

pub mod debian;
pub mod fixtures;
pub mod second_opinion;
pub mod static_files;

use std::path::{Path, PathBuf};

/// A TUF client that this project did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignClient {
    /// python-tuf's `ngclient`, the reference implementation.
    PythonTuf,
    /// tuf-js, as npm uses it.
    TufJs,
    /// The crate `sigstore-tuf`.
    SigstoreTuf,
    /// The crate `tough`. Its clock cannot be set: it ignores [`Repository::now`].
    Tough,
}

/// Where a repository is served, and what its followers pin.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Address of the folder with `timestamp.json`.
    pub metadata_url: String,
    /// Address of the folder with the target files.
    pub targets_url: String,
    /// The root document that is trusted from the start.
    pub root: Vec<u8>,
    /// PEM file of the authority that signed an https server's certificate.
    pub ca_cert: Option<PathBuf>,
    /// What the followers take for the present, where it is not the machine's clock.
    pub now: Option<jiff::Timestamp>,
}

/// What a client trusts after it has followed a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Version of the trusted root.
    pub root: u64,
    /// Version of the trusted timestamp.
    pub timestamp: u64,
    /// Version of the trusted snapshot.
    pub snapshot: u64,
    /// Version of the trusted top-level targets.
    pub targets: u64,
    /// The verified bytes of the target that was asked for.
    pub target: Option<Vec<u8>>,
}

/// A client's own words for not trusting what it was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the error type, where the client has such names.
    pub kind: String,
    /// The error's text.
    pub text: String,
}

impl ForeignClient {
    /// Every client there is.
    pub const ALL: [Self; 4] = [Self::PythonTuf, Self::TufJs, Self::SigstoreTuf, Self::Tough];

    /// The name under which its authors publish it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PythonTuf => "python-tuf",
            Self::TufJs => "tuf-js",
            Self::SigstoreTuf => "sigstore-tuf",
            Self::Tough => "tough",
        }
    }

    /// Every client that is on this machine. The others are reported by [`absent`].
    #[must_use]
    pub fn present() -> Vec<Self> {
        Self::ALL.into_iter().filter(|client| client.is_present()).collect()
    }

    /// Refresh, and download `target` if one is named. `state` is this client's own folder,
    /// made if it is missing and given again for the next run.
    ///
    /// # Errors
    /// The client did not trust what it was served.
    ///
    /// # Panics
    /// The client could not be run at all.
    pub async fn follow(
        self,
        repository: &Repository,
        state: &Path,
        target: Option<&str>,
    ) -> Result<Observed, Refused> {
        std::fs::create_dir_all(state).expect("a client's state folder can be made");
        match self {
            Self::PythonTuf | Self::TufJs => program::follow(self, repository, state, target).await,
            Self::SigstoreTuf => in_process::sigstore_tuf(repository, state, target).await,
            Self::Tough => in_process::tough(repository, state, target).await,
        }
    }

    fn is_present(self) -> bool {
        match self {
            Self::PythonTuf | Self::TufJs => program::is_present(self),
            Self::SigstoreTuf | Self::Tough => true,
        }
    }
}

/// Report that a test goes without `peer`, and how to get it.
///
/// # Panics
/// In CI (`CI=true`), where every peer has to be there.
pub fn absent(peer: &str, hint: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{peer} is missing; hint: {hint}");
    eprintln!("SKIPPED: {peer} is missing; hint: {hint}");
}
