//! Keys of signers as companies bring them: made by openssl, with a certificate of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::notary::Notary;

/// The files of one key.
pub struct OpensslKey {
    /// The private key: PEM, not encrypted, readable by its owner alone.
    pub private: PathBuf,
    /// The public key: PEM.
    pub public: PathBuf,
    /// A certificate that it signed itself: PEM.
    pub certificate: PathBuf,
}

impl OpensslKey {
    /// A P-256 key: `folder/NAME.key`, `NAME.pub` and `NAME.crt`.
    ///
    /// # Panics
    /// openssl fails.
    #[must_use]
    pub fn ecdsa(folder: &Path, name: &str) -> Self {
        Self::made(folder, name, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"], &[])
    }

    /// A 2048 bit RSA key, likewise.
    ///
    /// # Panics
    /// openssl fails.
    #[must_use]
    pub fn rsa(folder: &Path, name: &str) -> Self {
        Self::made(folder, name, &["genrsa", "-out"], &["2048"])
    }

    fn made(folder: &Path, name: &str, before: &[&str], after: &[&str]) -> Self {
        let file = |end| folder.join(format!("{name}.{end}"));
        let key = Self { private: file("key"), public: file("pub"), certificate: file("crt") };
        let [private, public, certificate] =
            [&key.private, &key.public, &key.certificate].map(|path| text(path));
        openssl(&[before, &[private], after].concat());
        openssl(&["pkey", "-in", private, "-pubout", "-out", public]);
        let subject = format!("/CN={name}");
        let request = ["req", "-x509", "-new", "-days", "365", "-subj", &subject, "-key", private];
        openssl(&[&request[..], &["-out", certificate]].concat());
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key.private, owner_only).expect("the owner may do that");
        key
    }

    /// Gives the private key to `user`, for `role`.
    ///
    /// # Panics
    /// It is not taken.
    pub fn give_to(&self, user: &Notary, role: &str) {
        user.ok(&["key", "import", text(&self.private), "--role", role]);
    }

    /// The certificate's file, as an argument.
    #[must_use]
    pub fn certificate(&self) -> &str {
        text(&self.certificate)
    }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
