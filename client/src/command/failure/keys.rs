//! Keys and passphrases that cannot be used.

use bulla_keys_schema::key::OpenError;

use super::{Exit, Explained, hint, key_files};
use crate::flow::certificate::CertificateError;
use crate::flow::key::KeyError;
use crate::flow::key::certificate::CertifyError;
use crate::flow::signing::UnlockError;
use crate::port::{KeyStoreError, PassphraseError};
use crate::wiring::PASSPHRASE;

pub(super) fn key(error: &KeyError) -> Explained {
    match error {
        KeyError::Entropy(_) | KeyError::Make(_) => (Exit::Internal, None),
        KeyError::Exists { name } => {
            (Exit::Usage, hint(&format!("choose another name; to look at it: bulla key show {name}")))
        }
        KeyError::Passphrase(error) => passphrase(error),
        KeyError::Store(error) => key_store(error),
        KeyError::Unlock(error) => unlock(error),
    }
}

pub(super) fn certify(error: &CertifyError) -> Explained {
    match error {
        CertifyError::Certificate(CertificateError::SelfSign(_)) => {
            (Exit::Usage, hint("make another key: bulla key generate NAME --algorithm ecdsa-p256"))
        }
        CertifyError::Certificate(CertificateError::Entropy(_)) => (Exit::Internal, None),
        CertifyError::Key(error) => key(error),
        CertifyError::Unlock(error) => unlock(error),
    }
}

pub(super) fn unlock(error: &UnlockError) -> Explained {
    match error {
        UnlockError::Halves { name } => (
            Exit::Configuration,
            hint(&format!("somebody changed one of the files of key {name}: restore them from a copy")),
        ),
        UnlockError::Open { source: OpenError::WrongPassphrase, .. } => {
            (Exit::Usage, hint("try again; if the passphrase is right, restore the key file from a copy"))
        }
        UnlockError::Open { .. } => (Exit::Configuration, hint("restore the key file from a copy")),
        UnlockError::Passphrase(error) => passphrase(error),
        UnlockError::Replaced { name, .. } => (
            Exit::Configuration,
            hint(&format!("load what is there now: bulla key remove {name}, then bulla key load")),
        ),
        UnlockError::Store(error) => key_store(error),
    }
}

pub(super) fn passphrase(error: &PassphraseError) -> Explained {
    match error {
        PassphraseError::Ambiguous { variable, .. } => (
            Exit::Usage,
            hint(&format!("unset {variable}, and set {PASSPHRASE} or name a --passphrase-file for this one")),
        ),
        PassphraseError::Differ { .. } => (Exit::Usage, hint("try again")),
        PassphraseError::Empty { .. } => {
            (Exit::Usage, hint(&format!("choose one; in pipelines check that {PASSPHRASE} is filled")))
        }
        PassphraseError::File { .. } => {
            (Exit::Usage, hint("--passphrase-file must hold one passphrase of at most 4096 bytes"))
        }
        PassphraseError::Interrupted => (Exit::Interrupted, None),
        PassphraseError::NobodyToAsk { variable, .. } => {
            (Exit::Usage, hint(&format!("set {variable} or {PASSPHRASE}, or name a --passphrase-file")))
        }
        PassphraseError::NobodyToAskForNew { .. } => (Exit::Usage, hint("name a --new-passphrase-file")),
        PassphraseError::OpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!(
                "close it, and change the passphrase if others saw it: chmod 600 {0}; where it cannot be \
                 closed: cat {0} | bulla ... --passphrase-file /dev/stdin",
                path.display()
            )),
        ),
        PassphraseError::Terminal { .. } => (Exit::Internal, hint("name a --passphrase-file")),
        PassphraseError::Unsure { .. } => (
            Exit::Configuration,
            hint(&format!("see what is wrong with: bulla key list; or set {PASSPHRASE} in its place")),
        ),
        PassphraseError::Variable { variable } => (Exit::Usage, hint(&format!("set {variable} anew"))),
    }
}

pub(super) fn key_store(error: &KeyStoreError) -> Explained {
    match error {
        KeyStoreError::Exists { .. } => (Exit::Usage, hint("choose another name, or move the file away")),
        KeyStoreError::FolderOpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!("look for keys that are not yours, and close it: chmod go-w {}", path.display())),
        ),
        KeyStoreError::Invalid { .. } => (Exit::Configuration, hint("restore the file from a copy")),
        KeyStoreError::Io { .. } => (Exit::Internal, hint("check the folder, or name another: --home DIR")),
        KeyStoreError::Loaded { .. } => {
            (Exit::Usage, hint("do it where its file is; to keep it in this home: bulla key import FILE"))
        }
        KeyStoreError::Source { error, .. } => key_files::key_source(error),
        KeyStoreError::OpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!(
                "close it, and change its passphrase if others saw it: chmod 600 {}",
                path.display()
            )),
        ),
        KeyStoreError::Unknown { .. } => (Exit::Usage, hint("list the keys: bulla key list")),
    }
}
