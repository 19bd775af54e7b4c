//! What verdicts and errors of policies mean.

use bulla_keys_schema::policy::{CheckId, Verdict};

use super::{Exit, Explained, hint as to_do};
use crate::command::NoVerdict;
use crate::command::policy::{UnusableImport, UnusablePolicy, UnusableTests};
use crate::flow::policy_import::ImportError;

/// What an error about a policy means.
pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    use crate::command::policy::{ImportReason, PolicyReason};
    if error.is::<NoVerdict>() {
        return Some((Exit::Usage, to_do("name a policy: --policy FILE; or take --output json")));
    }
    if let Some(error) = error.downcast_ref::<UnusablePolicy>() {
        let advice = match &error.reason {
            PolicyReason::File(_) => "name a readable file: --policy FILE",
            PolicyReason::Policy(error) => error.advice(),
        };
        return Some((Exit::Configuration, to_do(advice)));
    }
    if let Some(error) = error.downcast_ref::<UnusableImport>() {
        let advice = match &error.reason {
            ImportReason::File(_) => "name a readable file",
            ImportReason::Import(ImportError::Unknown) => {
                "name a policy.json of podman, a ClusterImagePolicy, a policy of Kyverno, or values of Connaisseur"
            }
            ImportReason::Import(_) => "correct the file, or write the policy by hand",
            ImportReason::Policy(_) => "write the policy by hand: two of its rules do not fit together",
        };
        return Some((Exit::Configuration, to_do(advice)));
    }
    error.is::<UnusableTests>().then(|| {
        (Exit::Configuration, to_do("look at the form of tests: keys-schema/schema/policy-tests.schema.json"))
    })
}

/// The exit code of a verdict: the first check that fails decides.
pub(in crate::command) fn exit(verdict: &Verdict) -> Option<Exit> {
    if verdict.is_allowed() {
        return None;
    }
    Some(verdict.first_failure().map_or(Exit::Internal, |check| exit_of(check.id)))
}

pub(super) const fn exit_of(check: CheckId) -> Exit {
    match check {
        CheckId::PolicyError | CheckId::PolicyNoMatch => Exit::Configuration,
        CheckId::TrustNoRoot | CheckId::TrustNoData => Exit::NoTrustData,
        CheckId::MetaExpired | CheckId::MetaStale | CheckId::MetaThreshold => Exit::Expired,
        CheckId::MetaRollback | CheckId::TagMismatch => Exit::Tampered,
        CheckId::RevokedTag | CheckId::RevokedDigest | CheckId::RevokedSigner | CheckId::Quarantined => {
            Exit::Revoked
        }
        CheckId::TagUnknown
        | CheckId::SignThreshold
        | CheckId::SignMustInclude
        | CheckId::SignExpired
        | CheckId::SignPlatform => Exit::NotSigned,
        CheckId::AttMissing
        | CheckId::AttStale
        | CheckId::AttSigner
        | CheckId::AttSubject
        | CheckId::AttFormat
        | CheckId::AttFiltered
        | CheckId::DbStale => Exit::NoEvidence,
        CheckId::RefInvalid
        | CheckId::RefEmpty
        | CheckId::RefDigestRequired
        | CheckId::RefTagDenied
        | CheckId::RegistryBlocked
        | CheckId::RegistryNotAllowed
        | CheckId::VulnCritical
        | CheckId::VulnHigh
        | CheckId::VulnMedium
        | CheckId::VulnLow
        | CheckId::VulnTotal
        | CheckId::VulnScore
        | CheckId::SecretCount
        | CheckId::OsEol
        | CheckId::FactLabel
        | CheckId::FactUser
        | CheckId::FactSize
        | CheckId::FactLayers
        | CheckId::BaseNotAllowed => Exit::GateFailed,
        CheckId::Internal => Exit::Internal,
    }
}

