//! Keys that come from other programs, or go to them.

use bulla_keys_schema::key::{InvalidKeyFile, InvalidKeyText, InvalidSecretKey};

use super::{Exit, Explained, hint, key, refresh};
use crate::flow::key::export::ExportError;
use crate::flow::key::load::LoadError;
use crate::port::KeySourceError;

pub(super) fn export(error: &ExportError) -> Explained {
    match error {
        ExportError::AnyRepository { .. } => (Exit::Usage, hint("leave --repository out")),
        ExportError::Exists { .. } => (Exit::Usage, hint("name another file, or move this one away")),
        ExportError::Key(error) => key(error),
        ExportError::NoRepository { .. } => (Exit::Usage, hint("name it: --repository REPOSITORY")),
        ExportError::NoRole { .. } => {
            (Exit::Usage, hint("name it: --role root, targets, snapshot, or the signer's name"))
        }
        ExportError::ServersRole => (Exit::Usage, hint("name another role with --role")),
        ExportError::Write { .. } => (Exit::Usage, hint("name a file in a folder that can be written")),
    }
}

pub(super) fn load(error: &LoadError) -> Explained {
    match error {
        LoadError::Key(error) => key(error),
        LoadError::NoRole { .. } => (
            Exit::NotSigned,
            hint(
                "load the key of a signer of it: bulla signer list REPOSITORY; or its admin adds this one: bulla signer add REPOSITORY NAME --key FILE.pub",
            ),
        ),
        LoadError::Refresh(error) => refresh(error),
        LoadError::Source(error) => key_source(error),
    }
}

pub(super) fn key_source(error: &KeySourceError) -> Explained {
    match error {
        KeySourceError::EmptyVariable { variable } | KeySourceError::UnsetVariable { variable } => (
            Exit::Usage,
            hint(&format!(
                "set {variable} to the key; pipelines hide protected variables from unprotected branches, and all of them from forks"
            )),
        ),
        KeySourceError::Invalid { reason, .. } => (Exit::Usage, hint(instead_of(reason))),
        KeySourceError::NoFile { .. } => (
            Exit::Usage,
            hint("name the key file itself; a key in a variable: bulla key load --from-env VAR"),
        ),
        KeySourceError::NoText { .. } => {
            (Exit::Usage, hint("keys are read as PEM, or as base64: base64 -w0 FILE"))
        }
        KeySourceError::OpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!("close it, and replace the key if others saw it: chmod 600 {}", path.display())),
        ),
        KeySourceError::Unreadable { .. } => (Exit::Usage, hint("check the path, and who may read it")),
    }
}

/// What to do about a text that is no key.
const fn instead_of(reason: &InvalidKeyText) -> &'static str {
    match reason {
        InvalidKeyText::NotOne { .. } => {
            "load one at a time, or take all of them over: bulla key import FILE"
        }
        InvalidKeyText::TooLarge { .. } | InvalidKeyText::TooMany { .. } => "name a key file",
        InvalidKeyText::Empty => "fetch the file again, or restore it from a copy",
        InvalidKeyText::Base64OfNoKey | InvalidKeyText::Neither => {
            "keys are read as PEM, or as base64: base64 -w0 FILE"
        }
        InvalidKeyText::Key { source, .. } => match source {
            InvalidKeyFile::Label { .. } => "name the file with the private key",
            InvalidKeyFile::Encryption { .. } | InvalidKeyFile::Iterations { .. } => {
                "decrypt it first, into a file that only you can read: umask 077; openssl pkey -in FILE -out NEW"
            }
            InvalidKeyFile::Key(InvalidSecretKey::Rsa { .. }) | InvalidKeyFile::Pkcs1 { .. } => {
                "make a key that can sign: bulla key generate NAME; RSA only verifies here, because signing with it can leak the key by the time it takes"
            }
            InvalidKeyFile::Key(InvalidSecretKey::Unsupported { .. }) => {
                "make a key that can sign: bulla key generate NAME"
            }
            InvalidKeyFile::Headers
            | InvalidKeyFile::Key(_)
            | InvalidKeyFile::Pem(_)
            | InvalidKeyFile::Sealed(_)
            | InvalidKeyFile::Structure
            | InvalidKeyFile::Truncated => "fetch the file again, or restore it from a copy",
        },
    }
}
