//! URLs, file names and answers as Notary v1 has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::dialect::notary1;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use http::Method;
use percent_encoding::percent_decode_str;

use crate::vault::OnlineRole;

/// Between the name of a repository and what is wanted of it. No repository name can hold
/// this: parts of names start with a letter or a digit.
const TRUST: &str = "/_trust/";
/// The feed of changes of all repositories.
const ALL_CHANGES: &str = "_trust/changefeed";
/// Lengths of SHA-256, SHA-384 and SHA-512 in hex: the digests that stand in file names.
const DIGEST_LENGTHS: [usize; 3] = [64, 96, 128];

/// What a request below `/v2/` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// `GET /v2/`: whether this is a trust server, and how to log in.
    Ping,
    /// A metadata document.
    Document {
        /// Of which repository.
        repository: RepositoryName,
        /// Of which role.
        role: RoleName,
        /// Which one.
        which: Which,
    },
    /// To publish.
    Publish(RepositoryName),
    /// To remove a repository.
    Remove(RepositoryName),
    /// The key with which the server signs a role, or is going to.
    Key {
        /// Of which repository.
        repository: RepositoryName,
        /// Of which role.
        role: OnlineRole,
        /// Whether the one that no root lists yet is wanted.
        pending: bool,
    },
    /// The feed of changes, of one repository or of all.
    Changes(Option<RepositoryName>),
    /// To publish to what can be no repository.
    InvalidName(String),
    /// Nothing that Notary knows.
    Nothing,
    /// A method that Notary never uses.
    OtherMethod,
}

/// Which document of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The current one.
    Current,
    /// The one with this version.
    Version(Version),
    /// The one with this digest.
    Digest(Sha256Digest),
}

/// Reads method and path after `/v2/`.
pub(super) fn read(method: &Method, path: &str) -> Asked {
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE) {
        return Asked::OtherMethod;
    }
    // Decoded before it is split, as Notary does: an encoded slash is a slash. Names of
    // repositories and roles are checked afterwards, so that this opens no way out.
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return Asked::Nothing };
    let reads = method == Method::GET || method == Method::HEAD;
    match path.split_once(TRUST) {
        None if path.is_empty() && reads => Asked::Ping,
        None if path == ALL_CHANGES && reads => Asked::Changes(None),
        None => Asked::Nothing,
        Some((name, wanted)) => match name.parse() {
            Ok(repository) => of_repository(method, repository, wanted),
            Err(_) if method == Method::POST && wanted == "tuf/" => Asked::InvalidName(name.to_owned()),
            Err(_) => Asked::Nothing,
        },
    }
}

/// The role that the file name of an upload names; the raw name if there is no such role.
pub(super) fn uploaded_role(file_name: &str) -> Result<RoleName, &str> {
    let name = file_name.strip_suffix(".json").unwrap_or(file_name);
    notary1::role_from_wire(name).ok_or(name)
}

/// A public key of the server, in the order in which Notary writes it. `None` for kinds that
/// the server does not make.
pub(super) fn key(key: &PublicKey) -> Option<String> {
    let public = STANDARD.encode(key.ed25519_bytes()?);
    Some(format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}","private":null}}}}"#))
}

fn of_repository(method: &Method, repository: RepositoryName, wanted: &str) -> Asked {
    let reads = method == Method::GET || method == Method::HEAD;
    if wanted == "changefeed" && reads {
        return Asked::Changes(Some(repository));
    }
    match wanted.strip_prefix("tuf/") {
        Some("") if method == Method::POST => Asked::Publish(repository),
        Some("") if method == Method::DELETE => Asked::Remove(repository),
        Some("snapshot.key") => of_key(method, repository, OnlineRole::Snapshot),
        Some("timestamp.key") => of_key(method, repository, OnlineRole::Timestamp),
        Some(file) if reads => match document(file) {
            Some((role, which)) => Asked::Document { repository, role, which },
            None => Asked::Nothing,
        },
        _ => Asked::Nothing,
    }
}