/// What to do about a refusal.
pub(in crate::command) fn hint(verdict: &Verdict, image: &str) -> Option<String> {
    let check = verdict.first_failure().filter(|_| !verdict.is_allowed())?;
    let text = match check.id {
        CheckId::PolicyError => "correct the policy: bulla policy check FILE".to_owned(),
        CheckId::PolicyNoMatch => "write a rule for this repository, if it may be used at all".to_owned(),
        CheckId::RefInvalid | CheckId::RefEmpty => "name the image: REPOSITORY:TAG".to_owned(),
        CheckId::RefDigestRequired => {
            "name the digest: REPOSITORY@sha256:DIGEST; bulla resolve --policy FILE prints it".to_owned()
        }
        CheckId::RefTagDenied => "use another tag, or the digest".to_owned(),
        CheckId::RegistryBlocked | CheckId::RegistryNotAllowed => {
            "use the image from a registry that the policy allows".to_owned()
        }
        CheckId::RevokedTag | CheckId::RevokedDigest | CheckId::RevokedSigner => {
            "do not use it; a repaired image is signed anew".to_owned()
        }
        CheckId::Quarantined => "wait until somebody has looked at it".to_owned(),
        CheckId::TrustNoRoot => {
            "ask the repository's admin for its root keys, and put them under [trust] in the policy"
                .to_owned()
        }
        CheckId::TrustNoData => {
            "check the name, the server and the network; its admin begins it with: bulla init".to_owned()
        }
        CheckId::MetaExpired | CheckId::MetaStale => {
            "try again when the trust server is back; if it is up, somebody holds back its answers".to_owned()
        }
        CheckId::MetaRollback | CheckId::TagMismatch => {
            "do not pull; tell the admins of the registry and of the trust server".to_owned()
        }
        CheckId::MetaThreshold => "look at who signed what: bulla inspect REPOSITORY --pretty".to_owned(),
        CheckId::TagUnknown | CheckId::SignThreshold | CheckId::SignMustInclude | CheckId::SignExpired => {
            format!("whoever may sign it runs: bulla sign {image}")
        }
        CheckId::SignPlatform => "name the platform: --platform OS/ARCH; or sign the whole index".to_owned(),
        CheckId::AttMissing
        | CheckId::AttStale
        | CheckId::AttSigner
        | CheckId::AttSubject
        | CheckId::AttFormat => "scan the image again, and attest the report: bulla attest".to_owned(),
        CheckId::AttFiltered => {
            "scan without options that leave findings out, and say how: bulla attest --scan-args".to_owned()
        }
        CheckId::DbStale => {
            "scan with a new database, and say of when it is: bulla attest --db-metadata FILE".to_owned()
        }
        CheckId::VulnCritical
        | CheckId::VulnHigh
        | CheckId::VulnMedium
        | CheckId::VulnLow
        | CheckId::VulnTotal
        | CheckId::VulnScore
        | CheckId::OsEol => "update what is vulnerable, and build, scan and sign the image again".to_owned(),
        CheckId::SecretCount
        | CheckId::FactLabel
        | CheckId::FactUser
        | CheckId::FactSize
        | CheckId::FactLayers
        | CheckId::BaseNotAllowed => "build the image as the policy asks, and sign it again".to_owned(),
        CheckId::Internal => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_checks_have_their_exit_codes() {
        for check in CheckId::ALL {
            let name = check.as_str();
            let family = name.split('.').next().unwrap();
            let expected = match (family, name) {
                (_, "tag.mismatch" | "meta.rollback") => Exit::Tampered,
                ("att" | "db", _) => Exit::NoEvidence,
                ("vuln" | "secret" | "fact" | "base" | "os" | "registry" | "ref", _) => Exit::GateFailed,
                ("tag" | "sign", _) => Exit::NotSigned,
                ("revoked" | "quarantined", _) => Exit::Revoked,
                ("meta", _) => Exit::Expired,
                ("trust", _) => Exit::NoTrustData,
                ("policy", _) => Exit::Configuration,
                _ => Exit::Internal,
            };
            assert_eq!(exit_of(*check), expected, "{name}");
        }
    }
}
