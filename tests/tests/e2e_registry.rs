//! The whole way, with the real programs: images that skopeo pushes to a real registry, signed and
//! verified by `bulla` against `bullad`. Every answer and every exit code that a user can meet here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, Ran};
use bulla_tests::peers::absent;
use bulla_tests::programs::{Bullad, DockerRegistry, expect, program};
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn an_image_is_signed_moved_signed_again_and_moved_back() {
    let Some(site) = Site::with_repository() else { return };
    let tag = site.image("1.0");
    let first = site.push("1.0", "first");
    assert_refused(&site.admin, 12, &["verify", &tag], &["is not signed", "bulla sign"]);

    // Without signers the repository key signs.
    expect(&site.admin, 0, &["sign", &tag]);
    assert_eq!(site.verified("1.0"), site.pinned(&first));
    site.add_signer("alice", &[]);
    assert_eq!(site.verified("1.0"), site.pinned(&first), "the signer took the tag over");

    let second = site.push("1.0", "second");
    let moved = [first.as_str(), second.as_str(), "hint: do not pull the tag"];
    assert_refused(&site.admin, 15, &["verify", &tag], &moved);
    let resolved = expect(&site.admin, 0, &["resolve", &tag]);
    assert_eq!(resolved.stdout.trim(), site.pinned(&first), "resolve asks no registry");
    expect(&site.admin, 0, &["verify", &format!("{tag}@{first}")]);

    expect(&site.admin, 0, &["sign", &tag, "--as", "alice"]);
    assert_eq!(site.verified("1.0"), site.pinned(&second));
    site.push("1.0", "first");
    let back = [first.as_str(), second.as_str()];
    assert_refused(&site.admin, 15, &["verify", &tag], &back);
}

#[test]
fn a_revoked_tag_is_refused_until_it_is_signed_again() {
    let Some(site) = Site::with_repository() else { return };
    site.add_signer("alice", &[]);
    let (tag, digest) = (site.image("1.0"), site.push("1.0", "an image"));
    expect(&site.admin, 0, &["sign", &tag, "--as", "alice"]);
    expect(&site.admin, 0, &["revoke", &tag, "--reason", "bad build", "--dry-run"]);
    assert_eq!(site.verified("1.0"), site.pinned(&digest), "a dry run changes nothing");

    expect(&site.admin, 0, &["revoke", &tag, "--reason", "bad build"]);
    assert_refused(&site.admin, 14, &["verify", &tag], &["was revoked", "bad build"]);
    assert_refused(&site.admin, 14, &["resolve", &tag], &["was revoked"]);
    let pinned = site.pinned(&digest);
    assert_refused(&site.admin, 14, &["verify", &pinned], &["was revoked"]);
    let shown = expect(&site.admin, 0, &["inspect", &tag, "--output", "json"]).json();
    assert_eq!(shown["tags"][0]["reason"], "bad build", "{shown}");

    expect(&site.admin, 0, &["sign", &tag, "--as", "alice"]);
    assert_eq!(site.verified("1.0"), site.pinned(&digest));
}

#[test]
fn an_index_is_signed_with_the_images_of_its_platforms() {
    let Some(site) = Site::with_repository() else { return };
    let (index, images) = site.push_index("2.0", &["amd64", "arm64"]);
    let tag = site.image("2.0");
    let signed = expect(&site.admin, 0, &["sign", &tag, "--platforms", "--output", "json"]);
    for (platform, digest) in &images {
        assert!(signed.stdout.contains(platform) && signed.stdout.contains(digest), "{}", signed.stdout);
    }
    assert_eq!(site.verified("2.0"), site.pinned(&index));

    site.push("3.0", "no index");
    let plain = expect(&site.admin, 0, &["sign", &site.image("3.0"), "--platforms", "--output", "json"]);
    assert!(!plain.stdout.contains("linux/"), "a plain image has no platforms to list: {}", plain.stdout);
}

#[test]
fn signers_sign_what_they_may_and_no_longer_once_removed() {
    let Some(site) = Site::with_repository() else { return };
    site.add_signer("alice", &["--tags", "1.*"]);
    site.add_signer("bob", &[]);
    site.push("1.0", "one");
    site.push("2.0", "two");
    let (one, two) = (site.image("1.0"), site.image("2.0"));
    expect(&site.admin, 0, &["sign", &one, "--as", "alice"]);
    assert_refused(&site.admin, 12, &["sign", &two, "--as", "alice"], &["2.0"]);
    assert_refused(&site.admin, 2, &["sign", &one], &["--as SIGNER"]);
    expect(&site.admin, 0, &["sign", &two, "--as", "bob"]);

    let listed = expect(&site.admin, 0, &["signer", "list", &site.repository]).stdout;
    assert!(listed.contains("alice") && listed.contains("bob") && listed.contains("1.*"), "{listed}");
    expect(&site.admin, 0, &["signer", "remove", &site.repository, "alice"]);
    let listed = expect(&site.admin, 0, &["signer", "list", &site.repository]).stdout;
    assert!(!listed.contains("alice"), "{listed}");
    assert_refused(&site.admin, 12, &["verify", &one], &["is not signed"]);
    expect(&site.admin, 0, &["verify", &two]);
}

