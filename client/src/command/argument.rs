//! What must not be among the arguments: a private key, where the name of its variable or file was
//! meant (`--from-env "$KEY"`). Every user of the machine can read arguments, and errors repeat them
//! into logs: so nothing else is done with them.

use std::ffi::{OsStr, OsString};

use bulla_keys_schema::key::{InvalidKeyFile, InvalidKeyText, KeyText};

/// How private keys of age begin, in capitals.
const AGE_IDENTITY: &str = "AGE-SECRET-KEY-1";

/// A private key is among the arguments. Does not say which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an argument is a private key, which every user of this machine can read now")]
pub(super) struct PrivateKey;

/// Looks through all arguments before anything else does.
///
/// # Errors
/// One of them is a private key, in any form that is read here, or of age.
pub(super) fn require_no_key(arguments: &[OsString]) -> Result<(), PrivateKey> {
    if arguments.iter().any(|argument| is_key(argument)) { Err(PrivateKey) } else { Ok(()) }
}

fn is_key(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    let value = match text.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") && !flag.contains(' ') => value,
        _ => &*text,
    };
    if value.contains("PRIVATE KEY-----") || value.to_ascii_uppercase().contains(AGE_IDENTITY) {
        return true;
    }
    match KeyText::parse(value) {
        Ok(_) => true,
        // Of another kind, or damaged: still a key. What is public is no secret.
        Err(InvalidKeyText::Key { source, .. }) => !matches!(source, InvalidKeyFile::Label { .. }),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::key::{KeyAlgorithm, Passphrase, SealedKey, SecretKey};

    use super::*;

    /// Nobody's key.
    const BODY: &str = "MC4CAQAwBQYDK2VwBCIEIMztfpd7y0JfCOEdioRmHb/Sxhhn82Xd5aoFpYa6jqDW";

    #[test]
    fn keys_are_known_in_every_form() {
        let secret = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[7; 32].into()).unwrap();
        let passphrase = Passphrase::new("p".to_owned());
        let sealed = SealedKey::seal(&secret, &passphrase, [1; 32], [2; 24]).to_pem();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n");
        for text in [BODY, &pem, &sealed, "age-secret-key-1qq"] {
            assert_eq!(require_no_key(&["bulla".into(), text.into()]), Err(PrivateKey), "{text}");
            assert!(is_key(OsStr::new(&format!("--from-env={text}"))), "{text}");
        }
        let public = secret.public_key().to_pem();
        for text in
            ["", "--from-env", "SIGNING_KEY", "a.pem", "--server=http://localhost:1", "c2VjcmV0", &public]
        {
            assert!(!is_key(OsStr::new(text)), "{text}");
        }
    }
}
