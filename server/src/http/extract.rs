//! URLs, split and decoded once.
//!
//! Repository names hold slashes, so URLs are split by hand, on the text as it came: an
//! encoded slash never separates anything. Each part is decoded once and then has to be a
//! valid name; `..` in any spelling is none.

use std::borrow::Cow;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::wire;
use http::Method;
use percent_encoding::percent_decode_str;

/// What a URL below `/tuf/` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A metadata document, the current one if there is no version.
    Metadata {
        /// Of which repository.
        repository: RepositoryName,
        /// Of which role.
        role: RoleName,
        /// Which version.
        version: Option<Version>,
    },
    /// A target: every way to read the URL, the longest repository first.
    Target(Vec<(RepositoryName, Sha256Digest)>),
}

/// What a URL below `/api/v1/repositories/` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Head,
    OnlineKeys,
    MakeOnlineKeys,
    RotateOnlineKeys,
    Publish,
    Remove,
}

/// What a URL below `/api/v1/repositories/{repository}/requests` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestAction {
    List,
    Open,
    Show(RequestId),
    Sign(RequestId),
    Cancel(RequestId),
}

/// Reads the path of a URL after `/tuf/`; `None` for what cannot exist.
pub(super) fn wanted(path: &str) -> Option<Wanted> {
    // A target may be called `metadata/x.json`, a repository may end with `/targets`. A last
    // part that starts with a digest tells: no version and no portable role looks like that.
    let targets = targets(path);
    if targets.is_empty() { metadata(path) } else { Some(Wanted::Target(targets)) }
}

fn metadata(path: &str) -> Option<Wanted> {
    let (folder, file) = path.rsplit_once('/')?;
    let repository = decode(folder.strip_suffix("/metadata")?)?.parse().ok()?;
    let (role, version) = wire::parse_document_file_name(&decode(file)?)?;
    // The timestamp has one name, whatever its version.
    let version = version.filter(|_| role != RoleName::Timestamp);
    Some(Wanted::Metadata { repository, role, version })
}

fn targets(path: &str) -> Vec<(RepositoryName, Sha256Digest)> {
    let Some(digest) = path.rsplit('/').next().and_then(hash_prefix) else { return Vec::new() };
    let mut found = Vec::new();
    for (at, _) in path.rmatch_indices("/targets/") {
        let repository = path.get(..at).and_then(decode).and_then(|name| name.parse().ok());
        found.extend(repository.map(|repository| (repository, digest)));
    }
    found
}

/// The digest in front of a target's name.
fn hash_prefix(file: &str) -> Option<Sha256Digest> {
    let file = decode(file)?;
    let (hash, name) = file.split_once('.')?;
    if name.is_empty() { None } else { hash.parse().ok() }
}

/// Reads method and path after `/api/v1/repositories/`: the known ending is split off from
/// the right, the rest is the name. A known ending with a wrong method is told apart.
pub(super) fn action(method: &Method, path: &str) -> Result<(RepositoryName, Action), NoAction> {
    let (name, action) = if method == Method::DELETE {
        (path, Action::Remove)
    } else if let Some(name) = path.strip_suffix("/head") {
        (name, Action::Head)
    } else if let Some(name) = path.strip_suffix("/online-keys/rotate") {
        (name, Action::RotateOnlineKeys)
    } else if let Some(name) = path.strip_suffix("/online-keys") {
        (name, if method == Method::POST { Action::MakeOnlineKeys } else { Action::OnlineKeys })
    } else if let Some(name) = path.strip_suffix("/publish") {
        (name, Action::Publish)
    } else {
        return Err(NoAction::NotFound);
    };
    let name = decode(name).and_then(|name| name.parse().ok()).ok_or(NoAction::NotFound)?;
    let fits = match action {
        Action::Head | Action::OnlineKeys => method == Method::GET || method == Method::HEAD,
        Action::MakeOnlineKeys | Action::RotateOnlineKeys | Action::Publish => method == Method::POST,
        Action::Remove => true,
    };
    if fits { Ok((name, action)) } else { Err(NoAction::OtherMethod) }
}