#[test]
fn a_consumer_pins_before_anything_is_trusted() {
    let Some(site) = Site::with_repository() else { return };
    let (tag, digest) = (site.image("1.0"), site.push("1.0", "an image"));
    expect(&site.admin, 0, &["sign", &tag]);
    let key = site.admin.home("keys/root.pub");
    let fingerprint =
        expect(&site.admin, 0, &["key", "show", "root", "--output", "json"]).json()["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().unwrap();

    let consumer = site.server().user().without("BULLA_PASSPHRASE");
    assert_refused(&consumer, 10, &["verify", &tag], &["is not pinned", "bulla trust add"]);
    expect(&consumer, 0, &["trust", "add", &site.repository, "--root-key", fingerprint]);
    assert_eq!(expect(&consumer, 0, &["verify", &tag]).stdout.trim(), site.pinned(&digest));

    // A pin for a whole scope, by the file of the key; and a repository that nobody began.
    let other = site.server().user().without("BULLA_PASSPHRASE");
    let scope = format!("{}/**", site.registry.host);
    expect(&other, 0, &["trust", "add", &scope, "--root-key", key.to_str().unwrap()]);
    expect(&other, 0, &["verify", &tag]);
    let nobody = format!("{}/team/nobody:1.0", site.registry.host);
    assert_refused(&other, 10, &["verify", &nobody], &["bulla init"]);

    // Somebody else's root.
    let stranger = site.server().user();
    expect(&stranger, 0, &["trust", "add", &site.repository, "--root-sha256", &"0".repeat(64)]);
    assert_refused(&stranger, 15, &["verify", &tag], &["not the pinned one"]);
}

#[test]
fn without_the_server_what_is_cached_decides_until_it_expires() {
    let Some(mut site) = Site::with_repository() else { return };
    let (tag, digest) = (site.image("1.0"), site.push("1.0", "an image"));
    expect(&site.admin, 0, &["sign", &tag]);
    assert_eq!(site.verified("1.0"), site.pinned(&digest));
    let consumer = site.server().user();
    let key = site.admin.home("keys/root.pub");
    expect(&consumer, 0, &["trust", "add", &site.repository, "--root-key", key.to_str().unwrap()]);
    // A server that shows for ever what it showed today.
    let (code, stderr) = site.verify_in_two_days(&tag);
    assert!(code == Some(13) && stderr.contains("timestamp version 2 expired at"), "{code:?}: {stderr}");

    site.server = None;
    let cached = expect(&site.admin, 0, &["verify", &tag]);
    assert_eq!(cached.stdout.trim(), site.pinned(&digest));
    assert!(cached.stderr.contains("using metadata that is valid until"), "{}", cached.stderr);
    assert_refused(&site.admin, 31, &["sign", &tag], &["cannot reach the trust server"]);
    assert_refused(&consumer, 31, &["verify", &tag], &["cannot reach the trust server"]);
    let (code, stderr) = site.verify_in_two_days(&tag);
    assert!(code == Some(31) && stderr.contains("timestamp version 2 expired at"), "{code:?}: {stderr}");
}

#[test]
fn every_other_answer_has_its_exit_code_and_its_hint() {
    let Some(site) = Site::with_repository() else { return };
    let (tag, digest) = (site.image("1.0"), site.push("1.0", "an image"));
    assert_refused(&site.admin, 2, &["verify"], &["IMAGE"]);
    assert_refused(&site.admin, 2, &["revoke", &site.repository], &["REPOSITORY:TAG"]);
    assert_refused(&site.admin, 2, &["sign", &site.pinned(&digest)], &["has no tag", "hint: name a tag"]);
    assert_refused(&site.admin, 2, &["sign", &tag, "--as", "carol"], &["bulla signer add"]);

    let ghost = site.image("ghost");
    assert_refused(&site.admin, 11, &["sign", &ghost], &["hint: check the tag, or push it first"]);
    expect(&site.admin, 0, &["sign", &format!("{ghost}@{digest}"), "--size", "3"]);
    assert_refused(&site.admin, 11, &["verify", &ghost], &["hint: check the tag, or push it first"]);
    expect(&site.admin, 0, &["sign", &format!("{tag}@{digest}"), "--size", "3"]);
    assert_refused(&site.admin, 15, &["verify", &tag], &["bytes", "vouch for 3"]);

    // Nobody listens on port 1.
    let nowhere = "127.0.0.1:1/team/app";
    expect(&site.admin, 0, &["init", nowhere]);
    let image = format!("{nowhere}:1.0");
    assert_refused(&site.admin, 31, &["sign", &image], &["cannot reach"]);
    std::fs::write(site.admin.home("config.toml"), "sever = 'https://localhost'\n").unwrap();
    assert_refused(&site.admin, 3, &["verify", &tag], &["config.toml", "sever", "hint: correct or remove"]);
}

#[tokio::test]
async fn a_server_with_authentication_wants_a_token_for_the_very_repository() {
    let Some(mut site) = Site::start(Bullad::start_guarded) else { return };
    site.make_keys(&["root", "targets"]);
    assert_refused(&site.admin, 30, &["init", &site.repository], &["BULLA_TOKEN"]);
    let other = site.token("other", "127.0.0.1/another/**", "publish").await;
    site.admin = site.admin.with("BULLA_TOKEN", &other);
    assert_refused(&site.admin, 10, &["init", &site.repository], &["BULLA_TOKEN"]);
    let own = site.token("ci", &format!("{}/**", site.registry.host), "publish").await;
    site.admin = site.admin.with("BULLA_TOKEN", &own);
    expect(&site.admin, 0, &["init", &site.repository]);
    let digest = site.push("1.0", "an image");
    expect(&site.admin, 0, &["sign", &site.image("1.0")]);
    assert_eq!(site.verified("1.0"), site.pinned(&digest));

    let reader = site.token("reader", &format!("{}/**", site.registry.host), "read").await;
    site.admin = site.admin.with("BULLA_TOKEN", &reader);
    assert_eq!(site.verified("1.0"), site.pinned(&digest));
    assert_refused(&site.admin, 30, &["sign", &site.image("1.0")], &["right `publish`", "--can publish"]);
}

#[test]
fn the_example_of_an_embedded_verifier_says_what_to_pull_and_refuses_what_was_moved() {
    let Some(site) = Site::with_repository() else { return };
    let (tag, digest) = (site.image("1.0"), site.push("1.0", "an image"));
    expect(&site.admin, 0, &["sign", &tag]);
    let root = expect(&site.admin, 0, &["inspect", &site.repository, "--output", "json"]).json();
    let folder = site.folder.path().join("embedded");
    let verify = || {
        let output = Command::new(program("embed_verify"))
            .arg(&folder)
            .arg(&site.server().url)
            .arg(&site.server().ca_cert)
            .args([root["root_sha256"].as_str().unwrap(), &tag])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, stdout, stderr) = verify();
    assert_eq!((code, stdout), (Some(0), format!("pull {}\n", site.pinned(&digest))), "{stderr}");
    site.push("1.0", "another image");
    let (code, stdout, stderr) = verify();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("refused: ") && stderr.contains(&digest), "{stderr}");
}

