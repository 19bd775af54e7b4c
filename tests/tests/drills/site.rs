//! Where a drill takes place: a terminal for each person, a registry with images, a folder that
//! everybody reaches, and clients that follow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::MetaInfo;
use bulla_keys_schema::time::UtcTime;
use bulla_tests::cli::PASSPHRASE;
use bulla_tests::notary::Notary;
use bulla_tests::peers::{ForeignClient, Repository, debian};
use bulla_tests::programs::{Bullad, program};
use bulla_tests::simulator::{Loopback, Registry};
use bytes::Bytes;
use reqwest::{Certificate, Client};
use tempfile::TempDir;

use crate::drill::{Block, Drill, Mode};

/// Tags under which the registry has images, each another one.
const TAGS: [&str; 6] = ["1.0", "1.1", "1.2", "6.6", "6.7", "2.0"];

/// A drill, the people in it, and who watches.
pub struct Site {
    drill: Drill,
    mode: Mode,
    /// The repository.
    pub name: String,
    server: Option<Bullad>,
    /// The commands that started it, where the drill does.
    served: Option<Block>,
    variables: BTreeMap<String, String>,
    _registry: Loopback,
    folder: TempDir,
}

impl Site {
    /// The drill of this file, with a server that begins empty.
    pub fn new(drill: &str, mode: Mode) -> Self {
        let mut site = Self::without_server(drill, mode);
        site.server = Some(Bullad::start(site.folder.path()));
        site.ask_server();
        site
    }

    /// The same, where the drill starts the server.
    pub fn without_server(drill: &str, mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        for tag in TAGS {
            registry.push(tag, &manifest(tag));
        }
        for (file, of) in [("bin/bulla", "bulla"), ("bin/bullad", "bullad")] {
            fs::create_dir_all(folder.path().join("bin")).unwrap();
            symlink(program(of), folder.path().join(file)).unwrap();
        }
        fs::create_dir(folder.path().join("share")).unwrap();
        let registry = registry.over_http();
        let name = format!("{}/team/app", registry.host());
        let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        let share = folder.path().join("share").display().to_string();
        let variables = [
            ("PATH", path),
            ("SHARE", share),
            ("REPOSITORY", name.clone()),
            ("BULLA_PASSPHRASE", PASSPHRASE.to_owned()),
            ("BULLA_BACKUP_PASSPHRASE", "battery staple".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        let drill = Drill::read(drill, mode);
        Self { drill, mode, name, server: None, served: None, variables, _registry: registry, folder }
    }

    /// A variable that everybody has.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// A path in the folder of the test.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The trust server that everybody asks.
    pub fn server(&self) -> &Bullad {
        self.server.as_ref().expect("a server runs")
    }

    /// The server is stopped.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// As it was started in the drill.
    pub fn start_server_again(&mut self) {
        let block = self.served.clone().expect("the drill has started a server");
        self.type_in(&block);
    }

    /// Types everything up to the end of this section.
    pub fn through(&mut self, heading: &str) {
        for block in self.drill.through(heading) {
            self.type_in(&block);
        }
    }

    /// Types everything that is left.
    pub fn finish(&mut self) {
        for block in self.drill.rest() {
            self.type_in(&block);
        }
    }

    fn type_in(&mut self, block: &Block) {
        let folder = self.path("people").join(&block.who);
        fs::create_dir_all(&folder).unwrap();
        // A terminal keeps its variables from one block to the next, but for those that tell
        // where the server is.
        let script = format!(
            "set -a; [ ! -e .variables ] || . ./.variables\n{}\nunset BULLA_SERVER; export -p > .variables",
            block.script
        );
        let mut command = Command::new("bash");
        command.args(["-eo", "pipefail", "-c", &script]).env_clear().envs(&self.variables);
        command.env("HOME", &folder).current_dir(&folder).stdin(Stdio::null());
        if block.serves {
            let log = self.path("served");
            fs::create_dir_all(&log).unwrap();
            let authority = PathBuf::from(&self.variables["BULLA_CA_CERT"]);
            self.server = Some(Bullad::spawn(command, &log, authority));
            self.served = Some(block.clone());
            self.ask_server();
            return;
        }
        let output = command.output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(block.code), "{}\n{}\n{said}", block.place, block.script);
        let mut lines = said.lines();
        for wanted in &block.prints {
            let found = lines.any(|line| fits(line, wanted));
            assert!(found, "{}: no line {wanted:?} in its place in\n{said}", block.place);
        }
    }

    fn ask_server(&mut self) {
        let server = self.server();
        let (url, authority) = (server.url.clone(), server.ca_cert.display().to_string());
        self.set("BULLA_SERVER", &url);
        self.set("BULLA_CA_CERT", &authority);
    }

    /// Whoever can follow a repository of this mode, from its first root.
    pub async fn watchers(&self) -> Watchers {
        match self.mode {
            Mode::Spec => Watchers::Tuf {
                clients: ForeignClient::present(),
                state: tempfile::tempdir().unwrap(),
                root: self.first_root().await,
            },
            Mode::Legacy => {
                let server = self.server();
                let there = debian::program(debian::BOOKWORM, "notary").is_some();
                Watchers::Notary(there.then(|| Notary::at(&server.url, &server.ca_cert)).flatten())
            }
        }
    }

    async fn first_root(&self) -> Vec<u8> {
        self.document(Dialect::Tuf1, "root", None).await.to_vec()
    }

    /// Somebody who trusts the server's authority, and asks by hand.
    pub fn http(&self) -> Client {
        let authorities = fs::read(&self.server().ca_cert).unwrap();
        let authorities = Certificate::from_pem_bundle(&authorities).unwrap();
        Client::builder().tls_certs_only(authorities).build().unwrap()
    }

    /// A document, as the server hands it out to anybody; the root of before any rotation.
    pub async fn document(&self, dialect: Dialect, role: &str, wanted: Option<&MetaInfo>) -> Bytes {
        let file = match (dialect, role, wanted) {
            (Dialect::Tuf1, "root", None) => "1.root.json".to_owned(),
            (_, role, None) => format!("{role}.json"),
            (Dialect::Tuf1, role, Some(wanted)) => format!("{}.{role}.json", wanted.version.unwrap()),
            (Dialect::Notary1, role, Some(wanted)) => {
                format!("{role}.{}.json", wanted.hashes.as_ref().unwrap().as_sha256().unwrap())
            }
        };
        let url = match dialect {
            Dialect::Tuf1 => format!("{}/tuf/{}/metadata/{file}", self.server().url, self.name),
            Dialect::Notary1 => format!("{}/v2/{}/_trust/tuf/{file}", self.server().url, self.name),
        };
        let answer = self.http().get(url).send().await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap()
    }
}

/// Programs of others that follow the repository, each with its memory.
pub enum Watchers {
    /// TUF clients, python-tuf among them, pinned to the first root.
    Tuf { clients: Vec<ForeignClient>, state: TempDir, root: Vec<u8> },
    /// `notary`, if it is on this machine.
    Notary(Option<Notary>),
}

impl Watchers {
    /// They trust the repository, and find the image of this tag.
    pub async fn see(&self, site: &Site, tag: &str) {
        for (client, found) in self.look(site, Some(tag)).await {
            let found = found.unwrap_or_else(|refused| panic!("{client} and {tag}: {refused}"));
            assert_eq!(found, Some(Sha256Digest::of(&manifest(tag))), "{client} and {tag}");
        }
    }