/// Reads method and path after `/api/v1/repositories/` if they are about signing requests;
/// `None` for all others.
pub(super) fn request_action(
    method: &Method,
    path: &str,
) -> Option<Result<(RepositoryName, RequestAction), NoAction>> {
    let (name, action) = match split_request(path)? {
        // A repository may end like this; only the removal of one ends with its name.
        (_, None, _) if method == Method::DELETE => return None,
        (name, None, _) if method == Method::POST => (name, RequestAction::Open),
        (name, None, _) => (name, RequestAction::List),
        (name, Some(id), true) => (name, RequestAction::Sign(id)),
        (name, Some(id), false) if method == Method::DELETE => (name, RequestAction::Cancel(id)),
        (name, Some(id), false) => (name, RequestAction::Show(id)),
    };
    let fits = match action {
        RequestAction::List | RequestAction::Show(_) => method == Method::GET || method == Method::HEAD,
        RequestAction::Open | RequestAction::Sign(_) => method == Method::POST,
        RequestAction::Cancel(_) => true,
    };
    let Some(name) = decode(name).and_then(|name| name.parse().ok()) else {
        return Some(Err(NoAction::NotFound));
    };
    Some(if fits { Ok((name, action)) } else { Err(NoAction::OtherMethod) })
}

/// Repository, id, and whether its signatures are meant.
fn split_request(path: &str) -> Option<(&str, Option<RequestId>, bool)> {
    if let Some(name) = path.strip_suffix("/requests") {
        return Some((name, None, false));
    }
    let (path, signatures) = match path.strip_suffix("/signatures") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let (name, id) = path.rsplit_once("/requests/")?;
    Some((name, Some(id.parse().ok()?), signatures))
}

/// Why a URL asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAction {
    NotFound,
    OtherMethod,
}

