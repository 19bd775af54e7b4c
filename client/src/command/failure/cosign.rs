//! What errors about signatures beside an image mean.

use bulla_keys_schema::sigstore::InvalidQuestion;

use super::{Exit, Explained, hint};
use crate::command::cosign::TwoTexts;
use crate::flow::cosign::import::ImportError;
use crate::flow::cosign::verify::CosignError;
use crate::port::RegistryError;

pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if error.is::<TwoTexts>() {
        return Some((Exit::Usage, hint("ask for each annotation once")));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(import(error));
    }
    error.downcast_ref().map(verify)
}

fn verify(error: &CosignError) -> Explained {
    match error {
        CosignError::Index(_) => (Exit::Usage, hint("leave --platform out: there is one image")),
        CosignError::NoPlatform { .. } => {
            (Exit::Usage, hint("name one of these with its variant, if it has one: --platform linux/arm/v7"))
        }
        CosignError::NotFound { image } => {
            (Exit::NoTrustData, hint(&format!("sign it: cosign sign --key FILE.key {image}")))
        }
        CosignError::NotOurs { .. } => (
            Exit::NotSigned,
            hint("name the keys of those who signed, and how many must have: --key FILE.pub --threshold K"),
        ),
        CosignError::NothingNamed => (Exit::Usage, hint("name a tag or a digest")),
        CosignError::NotSeen { source, .. } => match source {
            RegistryError::Credentials { .. } | RegistryError::Unauthorised { .. } => super::registry(source),
            _ => (Exit::Unreachable, super::registry(source).1),
        },
        CosignError::Question(error) => question(error),
        CosignError::Registry(error) => super::registry(error),
    }
}

fn import(error: &ImportError) -> Explained {
    match error {
        // What became of each tag is the answer then.
        ImportError::Nothing => (Exit::Internal, None),
        ImportError::NoTags { .. } => (Exit::TagUnknown, hint("leave --tags out, or check the name")),
        ImportError::Publish(error) => super::publish(error),
        ImportError::Question(error) => question(error),
        ImportError::Registry(error) => super::registry(error),
        ImportError::Sign(error) => super::sign(error),
    }
}

fn question(error: &InvalidQuestion) -> Explained {
    match error {
        InvalidQuestion::NoKeys => (Exit::Usage, hint("name a public key: --key FILE.pub")),
        InvalidQuestion::Rsa { .. } => (
            Exit::Configuration,
            hint("have it signed with a key of ECDSA P-256 as well: cosign generate-key-pair"),
        ),
        InvalidQuestion::Threshold { .. } => (
            Exit::Usage,
            hint("name as many different keys, or a lower threshold: --key FILE.pub --threshold K"),
        ),
    }
}
