//! Programs of others that sign images in Sigstore's formats, and that judge such signatures.
//!
//! Everything is offline and with keys: no transparency log, no certificates. Who signs and who
//! reads can be paired freely, because all of them meet at a registry of the test
//! ([`images`]) and use the same key files, which cosign makes.

pub mod cosign;
pub mod images;
pub mod libraries;
pub mod ours;
pub mod reports;
pub mod skopeo;
pub mod stored;

use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use self::cosign::Cosign;
use crate::cli::PASSPHRASE;

/// What a program made of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// It took the image for signed.
    pub accepted: bool,
    /// Its exit code.
    pub code: i32,
    /// Its answer.
    pub answer: String,
    /// What it said to people.
    pub said: String,
}

impl Opinion {
    pub(crate) fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            accepted: output.status.success(),
            code: output.status.code().unwrap_or(-1),
            answer: text(&output.stdout),
            said: text(&output.stderr),
        }
    }

    /// It accepted.
    ///
    /// # Panics
    /// It did not.
    pub fn yes(self, case: &str) -> Self {
        assert!(self.accepted, "{case}: refused: {self:?}");
        self
    }

    /// It refused, and said one of these words.
    ///
    /// # Panics
    /// It accepted, or says something else.
    pub fn no(self, case: &str, words: &str) -> Self {
        assert!(!self.accepted, "{case}: accepted: {self:?}");
        assert!(self.said.contains(words), "{case}: does not say {words:?}: {self:?}");
        self
    }
}

/// A key in cosign's files, sealed with [`PASSPHRASE`].
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// `NAME.key`.
    pub private: PathBuf,
    /// `NAME.pub`.
    pub public: PathBuf,
}

impl KeyPair {
    /// The key that is called `name` in `folder`.
    #[must_use]
    pub fn named(folder: &Path, name: &str) -> Self {
        Self { private: folder.join(format!("{name}.key")), public: folder.join(format!("{name}.pub")) }
    }
}

/// Keys that cosign made.
#[derive(Debug)]
pub struct Keys {
    folder: TempDir,
    /// Whose signatures are to be accepted.
    pub good: KeyPair,
    /// Somebody else's.
    pub other: KeyPair,
}

impl Keys {
    /// Two fresh keys.
    ///
    /// # Panics
    /// cosign makes none.
    #[must_use]
    pub fn make(cosign: &Cosign) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["good", "other"] {
            let prefix = folder.path().join(name);
            let prefix = prefix.to_str().expect("paths of tests are text");
            cosign.run(&["generate-key-pair", "--output-key-prefix", prefix]).yes("a new key");
        }
        std::fs::write(folder.path().join("passphrase"), PASSPHRASE).expect("a file can be written");
        let [good, other] = ["good", "other"].map(|name| KeyPair::named(folder.path(), name));
        Self { folder, good, other }
    }

    /// The folder that they lie in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A path for a command line.
///
/// # Panics
/// It is no text.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