/// Decodes `%xx` once; `None` if the result is no text.
fn decode(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    percent_decode_str(part).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str) -> Option<(String, String, Option<u64>)> {
        match wanted(path)? {
            Wanted::Metadata { repository, role, version } => {
                Some((repository.to_string(), role.to_string(), version.map(Version::get)))
            }
            Wanted::Target(_) => None,
        }
    }

    #[test]
    fn metadata_is_split_at_the_last_metadata() {
        for (path, repository, role, version) in [
            ("a/metadata/timestamp.json", "a", "timestamp", None),
            ("a/metadata/7.timestamp.json", "a", "timestamp", None),
            ("localhost:5000/a/b/metadata/2.root.json", "localhost:5000/a/b", "root", Some(2)),
            ("localhost%3A5000%2Fa/metadata/root.json", "localhost:5000/a", "root", None),
            ("a/metadata/b/metadata/1.targets.json", "a/metadata/b", "targets", Some(1)),
            ("a/metadata/metadata/1.targets.json", "a/metadata", "targets", Some(1)),
            ("a/targets/b/metadata/1.x.json", "a/targets/b", "x", Some(1)),
            ("a/metadata/3.dir%2Fmetadata%2Fx.json", "a", "dir/metadata/x", Some(3)),
        ] {
            assert_eq!(document(path), Some((repository.into(), role.into(), version)), "{path}");
        }
    }

    #[test]
    fn what_cannot_exist_is_nothing() {
        for path in [
            "",
            "a",
            "metadata/timestamp.json",
            "/metadata/timestamp.json",
            "a/metadata/",
            "a/metadata/timestamp",
            "a/metadata/b/timestamp.json",
            "../metadata/timestamp.json",
            "a/../b/metadata/timestamp.json",
            "a/%2e%2e/b/metadata/timestamp.json",
            "a%2F%2E%2E%2Fb/metadata/timestamp.json",
            "a%252F/metadata/timestamp.json",
            "a%00/metadata/timestamp.json",
            "a/metadata/%ff.json",
            "a/metadata/0.root.json",
            "a/targets/x",
            "a/targets/1234.x",
        ] {
            assert_eq!(wanted(path), None, "{path}");
        }
    }

    #[test]
    fn targets_are_read_in_every_way_longest_repository_first() {
        let digest = Sha256Digest::of(b"x");
        let names = |path: String| match wanted(&path) {
            Some(Wanted::Target(list)) => {
                assert!(list.iter().all(|(_, found)| *found == digest));
                list.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
            }
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(names(format!("a/targets/{digest}.v1")), ["a"]);
        assert_eq!(names(format!("a/targets/b/targets/c/{digest}.v1")), ["a/targets/b", "a"]);
        assert_eq!(names(format!("a/targets/metadata/{digest}.v1.json")), ["a"]);
        assert_eq!(names(format!("a/targets/x/metadata/{digest}.v1")), ["a"]);
        assert_eq!(names(format!("a%2Ftargets%2Fb/targets/{digest}%2Ev1")), ["a/targets/b"]);
        for bad in
            [format!("a/targets/{digest}"), format!("a/targets/{digest}."), format!("/targets/{digest}.x")]
        {
            assert_eq!(wanted(&bad), None, "{bad}");
        }
    }

    #[test]
    fn requests_are_told_apart_from_repositories() {
        let text = "00112233445566778899aabbccddeeff";
        let id: RequestId = text.parse().unwrap();
        for (method, path, name, expected) in [
            (Method::GET, "a/requests", "a", RequestAction::List),
            (Method::HEAD, "r.io%2Fa/requests", "r.io/a", RequestAction::List),
            (Method::POST, "a/requests/requests", "a/requests", RequestAction::Open),
            (Method::GET, &format!("a/requests/{text}"), "a", RequestAction::Show(id)),
            (Method::DELETE, &format!("a/b/requests/{text}"), "a/b", RequestAction::Cancel(id)),
            (Method::POST, &format!("a/requests/{text}/signatures"), "a", RequestAction::Sign(id)),
            (
                Method::GET,
                &format!("a/requests/{text}/requests/{text}"),
                &format!("a/requests/{text}"),
                RequestAction::Show(id),
            ),
        ] {
            let found = request_action(&method, path);
            assert_eq!(found, Some(Ok((name.parse().unwrap(), expected))), "{method} {path}");
        }
        for (method, path) in [
            (Method::PUT, "a/requests".to_owned()),
            (Method::POST, format!("a/requests/{text}")),
            (Method::GET, format!("a/requests/{text}/signatures")),
            (Method::DELETE, format!("a/requests/{text}/signatures")),
        ] {
            assert_eq!(request_action(&method, &path), Some(Err(NoAction::OtherMethod)), "{method} {path}");
        }
        for path in ["/requests", "a/../requests", &format!("/requests/{text}"), "a//requests"] {
            assert_eq!(request_action(&Method::GET, path), Some(Err(NoAction::NotFound)), "{path}");
        }
        for (method, path) in [
            (Method::DELETE, "a/requests".to_owned()),
            (Method::GET, "requests".to_owned()),
            (Method::GET, "a/requests/head".to_owned()),
            (Method::GET, format!("a/requests/{}", text.to_uppercase())),
            (Method::DELETE, format!("a/requests/{text}0")),
            (Method::GET, format!("a/requests%2F{text}")),
        ] {
            assert_eq!(request_action(&method, &path), None, "{method} {path}");
        }
    }

    #[test]
    fn actions_are_split_from_the_right() {
        for (method, path, name, expected) in [
            (Method::GET, "a/head", "a", Action::Head),
            (Method::GET, "a/head/head", "a/head", Action::Head),
            (Method::HEAD, "r.io/a/online-keys", "r.io/a", Action::OnlineKeys),
            (Method::POST, "r.io/a/online-keys", "r.io/a", Action::MakeOnlineKeys),
            (Method::POST, "r.io/a/online-keys/rotate", "r.io/a", Action::RotateOnlineKeys),
            (Method::POST, "r.io%2Fa/publish", "r.io/a", Action::Publish),
            (Method::DELETE, "r.io/a/publish", "r.io/a/publish", Action::Remove),
        ] {
            assert_eq!(action(&method, path), Ok((name.parse().unwrap(), expected)), "{method} {path}");
        }
        assert_eq!(action(&Method::POST, "a/head"), Err(NoAction::OtherMethod));
        assert_eq!(action(&Method::GET, "a/publish"), Err(NoAction::OtherMethod));
        for path in ["a", "/head", "a/../b/head", "a%2f..%2fb/head", "head"] {
            assert_eq!(action(&Method::GET, path), Err(NoAction::NotFound), "{path}");
        }
    }
}