    /// They trust the repository, and find no such tag.
    pub async fn miss(&self, site: &Site, tag: &str) {
        for (client, trusted) in self.look(site, None).await {
            assert!(trusted.is_ok(), "{client}: {trusted:?}");
        }
        for (client, found) in self.look(site, Some(tag)).await {
            assert!(found.is_err(), "{client} still finds {tag}");
        }
    }

    /// They do not trust what they are shown.
    pub async fn refuse(&self, site: &Site) {
        for (client, seen) in self.look(site, None).await {
            assert!(seen.is_err(), "{client} trusts it: {seen:?}");
        }
    }

    async fn look(
        &self,
        site: &Site,
        tag: Option<&str>,
    ) -> Vec<(&'static str, Result<Option<Sha256Digest>, String>)> {
        match self {
            Self::Tuf { clients, state, root } => {
                let tuf = |folder: &str| format!("{}/tuf/{}/{folder}", site.server().url, site.name);
                let repository = Repository {
                    metadata_url: tuf("metadata"),
                    targets_url: tuf("targets"),
                    root: root.clone(),
                    ca_cert: Some(site.server().ca_cert.clone()),
                    now: None,
                };
                let mut all = Vec::new();
                for client in clients {
                    let seen = client.follow(&repository, &state.path().join(client.name()), tag).await;
                    let seen = seen.map(|seen| seen.target.as_deref().map(Sha256Digest::of));
                    all.push((client.name(), seen.map_err(|refused| format!("{refused:?}"))));
                }
                all
            }
            Self::Notary(None) => Vec::new(),
            Self::Notary(Some(notary)) => {
                let notary = notary.asking(&site.server().url).unwrap();
                let ran = match tag {
                    Some(tag) => notary.run(&["lookup", &site.name, tag]),
                    None => notary.run(&["list", &site.name]),
                };
                let digest = ran.stdout.split([' ', ':']).nth(2).and_then(|hex| hex.parse().ok());
                vec![("notary", if ran.code == 0 { Ok(digest) } else { Err(format!("{ran:?}")) })]
            }
        }
    }
}

/// Whether a line is as the drill shows it, where `...` is anything. It may go on after that.
fn fits(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split("...");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    parts.all(|part| {
        let found = rest.split_once(part).map(|(_, after)| after);
        rest = found.unwrap_or_default();
        found.is_some()
    })
}

/// The present.
pub fn now() -> UtcTime {
    UtcTime::from_unix_seconds(jiff::Timestamp::now().as_second()).unwrap()
}

/// An image without layers, another one for each tag.
pub fn manifest(tag: &str) -> Vec<u8> {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [],
        "annotations": {"org.opencontainers.image.ref.name": tag},
    });
    manifest.to_string().into_bytes()
}
