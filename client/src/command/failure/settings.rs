//! What is wrong with what `bulla` is told: options, configuration, variables and files.

use super::{Exit, Explained, attest, cosign, gate, hint, policy, published_policy, requests};
use crate::command::{NoRepository, NoTag, argument, key, man, revoke, signer};
use crate::config::InvalidConfig;
use crate::pins::BadThreshold;
use crate::wiring::{InvalidConnection, NoHome, UnreadableCertificates};

pub(super) fn settings(error: &anyhow::Error) -> Explained {
    if let Some(explained) = cosign::explain(error) {
        return explained;
    }
    if let Some(explained) = attest::explain(error) {
        return explained;
    }
    if let Some(explained) = gate::explain(error) {
        return explained;
    }
    if let Some(explained) = policy::explain(error).or_else(|| published_policy::explain(error)) {
        return explained;
    }
    if let Some(explained) = requests::explain(error) {
        return explained;
    }
    if error.is::<InvalidConfig>() {
        return (Exit::Configuration, hint("correct or remove the file"));
    }
    if error.is::<NoHome>() {
        return (Exit::Configuration, hint("name a folder: --home DIR or BULLA_HOME"));
    }
    if error.is::<argument::PrivateKey>() {
        return (
            Exit::Usage,
            hint(
                "replace that key; a key in a variable is loaded by its name, without `$`: bulla key load --from-env VAR",
            ),
        );
    }
    if error.is::<bulla_keys_schema::key::InvalidKeySource>() {
        return (Exit::Usage, hint("write the name of the variable, without `$`: --from-env VAR"));
    }
    if error.is::<key::NoName>() {
        return (Exit::Usage, hint("choose a name: --name NAME"));
    }
    if error.is::<key::NoSource>() {
        return (Exit::Usage, hint("name the variable or the file: --from-env VAR, or FILE"));
    }
    if error.is::<key::NoPath>() {
        return (Exit::Usage, hint("name another file"));
    }
    if error.is::<NoRepository>() {
        return (Exit::Usage, hint("name it as images are named: registry.example.com/team/app"));
    }
    if error.is::<BadThreshold>() {
        return (Exit::Usage, hint("--threshold must be between 1 and the number of root keys"));
    }
    match error.downcast_ref() {
        Some(InvalidConnection::Token) => {
            return (Exit::Configuration, hint("copy the token again into BULLA_TOKEN"));
        }
        Some(InvalidConnection::Certificates) => {
            return (Exit::Configuration, hint("name a PEM file with --ca-cert or --registry-ca-cert"));
        }
        Some(InvalidConnection::Tls { .. }) => return (Exit::Internal, None),
        None => {}
    }
    if error.is::<UnreadableCertificates>() {
        return (Exit::Configuration, hint("name a readable PEM file with --ca-cert or --registry-ca-cert"));
    }
    if error.is::<signer::UnusableFile>() {
        let text =
            "name another file; the public key of a key of this home: bulla key export NAME > NAME.pub";
        return (Exit::Usage, hint(text));
    }
    if error.is::<man::UnwritablePages>() {
        return (Exit::Usage, hint("name a folder that exists and can be written"));
    }
    if error.is::<revoke::TagAndDigest>() {
        return (Exit::Usage, hint("name the tag alone, or the repository and --digest"));
    }
    if error.is::<NoTag>() {
        return (Exit::Usage, hint("name a tag: REPOSITORY:TAG"));
    }
    (Exit::Internal, None)
}
