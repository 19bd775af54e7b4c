//! A real `bullad` with its embedded store, and those who read what it serves: a follower of
//! our own that never lets anything go back, and Debian's `notary`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use bulla_keys_schema::dialect::{Dialect, notary1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::metadata::{Children, MetaInfo, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Floor, Pin, RootChain, TrustedTargets, Verified};
use bulla_tests::legacy::{File, read_key};
use bulla_tests::notary::Notary;
use bulla_tests::programs::Bullad;
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use tempfile::TempDir;

use crate::insider::Insider;

/// How often a reader begins anew when a publication came between two of its requests.
const ATTEMPTS: usize = 20;

/// See the head of this file.
pub(crate) struct Site {
    _folder: TempDir,
    pub(crate) server: Bullad,
    client: Client,
}

impl Site {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let authority = Certificate::from_pem(&std::fs::read(&server.ca_cert).unwrap()).unwrap();
        let client = Client::builder().no_proxy().gzip(false).tls_certs_only([authority]).build().unwrap();
        Self { _folder: folder, server, client }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// An upload as the Go client sends it.
    pub(crate) async fn post(&self, gun: &str, files: &[File]) -> Response {
        let mut form = Form::new();
        for (name, bytes) in files {
            let part = Part::bytes(bytes.clone()).file_name(name.clone());
            form = form.part("files", part.mime_str("application/octet-stream").unwrap());
        }
        self.request(Method::POST, &tuf(gun, "")).multipart(form).send().await.unwrap()
    }

    /// Any body.
    pub(crate) async fn post_body(&self, gun: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::POST, &tuf(gun, ""));
        request.header("content-type", "multipart/form-data; boundary=b").body(body).send().await.unwrap()
    }

    /// Publishes what must be accepted.
    pub(crate) async fn publish(&self, insider: &mut Insider, files: Vec<File>) {
        let answer = self.post(&insider.gun, &files).await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!((status, &*text), (200, ""), "{}", insider.gun);
        insider.accepted(files);
    }

    /// A key of the server.
    pub(crate) async fn key(&self, gun: &str, role: &str, method: Method) -> PublicKey {
        let answer = self.request(method, &tuf(gun, &format!("{role}.key"))).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{gun} {role}");
        read_key(&answer.json().await.unwrap())
    }

    /// Begins a repository with one tag in each of its three roles. With `holds_snapshot` its
    /// owner signs the snapshots, as after `notary init`.
    pub(crate) async fn begin(&self, gun: &str, holds_snapshot: bool) -> Insider {
        let timestamp = self.key(gun, "timestamp", Method::GET).await;
        let snapshot = self.key(gun, "snapshot", Method::GET).await;
        let mut insider = Insider::new(gun, now(), &timestamp, (!holds_snapshot).then_some(&snapshot));
        let files = insider.first();
        self.publish(&mut insider, files).await;
        let files = insider.tagged(&["targets", "targets/releases", "targets/alice"], "v0");
        self.publish(&mut insider, files).await;
        insider
    }

    /// Whether everybody reads what `insider` has published last.
    pub(crate) async fn is_readable(&self, insider: &Insider, reader: &mut Reader) {
        let seen = reader.read(self).await.unwrap_or_else(|reason| panic!("{}: {reason}", insider.gun));
        let tags = |document: &Targets| document.targets.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(tags(seen.top.targets().payload()), insider.tags("targets"), "{}", insider.gun);
        for (role, document) in &seen.delegated {
            assert_eq!(tags(document.payload()), insider.tags(role), "{} {role}", insider.gun);
        }
        // A client without cache sees the whole tree.
        let Some(notary) = Notary::at(&self.server.url, &self.server.ca_cert) else { return };
        let ran = notary.run(&["list", &insider.gun]);
        let listed = |tag: &String| ran.stdout.lines().any(|line| line.starts_with(&format!("{tag} ")));
        let all = ["targets", "targets/releases", "targets/alice"].map(|role| insider.tags(role));
        assert!(ran.code == 0 && all.iter().flatten().all(listed), "{ran:?}");
    }
}

/// The path of a file of a repository.
pub(crate) fn tuf(gun: &str, file: &str) -> String {
    format!("/v2/{gun}/_trust/tuf/{file}")
}

pub(crate) fn now() -> UtcTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UtcTime::from_unix_seconds(i64::try_from(seconds).unwrap()).unwrap()
}