/// A registry, a trust server, and an admin.
struct Site {
    registry: DockerRegistry,
    server: Option<Bullad>,
    admin: Cli,
    repository: String,
    folder: TempDir,
}

impl Site {
    fn start(server: impl FnOnce(&Path) -> Bullad) -> Option<Self> {
        for peer in ["skopeo", "faketime"] {
            if Command::new(peer).arg("--version").output().is_err() {
                absent(peer, "bash .ci/peers installs it");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let registry = DockerRegistry::start(folder.path())?;
        let server = server(folder.path());
        let repository = format!("{}/team/app", registry.host);
        Some(Self { admin: server.user(), server: Some(server), registry, repository, folder })
    }

    /// The same, with a repository that has no signers yet.
    fn with_repository() -> Option<Self> {
        let site = Self::start(Bullad::start)?;
        site.make_keys(&["root", "targets"]);
        expect(&site.admin, 0, &["init", &site.repository]);
        Some(site)
    }

    fn make_keys(&self, names: &[&str]) {
        for name in names {
            expect(&self.admin, 0, &["key", "generate", name]);
        }
    }

    fn add_signer(&self, name: &str, options: &[&str]) {
        self.make_keys(&[name]);
        let key = self.admin.home(&format!("keys/{name}.pub"));
        let arguments = ["signer", "add", &self.repository, name, "--key", key.to_str().unwrap()];
        expect(&self.admin, 0, &[&arguments, options].concat());
    }

    fn server(&self) -> &Bullad {
        self.server.as_ref().expect("the server was not stopped yet")
    }

    async fn token(&self, name: &str, scope: &str, can: &str) -> String {
        let output = Command::new(program("bullad"))
            .args(["token", "create", name, "--scope", scope, "--can", can, "--expires", "1h", "--data"])
            .arg(self.folder.path().join("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        self.wait_until_known(&token).await;
        token
    }

    /// A running server notices new tokens within a second: asks until it does.
    async fn wait_until_known(&self, token: &str) {
        let server = self.server();
        let authority = reqwest::Certificate::from_pem(&std::fs::read(&server.ca_cert).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
        let ask = || http.get(format!("{}/api/v1/repositories", server.url)).bearer_auth(token).send();
        let asked = Instant::now();
        while ask().await.unwrap().status() != 200 {
            assert!(asked.elapsed() < Duration::from_secs(10), "the server does not learn of a token");
        }
    }

    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }

    fn pinned(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository)
    }

    /// What `verify` prints.
    fn verified(&self, tag: &str) -> String {
        expect(&self.admin, 0, &["verify", &self.image(tag)]).stdout.trim().to_owned()
    }

    /// How `verify` ends, and what it says, if the admin's clock is two days ahead.
    fn verify_in_two_days(&self, image: &str) -> (Option<i32>, String) {
        let now = self.admin.command(&["verify", image]);
        let mut later = Command::new("faketime");
        later.arg("+2 days").arg(now.get_program()).args(now.get_args()).env_clear();
        later.envs(now.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = later.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Pushes an image that differs with its `content`; returns the digest of its manifest.
    fn push(&self, tag: &str, content: &str) -> String {
        let mut layout = Layout::new();
        let (digest, size) = layout.image(content, "amd64");
        self.copy(&layout, tag, json!({"mediaType": MANIFEST, "digest": digest, "size": size}));
        digest
    }

    /// Pushes an index with an image for each architecture; returns its digest and theirs.
    fn push_index(&self, tag: &str, architectures: &[&str]) -> (String, BTreeMap<String, String>) {
        let mut layout = Layout::new();
        let (mut images, mut listed) = (BTreeMap::new(), Vec::new());
        for architecture in architectures {
            let (digest, size) = layout.image("an image", architecture);
            let platform = json!({"os": "linux", "architecture": architecture});
            listed.push(json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}));
            images.insert(format!("linux/{architecture}"), digest);
        }
        let (digest, size) =
            layout.put(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}));
        self.copy(&layout, tag, json!({"mediaType": INDEX, "digest": digest, "size": size}));
        (digest, images)
    }

    fn copy(&self, layout: &Layout, tag: &str, image: Value) {
        let source = layout.finish(image);
        let output = Command::new("skopeo")
            .args([
                "copy",
                "--quiet",
                "--insecure-policy",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
            ])
            .args([source, format!("docker://{}", self.image(tag))])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An OCI image layout, made by hand.
struct Layout(TempDir);

impl Layout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self(folder)
    }

    /// One layer, a configuration and a manifest.
    fn image(&mut self, content: &str, architecture: &str) -> (String, usize) {
        let mut archive = vec![0; 1024];
        archive.extend(content.as_bytes());
        let (layer, layer_size) = self.put_bytes(&archive);
        let (config, config_size) = self.put(&json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        }));
        self.put(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size}],
        }))
    }

    fn put(&mut self, document: &Value) -> (String, usize) {
        self.put_bytes(&serde_json::to_vec(document).unwrap())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> (String, usize) {
        let digest = Sha256Digest::of(bytes);
        std::fs::write(self.0.path().join("blobs/sha256").join(digest.to_string()), bytes).unwrap();
        (digest.to_oci(), bytes.len())
    }

    /// Names the image; returns it as skopeo does.
    fn finish(&self, mut image: Value) -> String {
        image["annotations"] = json!({"org.opencontainers.image.ref.name": "it"});
        let index = json!({"schemaVersion": 2, "manifests": [image]});
        std::fs::write(self.0.path().join("index.json"), index.to_string()).unwrap();
        format!("oci:{}:it", self.0.path().display())
    }
}

/// `bulla` ends with `code`, answers nothing, and says every one of these words.
fn assert_refused(user: &Cli, code: i32, arguments: &[&str], words: &[&str]) {
    let Ran { stdout, stderr, .. } = expect(user, code, arguments);
    assert_eq!(stdout, "", "bulla {arguments:?}");
    for word in words {
        assert!(stderr.contains(word), "bulla {arguments:?} does not say {word:?}: {stderr}");
    }
}
