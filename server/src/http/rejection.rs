//! Names of the rules that an upload can break, stable for clients.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::Rejection;
use bulla_keys_schema::wire;

use crate::publish::PublishFailure;

/// The rule that an upload broke; `None` if it was the server that failed.
pub(super) fn describe(failure: &PublishFailure) -> Option<wire::Rejection> {
    Some(match failure {
        PublishFailure::Rejected(rejection) => of_rule(rejection),
        PublishFailure::Twice { role } => rule("twice", Some(role)),
        PublishFailure::OtherMode { .. } => rule("other-mode", None),
        PublishFailure::Contradiction { .. } => rule("immutable", None),
        PublishFailure::NoOnlineKeys => rule("online-keys", None),
        PublishFailure::TooLarge { .. } | PublishFailure::TooManyRoles { .. } => rule("too-large", None),
        PublishFailure::Misnamed { role, named, found } => wire::Rejection {
            uploaded_version: Some(found.get()),
            current_version: Some(named.get()),
            ..rule("file-name", Some(role))
        },
        _ => return None,
    })
}

/// What to do about it.
pub(super) fn hint(failure: &PublishFailure) -> Option<&'static str> {
    match failure {
        PublishFailure::NoOnlineKeys | PublishFailure::Rejected(Rejection::OnlineKeys { .. }) => {
            Some("root must list the keys of POST /api/v1/repositories/{repository}/online-keys")
        }
        PublishFailure::Rejected(Rejection::Version { .. }) => Some("read the current state and build on it"),
        PublishFailure::Rejected(Rejection::Unvouched { .. }) => {
            Some("upload the signer's document together with releases")
        }
        PublishFailure::Rejected(Rejection::DeniedDigest { .. }) => {
            Some("take it off the list; only the keys of revocations undo the denial")
        }
        PublishFailure::Rejected(Rejection::DenialDropped { .. }) => {
            Some("have the keys of revocations sign a list without it first: bulla revoke --undo")
        }
        PublishFailure::Rejected(Rejection::Ended { .. }) => {
            Some("sign with the keys of another signer; the admin can let this one sign on")
        }
        PublishFailure::OtherMode { found: Dialect::Notary1, .. } => {
            Some("publish with `docker trust` or `notary`, or pin the repository with --mode legacy")
        }
        PublishFailure::OtherMode { found: Dialect::Tuf1, .. } => {
            Some("sign with `bulla sign`, `docker trust` and `notary` cannot read this repository")
        }
        _ => None,
    }
}

/// The role that the refusal is about.
pub(super) fn role(failure: &PublishFailure) -> Option<&RoleName> {
    match failure {
        PublishFailure::Rejected(rejection) => role_of_rule(rejection),
        PublishFailure::Twice { role } | PublishFailure::Misnamed { role, .. } => Some(role),
        _ => None,
    }
}

/// The role that broke the rule.
pub(super) const fn role_of_rule(rejection: &Rejection) -> Option<&RoleName> {
    match rejection {
        Rejection::DeniedDigest { role, .. }
        | Rejection::DuplicateKey { role, .. }
        | Rejection::Ended { role, .. }
        | Rejection::Expired { role, .. }
        | Rejection::Missing { role }
        | Rejection::NotDelegated { role }
        | Rejection::OnlineKeys { role }
        | Rejection::OnlineRole { role }
        | Rejection::OnlineKeyOffline { role, .. }
        | Rejection::Outlives { role, .. }
        | Rejection::Profile { role, .. }
        | Rejection::RevokedTarget { role, .. }
        | Rejection::SplitTarget { role, .. }
        | Rejection::TooLarge { role, .. }
        | Rejection::Verify { role, .. }
        | Rejection::Version { role, .. } => Some(role),
        Rejection::Snapshot { .. } => Some(&RoleName::Snapshot),
        Rejection::DenialDropped { .. }
        | Rejection::Empty
        | Rejection::UnlistedFile { .. }
        | Rejection::Unvouched { .. } => None,
    }
}

fn of_rule(rejection: &Rejection) -> wire::Rejection {
    match rejection {
        Rejection::DeniedDigest { role, .. } => rule("denied-digest", Some(role)),
        Rejection::DenialDropped { .. } => rule("denial-dropped", None),
        Rejection::DuplicateKey { role, .. } => rule("duplicate-key", Some(role)),
        Rejection::Empty => rule("empty", None),
        Rejection::Ended { role, .. } => rule("ended", Some(role)),
        Rejection::Expired { role, .. } => rule("expired", Some(role)),
        Rejection::Missing { role } => rule("missing", Some(role)),
        Rejection::NotDelegated { role } => rule("not-delegated", Some(role)),
        Rejection::OnlineKeys { role } => rule("online-keys", Some(role)),
        Rejection::OnlineKeyOffline { role, .. } => rule("online-key-offline", Some(role)),
        Rejection::OnlineRole { role } => rule("online-role", Some(role)),
        Rejection::Outlives { role, .. } => rule("outlives", Some(role)),
        Rejection::Profile { role, .. } => rule("profile", Some(role)),
        Rejection::RevokedTarget { role, .. } => rule("revoked-target", Some(role)),
        Rejection::Snapshot { role, .. } => rule("snapshot", Some(role)),
        Rejection::SplitTarget { role, .. } => rule("split-target", Some(role)),
        Rejection::TooLarge { role, .. } => rule("too-large", Some(role)),
        Rejection::UnlistedFile { .. } => rule("unlisted-file", None),
        Rejection::Unvouched { .. } => rule("unvouched", None),
        Rejection::Verify { role, .. } => rule("signature", Some(role)),
        Rejection::Version { role, wanted, found } => wire::Rejection {
            uploaded_version: Some(found.get()),
            current_version: wanted.map(|wanted| Version::get(wanted) - 1),
            ..rule("version", Some(role))
        },
    }
}

/// The rule of this name, broken by `role`.
pub(super) fn rule(rule: &str, role: Option<&RoleName>) -> wire::Rejection {
    wire::Rejection {
        rule: rule.to_owned(),
        role: role.map(ToString::to_string),
        uploaded_version: None,
        current_version: None,
    }
}