/// A client that remembers what it saw: the same version never has other bytes, and nothing
/// goes back.
pub(crate) struct Reader {
    gun: String,
    pinned: Option<Bytes>,
    seen: BTreeMap<String, (u64, Sha256Digest)>,
}

/// What a reader believes.
pub(crate) struct Seen {
    pub(crate) top: TrustedTargets,
    pub(crate) delegated: BTreeMap<String, Verified<Targets>>,
}

impl Reader {
    pub(crate) fn of(gun: &str) -> Self {
        Self { gun: gun.to_owned(), pinned: None, seen: BTreeMap::new() }
    }

    /// Reads everything, everything below the timestamp by its digest. Begins anew, as old
    /// clients do, when something does not fit together.
    ///
    /// # Errors
    /// It never does.
    ///
    /// # Panics
    /// Something went back, or the server failed.
    pub(crate) async fn read(&mut self, site: &Site) -> Result<Seen, String> {
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.attempt(site).await {
                Ok(seen) => {
                    self.remember(&seen);
                    return Ok(seen);
                }
                Err(failed) => reason = failed,
            }
        }
        Err(reason)
    }

    async fn attempt(&mut self, site: &Site) -> Result<Seen, String> {
        let fetch = async |file: String| {
            let answer = site.get(&tuf(&self.gun, &format!("{file}.json"))).await;
            let status = answer.status();
            assert!(!status.is_server_error(), "{file}: {status}");
            let bytes = answer.bytes().await.map_err(|error| error.to_string())?;
            if status == 200 { Ok(bytes) } else { Err(format!("{file}: {status}")) }
        };
        let pinned = match &self.pinned {
            Some(root) => root.clone(),
            None => fetch("root".into()).await?,
        };
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let pin = Pin::Digest(Sha256Digest::of(&pinned));
        let mut chain = RootChain::start(Dialect::Notary1, pinned.clone(), &pin).map_err(|e| told(&e))?;
        while let Ok(next) = fetch(format!("{}.root", chain.latest().version().get() + 1)).await {
            chain.step(next).map_err(|e| told(&e))?;
        }
        let name = self.gun.parse().unwrap();
        let chain = chain.require_repository(&name, false).map_err(|e| told(&e))?;
        let root = chain.finish(now(), None).map_err(|e| told(&e))?;
        let timestamp = root.timestamp(Floor::none(), fetch("timestamp".into()).await?);
        let timestamp = timestamp.map_err(|e| told(&e))?;
        let snapshot = fetch(named("snapshot", timestamp.wanted())).await?;
        let snapshot = timestamp.snapshot(snapshot).map_err(|e| told(&e))?;
        let wanted = snapshot.wanted().map_err(|e| told(&e))?;
        let targets = fetch(named("targets", wanted)).await?;
        let top = snapshot.targets(targets).map_err(|e| told(&e))?;
        let mut delegated = BTreeMap::new();
        if let Some(delegations) = &top.targets().payload().delegations
            && let Children::Roles(roles) = &delegations.children
        {
            for role in roles {
                let wire = notary1::role_to_wire(&RoleName::Delegated(role.name.clone()));
                // Not signed yet.
                let Ok(wanted) = top.wanted(&role.name) else { continue };
                let bytes = fetch(named(&wire, wanted)).await?;
                delegated.insert(wire, top.delegated(&role.name, bytes).map_err(|e| told(&e))?);
            }
        }
        self.pinned = Some(pinned);
        Ok(Seen { top, delegated })
    }

    fn remember(&mut self, seen: &Seen) {
        let Seen { top, delegated } = seen;
        let one = |role: &str, version: u64, digest| (role.to_owned(), (version, digest));
        let mut now = vec![
            one("root", top.root().version().get(), top.root().digest()),
            one("timestamp", top.timestamp().version().get(), top.timestamp().digest()),
            one("snapshot", top.snapshot().version().get(), top.snapshot().digest()),
            one("targets", top.targets().version().get(), top.targets().digest()),
        ];
        now.extend(delegated.iter().map(|(role, doc)| one(role, doc.version().get(), doc.digest())));
        for (role, (version, digest)) in now {
            if let Some((before, known)) = self.seen.insert(role.clone(), (version, digest)) {
                let is_same = before == version && known == digest;
                assert!(is_same || before < version, "{} {role}: {before}, then {version}", self.gun);
            }
        }
    }
}

fn named(role: &str, info: &MetaInfo) -> String {
    let digest = info.hashes.as_ref().and_then(|hashes| hashes.as_sha256()).unwrap();
    format!("{role}.{digest}")
}
