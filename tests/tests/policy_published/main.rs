//! Policies that are published: who may, what consumers do with them, and what they refuse, with the
//! programs as they are shipped.

mod hostile;
mod peers;
mod publishing;
mod used;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::system_clock::SystemClock;
use bulla::adapter::tuf_http::TufHttp;
use bulla::flow::layout::Signers;
use bulla::flow::publish::{self, Edit, Edited, PublishError};
use bulla::flow::sign::{authority, next_version, repository_authority};
use bulla::flow::signing::KeyRing;
use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::TargetInfo;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_tests::cli::{Cli, Desk, Ran};
use bulla_tests::judged::Judged;
use bulla_tests::programs::expect;
use bytes::Bytes;
use serde_json::Value;

const ALICE: &str = "signing = { required = true, signers = ['alice'] }\n";
const BOB: &str = "signing = { required = true, signers = ['bob'] }\n";

/// An image that alice signed, and a repository for policies beside it.
pub(crate) struct Site {
    pub(crate) judged: Judged,
    /// The repository for policies.
    pub(crate) repo: String,
    /// The image.
    pub(crate) image: String,
}

impl Site {
    pub(crate) fn begin() -> Self {
        let judged = Judged::begin();
        let _ = judged.push("v1", "1000");
        judged.sign("v1", "alice");
        let repo = format!("{}/policy", judged.name.split('/').next().unwrap());
        expect(&judged.admin, 0, &["init", &repo]);
        let image = judged.image("v1");
        Self { judged, repo, image }
    }

    /// The text of a policy with that version.
    pub(crate) fn text(&self, version: u64, rules: &str) -> String {
        let text = std::fs::read_to_string(self.judged.policy(rules)).unwrap();
        text.replace("name = 'tested'\n", &format!("name = 'company'\nversion = {version}\n"))
    }

    /// The same as a file.
    pub(crate) fn file(&self, version: u64, rules: &str) -> String {
        let text = self.text(version, rules);
        self.judged.file(&format!("{}.toml", Sha256Digest::of(text.as_bytes())), &text)
    }

    /// Publishes a policy, which has to end with `code`.
    pub(crate) fn publish(&self, code: i32, file: &str, more: &[&str]) -> Ran {
        expect(&self.judged.admin, code, &[&["policy", "publish", &self.repo, file], more].concat())
    }

    /// Publishes a version with these rules.
    pub(crate) fn say(&self, version: u64, rules: &str) {
        self.publish(0, &self.file(version, rules), &[]);
    }

    /// Somebody who has pinned both repositories.
    pub(crate) fn consumer(&self) -> Cli {
        let user = self.judged.server.user();
        for name in [&self.repo, &self.judged.name] {
            let shown = expect(&self.judged.admin, 0, &["inspect", name]).json();
            let root = shown["root_sha256"].as_str().unwrap();
            expect(&user, 0, &["trust", "add", name, "--root-sha256", root]);
        }
        user
    }

    /// What `verify` says to somebody who judges by the published policy.
    pub(crate) fn verify(&self, user: &Cli, code: i32, more: &[&str]) -> Value {
        let asked = ["verify", &self.image, "--policy-from", &self.repo, "--output", "json"];
        expect(user, code, &[&asked[..], more].concat()).json()
    }

    /// Adds a role to the repository for policies, whose key the admin has.
    pub(crate) fn add_role(&self, name: &str, patterns: &[&str]) {
        if !self.judged.admin.home(&format!("keys/{name}.pub")).exists() {
            expect(&self.judged.admin, 0, &["key", "generate", name]);
        }
        let key = self.judged.admin.home(&format!("keys/{name}.pub"));
        let mut args = vec!["signer", "add", &self.repo, name, "--key", key.to_str().unwrap()];
        patterns.iter().for_each(|pattern| args.extend(["--tags", pattern]));
        expect(&self.judged.admin, 0, &args);
    }

    /// Signs the next document of a role as its keys allow, whatever `bulla` would think of it.
    pub(crate) fn rewrite(&self, role: &str, files: Vec<Bytes>, change: Change<'_>) {
        let repository: RepositoryName = self.repo.parse().unwrap();
        let role: RoleName = role.parse().unwrap();
        let plan = |state: &CurrentState, _: &KeyRing<'_>, now: UtcTime| {
            let (document, authority) = next(state, &role, now);
            let mut document = document;
            change(&mut document.targets);
            let edited = Edited { role: role.clone(), document, authority };
            Ok::<_, PublishError>(Edit { documents: vec![edited], files: files.clone(), ..Edit::default() })
        };
        let desk = self.desk();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(publish::publish(desk.ports(), &repository, false, plan)).unwrap();
    }

    /// Has a role list these bytes as a policy.
    pub(crate) fn list(&self, role: &str, name: &str, text: &str) {
        let bytes = Bytes::from(text.to_owned());
        let entry = entry(&bytes);
        self.rewrite(role, vec![bytes], &|targets| {
            targets.insert(format!("policy/{name}.toml"), entry.clone());
        });
    }

    fn desk(&self) -> Desk<'static> {
        let server = &self.judged.server;
        let ca = std::fs::read(&server.ca_cert).unwrap();
        let connection = Connection::new(server.url.parse().unwrap(), Some(&ca), None, Patience::default());
        let http = Box::new(TufHttp::new(connection.unwrap()));
        let home: PathBuf = self.judged.admin.home("");
        Desk::at(tempfile::tempdir().unwrap(), home, http, &SystemClock)
    }
}

/// What becomes of the entries of a document.
pub(crate) type Change<'a> = &'a dyn Fn(&mut BTreeMap<String, TargetInfo>);

pub(crate) fn entry(bytes: &Bytes) -> TargetInfo {
    let at = "2030-01-01T00:00:00Z".parse().unwrap();
    TargetInfo::signed(Sha256Digest::of(bytes), bytes.len() as u64, at)
}

fn next(
    state: &CurrentState,
    role: &RoleName,
    now: UtcTime,
) -> (bulla_keys_schema::metadata::Targets, bulla::flow::layout::Authority) {
    let expires = now.plus_seconds(1_000_000);
    let targets = state.targets().payload();
    let RoleName::Delegated(name) = role else {
        let edit = TargetsEdit::next(Dialect::Tuf1, targets, expires).unwrap();
        return (edit.finish(), repository_authority(state));
    };
    let signers = Signers::of(targets).unwrap();
    let authority = authority(&signers, targets.delegation(name).unwrap());
    let edit = match state.delegated().get(name) {
        Some(before) => TargetsEdit::next(Dialect::Tuf1, before.payload(), expires).unwrap(),
        None => {
            let version = next_version(state, role).unwrap();
            let edit = TargetsEdit::new(Dialect::Tuf1, role.clone(), version, expires);
            edit.for_repository(state.root().payload().repository.clone())
        }
    };
    (edit.finish(), authority)
}

/// The check that decided.
pub(crate) fn failed(verdict: &Value) -> &str {
    let checks = verdict["checks"].as_array().unwrap_or_else(|| panic!("no verdict: {verdict:#}"));
    checks.iter().find(|check| check["result"] == "fail").unwrap()["id"].as_str().unwrap()
}
