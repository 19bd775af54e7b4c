//! Every role of a repository in spec mode gets other keys, by the real programs. Whoever knew the
//! repository before follows without a new pin: foreign clients, and our own with each kind of
//! pin. So does whoever comes later with the same pin.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bulla_tests::cli::Cli;
use bulla_tests::peers::static_files::StaticFiles;
use bulla_tests::peers::{ForeignClient, Repository};
use bulla_tests::programs::{Bullad, expect};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn clients_follow_the_rotation_of_every_role() {
    let site = Site::begin();
    let followers = [Follower::new(&site), Follower::new(&site)];
    let [knowing, _] = &followers;
    let ours = site.readers();
    site.sign("v0");
    knowing.see(&site, "v0").await;
    site.seen_by(&ours, "v0");
    let rounds: [&[&str]; 8] = [
        &["targets"],
        &["alice"],
        &["timestamp"],
        &["snapshot"],
        &["root"],
        &["timestamp"],
        &["snapshot", "timestamp"],
        &["root", "targets", "alice", "snapshot", "timestamp"],
    ];
    for (number, roles) in (1..).zip(rounds) {
        let before = site.inspect();
        let rotated = site.rotate(roles);
        assert_eq!(rotated["roles"].as_array().unwrap().len(), roles.len());
        let after = site.inspect();
        for role in roles {
            assert_ne!(keys_of(&before, role), keys_of(&after, role), "{role} has the same keys");
            assert_eq!(keys_of(&after, role).len(), 1, "{role}");
        }
        let unchanged = ["root", "targets", "snapshot", "timestamp", "alice"];
        for role in unchanged.iter().filter(|role| !roles.contains(role)) {
            assert_eq!(keys_of(&before, role), keys_of(&after, role), "{role} was not asked for");
        }
        // Whoever may sign a tag may list it; nobody else.
        let mut may_list = [keys_of(&after, "targets"), keys_of(&after, "alice")].concat();
        may_list.sort_unstable();
        assert_eq!(keys_of(&after, "releases"), may_list);
        site.seen_by(&ours, &format!("v{}", number - 1));
        site.sign(&format!("v{number}"));
        knowing.see(&site, &format!("v{number}")).await;
        knowing.see(&site, "v0").await;
        site.seen_by(&ours, &format!("v{number}"));
    }
    let [_, fresh] = &followers;
    fresh.see(&site, "v8").await;
    site.seen_by(&site.readers(), "v8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_nothing_and_a_role_keeps_keys_enough() {
    let site = Site::begin();
    let (name, admin) = (site.name.as_str(), &site.admin);
    let before = site.inspect();
    let keys = || {
        let files = std::fs::read_dir(admin.home("keys")).expect("a folder");
        files.map(|file| file.expect("an entry").file_name()).collect::<BTreeSet<_>>()
    };
    let keys_before = keys();
    let dry = expect(admin, 0, &["rotate", name, "root", "targets", "alice", "timestamp", "--dry-run"]);
    assert!(dry.stdout.contains("root: 1 of 1 keys") && !dry.stdout.contains('+'), "{dry:?}");
    assert_eq!((keys(), site.inspect()), (keys_before, before));

    let print = keys_of(&site.inspect(), "root").remove(0);
    for (arguments, said) in [
        (vec!["root", "--remove", "root"], "root would have 0 keys for a threshold of 1"),
        (vec!["root", "--remove", &print], "root would have 0 keys for a threshold of 1"),
        (vec!["targets", "--threshold", "2"], "targets would have 1 key for a threshold of 2"),
        (vec!["alice", "--threshold", "0"], "cannot have a threshold of 0"),
        (vec!["alice", "--add", "alice"], "lists key"),
        (vec!["alice", "--key", "alice"], "has these keys and this threshold already"),
        (vec!["alice", "--add", "targets", "--add", "targets"], "the same key is named twice"),
        (vec!["alice", "--remove", "targets"], "does not list key"),
        (vec!["alice", "--add", "nobody"], "no key named nobody"),
        (vec!["snapshot", "--add", "alice"], "made by the trust server"),
        (vec!["root", "targets", "--add", "alice"], "for one role at a time"),
        (vec!["root", "root"], "named twice"),
        (vec!["bob"], "no signer named bob"),
    ] {
        let refused = expect(admin, 2, &[&["rotate", name], arguments.as_slice()].concat());
        assert!(
            refused.stderr.contains(said) && refused.stderr.contains("hint: "),
            "{arguments:?}: {refused:?}"
        );
    }
    assert_eq!(site.inspect()["roles"][0]["version"], 1, "nothing was published");
}

/// Three keys of root in three homes would need signing requests; here they are in one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_join_and_leave_by_name_file_and_fingerprint() {
    let site = Site::begin();
    let (name, admin) = (site.name.as_str(), &site.admin);
    let follower = Follower::new(&site);
    site.sign("v0");
    follower.see(&site, "v0").await;
    for key in ["second", "third"] {
        expect(admin, 0, &["key", "generate", key]);
    }
    let third = admin.home("keys/third.pub");
    let add = ["--add", "second", "--add", third.to_str().unwrap(), "--threshold", "2"];
    expect(admin, 0, &[&["rotate", name, "root"], &add[..]].concat());
    let inspected = site.inspect();
    assert_eq!((keys_of(&inspected, "root").len(), threshold_of(&inspected, "root")), (3, 2));
    follower.see(&site, "v0").await;

    // The first key is lost: the other two do without it.
    let lost = keys_of(&site.status(0), "root");
    expect(admin, 0, &["key", "remove", "root"]);
    let print = site.status(0)["roles"][0]["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"].is_null())
        .map(|key| key["fingerprint"].as_str().unwrap().to_owned())
        .unwrap();
    assert!(lost.contains(&print));
    expect(admin, 0, &["rotate", name, "root", "--remove", &print]);
    follower.see(&site, "v0").await;

    // With one of two keys nobody gets past the threshold, and is told whose signature is missing.
    expect(admin, 0, &["key", "remove", "third"]);
    let refused = expect(admin, 12, &["rotate", name, "root", "--threshold", "1"]);
    assert!(refused.stderr.contains("root needs 2 of its keys, 1 is here"), "{refused:?}");

    // The key of targets is lost: root decides over it... which needs both keys here.
    let refused = expect(admin, 12, &["rotate", name, "targets"]);
    assert!(refused.stderr.contains("root needs 2 of its keys"), "{refused:?}");

    expect(admin, 0, &["key", "generate", "more"]);
    let more = admin.home("keys/more.pub");
    expect(admin, 0, &["rotate", name, "alice", "--key", more.to_str().unwrap()]);
    site.sign("v1");
    follower.see(&site, "v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_targets_key_is_replaced_by_root() {
    let site = Site::begin();
    let follower = Follower::new(&site);
    site.sign("v0");
    follower.see(&site, "v0").await;
    expect(&site.admin, 0, &["key", "remove", "targets"]);
    let rotated = site.rotate(&["targets"]);
    assert_eq!(rotated["keys_made"], serde_json::json!(["targets-2"]));
    assert_eq!(rotated["keys_left"], serde_json::json!([]));
    site.sign("v1");
    follower.see(&site, "v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_ends_and_renew_signs_it_anew() {
    let site = Site::begin();
    let (name, admin) = (site.name.as_str(), &site.admin);
    let follower = Follower::new(&site);
    site.sign("v0");
    follower.see(&site, "v0").await;
    let fine = site.status(0);
    let lives: Vec<_> = fine["roles"].as_array().unwrap().iter().map(|role| role["life"].clone()).collect();
    assert!(lives.len() == 6 && lives.iter().all(|life| life == "fine"), "{fine:#}");
    let soon = expect(admin, 13, &["status", name, "--warn", "100d"]);
    assert!(
        soon.stdout.contains("ending") && soon.stderr.contains("its keys are here: bulla renew"),
        "{soon:?}"
    );

    let dry = expect(admin, 0, &["renew", name, "--within", "100d", "--dry-run"]);
    assert!(dry.stdout.contains("targets") && !dry.stdout.contains("root"), "{dry:?}");
    assert_eq!(expect(admin, 0, &["renew", name]).stdout, "nothing renewed\n");
    expect(admin, 0, &["renew", name, "--within", "100d"]);
    expect(admin, 0, &["renew", name, "root"]);
    follower.see(&site, "v0").await;
    let inspected = site.inspect();
    for (role, version) in [("root", 2), ("targets", 3), ("alice", 3), ("releases", 3)] {
        assert_eq!(of_role(&inspected, role)["version"], version, "{role}: {inspected:#}");
    }

    expect(admin, 0, &["key", "remove", "alice"]);
    let left = expect(admin, 13, &["renew", name, "--within", "100d"]);
    assert!(
        left.stderr.contains("alice expires at") && left.stderr.contains("where these keys are"),
        "{left:?}"
    );
    let urgent = expect(admin, 13, &["status", name, "--warn", "100d"]);
    assert!(urgent.stderr.contains("alice expires soon: 0 of 1 keys are here"), "{urgent:?}");
    expect(admin, 2, &["renew", name, "timestamp"]);
    expect(admin, 2, &["renew", name, "nobody"]);
}

/// A server, an admin who holds all keys, and a registry.
struct Site {
    server: Bullad,
    admin: Cli,
    name: String,
    manifests: PathBuf,
    first_root: Vec<u8>,
    _registry: StaticFiles,
    _folder: tempfile::TempDir,
}

impl Site {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user().leaving_registries_alone();
        let manifests = folder.path().join("registry/v2/team/app/manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        let registry = StaticFiles::serve(&folder.path().join("registry"));
        let host = registry.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let name = format!("{host}/team/app");
        for key in ["root", "targets", "alice"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        expect(&admin, 0, &["init", &name]);
        let alice = admin.home("keys/alice.pub");
        expect(&admin, 0, &["signer", "add", &name, "alice", "--key", alice.to_str().unwrap()]);
        let cached = admin.home("cache");
        let first_root = find(&cached, "1.root.json").expect("the first root is kept");
        let first_root = std::fs::read(first_root).unwrap();
        Self { server, admin, name, manifests, first_root, _registry: registry, _folder: folder }
    }

    fn sign(&self, tag: &str) {
        std::fs::write(self.manifests.join(tag), manifest(tag)).unwrap();
        expect(&self.admin, 0, &["sign", &format!("{}:{tag}", self.name), "--as", "alice"]);
    }

    fn rotate(&self, roles: &[&str]) -> Value {
        let rotate = [&["rotate", &self.name], roles, &["--output", "json"]].concat();
        expect(&self.admin, 0, &rotate).json()
    }

    fn inspect(&self) -> Value {
        expect(&self.admin, 0, &["inspect", &self.name]).json()
    }

    fn status(&self, code: i32) -> Value {
        expect(&self.admin, code, &["status", &self.name, "--output", "json"]).json()
    }

    /// Users of `bulla` who pin the first root: one by its digest, one by its key.
    fn readers(&self) -> [Cli; 2] {
        let digest = bulla_keys_schema::digest::Sha256Digest::of(&self.first_root).to_string();
        let readers = [self.server.user(), self.server.user()];
        let key = self.admin.folder.path().join("first-root.pub");
        if !key.exists() {
            std::fs::copy(self.admin.home("keys/root.pub"), &key).unwrap();
        }
        let [by_digest, by_key] = &readers;
        expect(by_digest, 0, &["trust", "add", &self.name, "--root-sha256", &digest]);
        expect(by_key, 0, &["trust", "add", &self.name, "--root-key", key.to_str().unwrap()]);
        readers
    }

    fn seen_by(&self, readers: &[Cli], tag: &str) {
        for reader in readers {
            expect(reader, 0, &["resolve", &format!("{}:{tag}", self.name)]);
        }
    }
}

/// Every foreign client there is, each with its memory.
struct Follower {
    repository: Repository,
    state: tempfile::TempDir,
}

impl Follower {
    fn new(site: &Site) -> Self {
        let tuf = |folder: &str| format!("{}/tuf/{}/{folder}", site.server.url, site.name);
        let repository = Repository {
            metadata_url: tuf("metadata"),
            targets_url: tuf("targets"),
            root: site.first_root.clone(),
            ca_cert: Some(site.server.ca_cert.clone()),
            now: None,
        };
        Self { repository, state: tempfile::tempdir().unwrap() }
    }

    async fn see(&self, site: &Site, tag: &str) {
        let pushed = std::fs::read(site.manifests.join(tag)).unwrap();
        for client in ForeignClient::present() {
            let memory = self.state.path().join(client.name());
            let seen = client.follow(&self.repository, &memory, Some(tag)).await;
            let seen = seen.unwrap_or_else(|refused| panic!("{} and {tag}: {refused:?}", client.name()));
            assert_eq!(seen.target.as_deref(), Some(pushed.as_slice()), "{} and {tag}", client.name());
        }
    }
}

fn of_role<'a>(inspected: &'a Value, role: &str) -> &'a Value {
    inspected["roles"].as_array().unwrap().iter().find(|found| found["role"] == role).unwrap()
}

/// Fingerprints, sorted.
fn keys_of(inspected: &Value, role: &str) -> Vec<String> {
    let keys = of_role(inspected, role)["keys"].as_array().unwrap().iter();
    let mut keys: Vec<String> =
        keys.map(|key| key.as_str().or_else(|| key["fingerprint"].as_str()).unwrap().to_owned()).collect();
    keys.sort_unstable();
    keys
}

fn threshold_of(inspected: &Value, role: &str) -> u64 {
    of_role(inspected, role)["threshold"].as_u64().unwrap()
}

fn find(folder: &std::path::Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.ends_with(name).then_some(path),
    })
}

/// An image without layers, another one for each tag.
fn manifest(tag: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[],"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}"#
    )
}
