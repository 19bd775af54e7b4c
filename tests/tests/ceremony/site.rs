//! Three people with a home each, of whom one has no network, and the server of the other two.

use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran};
use bulla_tests::peers::static_files::StaticFiles;
use bulla_tests::peers::{ForeignClient, Repository};
use bulla_tests::programs::{Bullad, expect, program};
use serde_json::Value;

/// The three, and a repository that does not exist yet.
pub struct Site {
    pub server: Bullad,
    pub alice: Cli,
    pub bob: Cli,
    /// Carol has no network: files come and go.
    pub carol: Cli,
    pub name: String,
    manifests: PathBuf,
    _registry: StaticFiles,
    folder: tempfile::TempDir,
}

impl Site {
    /// Everybody has a key; Alice also one for targets, and the public keys of the others.
    pub fn new(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let (alice, bob) = (server.user().leaving_registries_alone(), server.user());
        let carol = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_PASSPHRASE", PASSPHRASE);
        let manifests = folder.path().join("registry/v2/team/app/manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        let registry = StaticFiles::serve(&folder.path().join("registry"));
        let host = registry.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        for (who, key) in [(&alice, "alice"), (&alice, "targets"), (&bob, "bob"), (&carol, "carol")] {
            expect(who, 0, &[&["key", "generate", key], options].concat());
        }
        let name = format!("{host}/team/app");
        Self { server, alice, bob, carol, name, manifests, _registry: registry, folder }
    }

    /// The public key of somebody, as a file that was handed over.
    pub fn public(&self, who: &Cli, key: &str) -> String {
        let file = self.file(&format!("{key}.pub"));
        if !PathBuf::from(&file).exists() {
            std::fs::copy(who.home(&format!("keys/{key}.pub")), &file).unwrap();
        }
        file
    }

    /// A file on the stick that everybody shares.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Alice asks for a root that two of three sign.
    pub fn ask_for_first_root(&self) -> String {
        let (bob, carol) = (self.public(&self.bob, "bob"), self.public(&self.carol, "carol"));
        let keys = ["--root-key", "alice", "--root-key", &bob, "--root-key", &carol];
        let begin = [&["init", &self.name, "--root-threshold", "2"], &keys[..]].concat();
        let refused = expect(&self.alice, 12, &begin);
        assert!(refused.stderr.contains("--request"), "{refused:?}");
        let ask = ["--request", "--reason", "the first root", "--output", "json"];
        let asked = expect(&self.alice, 41, &[&begin[..], &ask].concat()).json();
        asked["request"].as_str().unwrap().to_owned()
    }

    /// The request goes to Carol and comes back signed; `code` is how it ends for her.
    pub fn carol_signs(&self, id: &str, code: i32) -> String {
        let (file, signed) = (self.file(&format!("{id}.request")), self.file(&format!("{id}.signed")));
        expect(&self.alice, 0, &["request", "export", &self.name, id, "--out", &file]);
        expect(&self.carol, code, &["request", "sign", "--file", &file, "--out", &signed, "--yes"]);
        signed
    }

    /// A repository with the first root of Alice, Bob and Carol, and a signer.
    pub fn begun(options: &[&str]) -> Self {
        let site = Self::new(options);
        let id = site.ask_for_first_root();
        let signed = site.carol_signs(&id, 0);
        expect(&site.alice, 0, &["request", "submit", &signed]);
        let keys = ["alice", "bob", "carol"].map(|key| site.file(&format!("{key}.pub")));
        std::fs::copy(site.alice.home("keys/alice.pub"), &keys[0]).unwrap();
        let pins = keys.iter().flat_map(|file| ["--root-key", file.as_str()]);
        let pin: Vec<&str> =
            ["trust", "add", site.name.as_str(), "--threshold", "2"].into_iter().chain(pins).collect();
        expect(&site.bob, 0, &pin);
        site
    }

    /// A request that Alice makes with `arguments`.
    pub fn ask(&self, arguments: &[&str], reason: &str) -> String {
        let ask = ["--request", "--reason", reason, "--output", "json"];
        let asked = expect(&self.alice, 41, &[arguments, &ask].concat()).json();
        asked["request"].as_str().unwrap().to_owned()
    }

    /// Alice asks to put a new key of Bob into the place of his old one.
    pub fn ask_to_replace_bob(&self) -> String {
        let known = expect(&self.bob, 0, &["key", "list", "--output", "json"]).json();
        let known = known["keys"].as_array().unwrap();
        let print = |name: &str| {
            let key = known.iter().find(|key| key["name"] == name);
            key.map(|key| key["fingerprint"].as_str().unwrap().to_owned())
        };
        let (old, new) = (print("bob").unwrap(), self.public(&self.bob, "bob-2"));
        self.ask(&["rotate", &self.name, "root", "--remove", &old, "--add", &new], "bob has a new laptop")
    }

    /// A request as somebody sees it, as JSON.
    pub fn shown(&self, who: &Cli, id: &str) -> Value {
        let ran = who.run(&["request", "show", &self.name, id, "--output", "json"]);
        assert!([0, 41].contains(&ran.code), "{ran:?}");
        ran.json()
    }

    /// Alice signs a tag with the key of targets.
    pub fn sign_tag(&self, tag: &str) {
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"annotations\":{{\"tag\":\"{tag}\"}}}}"
        );
        std::fs::write(self.manifests.join(tag), manifest).unwrap();
        expect(&self.alice, 0, &["sign", &format!("{}:{tag}", self.name)]);
    }

    /// The first root, as Alice keeps it.
    pub fn first_root(&self) -> Vec<u8> {
        let mut folders = vec![self.alice.home("cache")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.ends_with("1.root.json") {
                    return std::fs::read(path).unwrap();
                }
            }
        }
        panic!("no first root in {:?}", self.alice.home("cache"))
    }

    /// Every foreign client, with a memory of its own, beginning with the first root.
    pub fn follower(&self) -> Follower {
        let tuf = |folder: &str| format!("{}/tuf/{}/{folder}", self.server.url, self.name);
        let repository = Repository {
            metadata_url: tuf("metadata"),
            targets_url: tuf("targets"),
            root: self.first_root(),
            ca_cert: Some(self.server.ca_cert.clone()),
            now: None,
        };
        Follower { repository, state: tempfile::tempdir().unwrap() }
    }
}

/// Foreign clients with their memory.
pub struct Follower {
    repository: Repository,
    state: tempfile::TempDir,
}

impl Follower {
    /// Each finds `tag`, and what was pushed under it.
    pub async fn see(&self, site: &Site, tag: &str) {
        let pushed = std::fs::read(site.manifests.join(tag)).unwrap();
        for client in ForeignClient::present() {
            let memory = self.state.path().join(client.name());
            let seen = client.follow(&self.repository, &memory, Some(tag)).await;
            let seen = seen.unwrap_or_else(|refused| panic!("{} and {tag}: {refused:?}", client.name()));
            assert_eq!(seen.target.as_deref(), Some(pushed.as_slice()), "{} and {tag}", client.name());
        }
    }
}

/// The digest of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256Digest::of(bytes).to_string()
}

/// What a run said, wherever.
pub fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}