fn of_key(method: &Method, repository: RepositoryName, role: OnlineRole) -> Asked {
    match *method {
        Method::GET => Asked::Key { repository, role, pending: false },
        Method::POST => Asked::Key { repository, role, pending: true },
        _ => Asked::Nothing,
    }
}

/// `{role}.json`, `{role}.{digest}.json` or `{version}.{role}.json`. Roles hold no dots.
fn document(file: &str) -> Option<(RoleName, Which)> {
    let name = file.strip_suffix(".json")?;
    let (role, which) = match name.split_once('.') {
        None => (name, Which::Current),
        // Digits only: Rust reads a number from more than that.
        Some((version, role)) if version.bytes().all(|b| b.is_ascii_digit()) => {
            (role, Which::Version(Version::new(version.parse().ok()?)?))
        }
        Some((role, digest)) if DIGEST_LENGTHS.contains(&digest.len()) => {
            (role, Which::Digest(digest.parse().ok()?))
        }
        Some(_) => return None,
    };
    Some((notary1::role_from_wire(role)?, which))
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::json::Json;
    use bulla_keys_schema::key::{KeyAlgorithm, SecretKey};

    use super::*;

    fn get(path: &str) -> Option<(String, String, Which)> {
        match read(&Method::GET, path) {
            Asked::Document { repository, role, which } => {
                Some((repository.to_string(), notary1::role_to_wire(&role), which))
            }
            Asked::Nothing => None,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn documents_are_named_in_three_ways() {
        let digest = Sha256Digest::of(b"x");
        let two = Which::Version(Version::new(2).unwrap());
        // As long as a digest.
        let long = &*format!("targets/{}", "a".repeat(56));
        for (path, repository, role, which) in [
            ("a/_trust/tuf/root.json".to_owned(), "a", "root", Which::Current),
            (
                "localhost:5000/a/b/_trust/tuf/timestamp.json".to_owned(),
                "localhost:5000/a/b",
                "timestamp",
                Which::Current,
            ),
            ("a%2Fb/_trust/tuf/targets.json".to_owned(), "a/b", "targets", Which::Current),
            (
                "a%2Fb%2F_trust%2Ftuf%2Ftargets%2Falice.json".to_owned(),
                "a/b",
                "targets/alice",
                Which::Current,
            ),
            ("a/_trust/tuf/targets/releases.json".to_owned(), "a", "targets/releases", Which::Current),
            (
                "a/_trust/tuf/targets/_trust/tuf/x.json".to_owned(),
                "a",
                "targets/_trust/tuf/x",
                Which::Current,
            ),
            ("a/_trust/tuf/2.root.json".to_owned(), "a", "root", two),
            ("a/_trust/tuf/02.targets/a/b.json".to_owned(), "a", "targets/a/b", two),
            (format!("a/_trust/tuf/2.{long}.json"), "a", long, two),
            (format!("a/_trust/tuf/snapshot.{digest}.json"), "a", "snapshot", Which::Digest(digest)),
            (format!("a/_trust/tuf/targets/a.{digest}.json"), "a", "targets/a", Which::Digest(digest)),
        ] {
            assert_eq!(get(&path), Some((repository.into(), role.into(), which)), "{path}");
        }
    }

    #[test]
    fn what_cannot_exist_is_nothing() {
        let digest = Sha256Digest::of(b"x").to_string();
        for path in [
            "x",
            "a/_trust/tuf/root",
            "a/_trust/tuf/root.txt",
            "a/_trust/tuf/.json",
            "a/_trust/tuf/other.json",
            "a/_trust/tuf/Root.json",
            "a/_trust/tuf/targets/.json",
            "a/_trust/tuf/targets/../root.json",
            "a/_trust/tuf/targets/%2e%2e/root.json",
            "a/_trust/tuf/0.root.json",
            "a/_trust/tuf/+1.root.json",
            "a/_trust/tuf/99999999999999999999999.root.json",
            "a/_trust/tuf/1.2.root.json",
            "a/_trust/other",
            "a/_trust/tuf",
            "a/_trust/tuf/",
            "a/_trust/tuf/targets.key",
            "a/_trust/tuf/root.key",
            "_trust/tuf/root.json",
            "/_trust/tuf/root.json",
            "../_trust/tuf/root.json",
            "a/../b/_trust/tuf/root.json",
            "a/%2e%2e/b/_trust/tuf/root.json",
            "a%252Fb/_trust/tuf/root.json",
            "a%00/_trust/tuf/root.json",
            "%ff/_trust/tuf/root.json",
            "a/B/_trust/tuf/root.json",
            &format!("a/_trust/tuf/root.{}.json", digest.to_uppercase()),
            &format!("a/_trust/tuf/root.{}.json", &digest[1..]),
            &format!("a/_trust/tuf/root.{digest}{digest}.json"),
            &format!("a/_trust/tuf/1.root.{digest}.json"),
        ] {
            assert_eq!(read(&Method::GET, path), Asked::Nothing, "{path}");
        }
    }

    #[test]
    fn everything_else_is_told_apart_by_method_and_path() {
        let name = || "r.io/a".parse::<RepositoryName>().unwrap();
        let key = |role, pending| Asked::Key { repository: name(), role, pending };
        for (method, path, asked) in [
            (Method::GET, "", Asked::Ping),
            (Method::HEAD, "", Asked::Ping),
            (Method::POST, "", Asked::Nothing),
            (Method::GET, "_trust/changefeed", Asked::Changes(None)),
            (Method::GET, "r.io/a/_trust/changefeed", Asked::Changes(Some(name()))),
            (Method::POST, "r.io/a/_trust/changefeed", Asked::Nothing),
            (Method::POST, "r.io/a/_trust/tuf/", Asked::Publish(name())),
            (Method::POST, "r.io/a/_trust/tuf/root.json", Asked::Nothing),
            (Method::DELETE, "r.io/a/_trust/tuf/", Asked::Remove(name())),
            (Method::DELETE, "r.io/a/_trust/tuf/root.json", Asked::Nothing),
            (Method::PUT, "r.io/a/_trust/tuf/", Asked::Nothing),
            (Method::GET, "r.io/a/_trust/tuf/snapshot.key", key(OnlineRole::Snapshot, false)),
            (Method::POST, "r.io/a/_trust/tuf/timestamp.key", key(OnlineRole::Timestamp, true)),
            (Method::POST, "r.io/A/_trust/tuf/", Asked::InvalidName("r.io/A".to_owned())),
            (Method::POST, "a b/_trust/tuf/", Asked::InvalidName("a b".to_owned())),
            (Method::DELETE, "a b/_trust/tuf/", Asked::Nothing),
            (Method::PATCH, "r.io/a/_trust/tuf/", Asked::OtherMethod),
            (Method::OPTIONS, "", Asked::OtherMethod),
        ] {
            assert_eq!(read(&method, path), asked, "{method} {path}");
        }
    }

    #[test]
    fn keys_are_written_as_their_ids_are_computed() {
        let secret = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[1; 32].into()).unwrap();
        let written = key(secret.public_key()).unwrap();
        assert_eq!(written.len(), 103);
        assert_eq!(Json::parse(written.as_bytes()).unwrap(), notary1::key_object(secret.public_key()));
    }

    #[test]
    fn uploads_are_named_with_or_without_ending() {
        for (name, role) in [
            ("root", "root"),
            ("root.json", "root"),
            ("targets/releases", "targets/releases"),
            ("targets/a/b.json", "targets/a/b"),
        ] {
            assert_eq!(uploaded_role(name).map(|role| notary1::role_to_wire(&role)), Ok(role.into()));
        }
        for (name, told) in [
            ("releases", "releases"),
            ("targets/A", "targets/A"),
            ("targets/a.b.json", "targets/a.b"),
            ("../root", "../root"),
            ("targets/", "targets/"),
        ] {
            assert_eq!(uploaded_role(name), Err(told), "{name}");
        }
    }
}
