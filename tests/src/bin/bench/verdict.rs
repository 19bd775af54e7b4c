//! A verdict on one image, from start of the program to its answer: `bulla verify --policy` beside
//! `cosign verify` and `notary lookup`, with few and many tags in the repository.
//!
//! `bulla` asks its server for the timestamp and reads all else from its cache: signatures, the
//! tag, a scan and the policy. cosign asks the registry for the manifest and its signatures, and
//! knows no policy. notary asks its server for the timestamp, and looks up a tag.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::system_clock::SystemClock;
use bulla::adapter::tuf_http::TufHttp;
use bulla::flow::layout::{Layout as Roles, Signers};
use bulla::flow::publish::{Edit, Edited, PublishError, publish};
use bulla::flow::sign::{authority, role_name};
use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::metadata::{DelegatedRole, TargetInfo};
use bulla_keys_schema::names::{RELEASES, RepositoryName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_tests::cli::{Cli, Desk, PASSPHRASE};
use bulla_tests::notary::Notary;
use bulla_tests::notary_load::{Publisher, Tag};
use bulla_tests::programs::expect;
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::ours::policy_on_scans;
use bulla_tests::sigstore_peers::{Keys, reports};
use jiff::SignedDuration;

use crate::Plan;
use crate::notary_rounds::Uploads;
use crate::notary_servers::{Kind, Server};
use crate::table::{Table, median};

/// Runs of each program in one round; the round counts as their median.
const RUNS: usize = 9;
/// How many tags there are, and how many of the same name notary's repository lists.
const TAGS: [(usize, Listed); 3] = [(1, |_| tags(1)), (100, |_| tags(100)), (10_000, |_| tags(10_000))];
/// What a repository lists in a version.
type Listed = fn(u64) -> Vec<Tag>;
/// Long enough for a benchmark, in seconds.
const LIFETIME: i64 = 30 * 24 * 60 * 60;

/// Times all programs in turn.
pub fn verdict(plan: &Plan, bullad: &Path, bulla: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    let (Some(registry), Some((two, three))) = (ImageRegistry::start(), Cosign::both()) else {
        eprintln!("SKIPPED: verdict; hint: needs docker-registry and cosign: source .ci/peers");
        return Ok(());
    };
    let Some(server) = Server::start(Kind::Bullad, bullad, folder)? else { return Ok(()) };
    let site = Site::new(server, bulla, folder, registry)?;
    let mut ours = Vec::new();
    for (count, listed) in TAGS {
        ours.push(Subject::new(&site, count, listed)?);
    }
    let signed = site.registry.push("team/cosign", "v1", "an image");
    let keys = Keys::make(&two);
    two.sign(Layout::Tags, &keys.good, &signed, &[]);
    three.sign(Layout::Bundle, &keys.good, &signed, &[]);
    let mut cosigns: [Vec<f64>; 2] = Default::default();
    for _ in 0..plan.rounds {
        for (cosign, rounds) in [&two, &three].into_iter().zip(&mut cosigns) {
            rounds.push(time(|| drop(cosign.verify(&keys.good.public, &signed, &[]).yes("cosign verifies"))));
        }
        for subject in &mut ours {
            subject.round(&site);
        }
    }
    for subject in &ours {
        let name = format!("time of a verdict with a policy, warm, {} tags", subject.tags);
        let ratios = |theirs: &[f64]| subject.bulla.iter().zip(theirs).map(|(a, b)| a / b).collect();
        table.line(&name, "cosign 2 verify", None, ratios(&cosigns[0]));
        table.line(&name, "cosign 3 verify", None, ratios(&cosigns[1]));
        table.line(&name, &format!("notary lookup, {} tags", subject.tags), None, ratios(&subject.notary));
        table.numbers(&format!("verdict.bulla_{}_milliseconds", subject.tags), &subject.bulla);
        table.numbers(&format!("verdict.notary_{}_milliseconds", subject.tags), &subject.notary);
    }
    for (name, rounds) in ["cosign_2", "cosign_3"].iter().zip(&cosigns) {
        table.numbers(&format!("verdict.{name}_milliseconds"), rounds);
    }
    Ok(())
}

/// Median of [`RUNS`] times, in milliseconds.
fn time(mut act: impl FnMut()) -> f64 {
    let times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    median(&times)
}

/// A trust server for both modes, a registry, and somebody who holds all keys.
struct Site {
    server: Server,
    url: String,
    registry: ImageRegistry,
    user: Cli,
    notary: Notary,
    policy: PathBuf,
    report: PathBuf,
    publisher: Publisher,
    runtime: tokio::runtime::Runtime,
}

impl Site {
    fn new(server: Server, bulla: &Path, folder: &Path, registry: ImageRegistry) -> io::Result<Self> {
        let url = format!("https://localhost:{}", server.address.port());
        let ca_cert = folder.join("data/tls/ca.pem");
        let user = Cli::new(text(bulla)?)
            .with("BULLA_SERVER", &url)
            .with("BULLA_CA_CERT", text(&ca_cert)?)
            .with("BULLA_PASSPHRASE", PASSPHRASE);
        for key in ["root", "targets", "alice", "scanner"] {
            expect(&user, 0, &["key", "generate", key]);
        }
        let notary = Notary::at(&url, &ca_cert)
            .ok_or_else(|| io::Error::other("notary is missing; hint: source .ci/peers"))?;
        let root = expect(&user, 0, &["key", "show", "root", "--output", "json"]).json();
        let policy = folder.join("policy.toml");
        let (host, root_key) = (registry.repository(""), root["fingerprint"].to_string());
        fs::write(&policy, policy_on_scans(host.trim_end_matches('/'), None, &root_key))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = folder.join("report.json");
        let publisher = Publisher::default();
        Ok(Self { server, url, registry, user, notary, policy, report, publisher, runtime })
    }

    /// Lists further tags, each like the one that is there.
    fn fill(&self, repository: &str, count: usize) -> io::Result<()> {
        let repository: RepositoryName = repository.parse().map_err(io::Error::other)?;
        let ca_cert = fs::read(self.user_ca())?;
        let url = self.url.parse().map_err(io::Error::other)?;
        let connection =
            Connection::new(url, Some(&ca_cert), None, Patience::default()).map_err(io::Error::other)?;
        let server = Box::new(TufHttp::new(connection));
        let desk = Desk::at(tempfile::tempdir()?, self.user.home(""), server, &SystemClock);
        let published = publish(desk.ports(), &repository, false, |state, _, now| {
            Ok::<_, PublishError>(more_tags(state, now, count))
        });
        self.runtime.block_on(published).map(drop).map_err(io::Error::other)
    }

    fn user_ca(&self) -> PathBuf {
        self.policy.with_file_name("data").join("tls/ca.pem")
    }
}

/// A repository with so many tags, in each mode.
struct Subject {
    tags: usize,
    image: Image,
    gun: String,
    bulla: Vec<f64>,
    notary: Vec<f64>,
}

impl Subject {
    fn new(site: &Site, tags: usize, listed: Listed) -> io::Result<Self> {
        let image = site.registry.push(&format!("team/{tags}"), "v1", "an image");
        let (user, repository) = (&site.user, &image.repository);
        expect(user, 0, &["init", repository, "--root-key", "root", "--targets-key", "targets"]);
        for (signer, scope) in [("alice", "*"), ("scanner", "att/**")] {
            let key = user.home(&format!("keys/{signer}.pub"));
            expect(user, 0, &["signer", "add", repository, signer, "--key", text(&key)?, "--tags", scope]);
        }
        expect(user, 0, &["sign", &image.tagged(), "--as", "alice", "--no-registry-signature"]);
        if tags > 1 {
            site.fill(repository, tags)?;
        }
        fs::write(&site.report, reports::trivy(&image, 0, SignedDuration::ZERO).to_string())?;
        let report = text(&site.report)?;
        let attest = ["attest", &image.tagged(), report, "--as", "scanner", "--no-registry-signature"];
        expect(user, 0, &[&attest[..], &["--scan-args", "image --scanners vuln"]].concat());
        let gun = format!("localhost:5000/verdict/{tags}");
        site.runtime.block_on(Uploads::new(&gun, listed).create(&site.server, &site.publisher))?;
        let subject = Self { tags, image, gun, bulla: Vec::new(), notary: Vec::new() };
        subject.ask_bulla(site);
        subject.ask_notary(site);
        Ok(subject)
    }

    fn round(&mut self, site: &Site) {
        self.bulla.push(time(|| self.ask_bulla(site)));
        self.notary.push(time(|| self.ask_notary(site)));
    }

    /// By tag and digest: as somebody asks who is about to pull, and needs no registry for it.
    fn ask_bulla(&self, site: &Site) {
        let Image { repository, tag, digest, .. } = &self.image;
        let policy = text(&site.policy).expect("paths of builds are text");
        expect(&site.user, 0, &["verify", "--policy", policy, &format!("{repository}:{tag}@{digest}")]);
    }

    fn ask_notary(&self, site: &Site) {
        site.notary.ok(&["lookup", &self.gun, "v0"]);
    }
}

fn more_tags(state: &CurrentState, now: UtcTime, count: usize) -> Edit {
    let targets = state.targets().payload();
    let Some(Roles::Signers(signers)) = Roles::of(targets) else { panic!("signers were added") };
    let named = |name: &str| signers.roles().iter().find(|role| role.name.as_str() == name);
    let documents = [RELEASES, "alice"].map(|name| {
        let role = named(name).expect("the role was added");
        further(state, &signers, role, now, count)
    });
    Edit { documents: documents.into(), ..Edit::default() }
}

fn further(
    state: &CurrentState,
    signers: &Signers<'_>,
    role: &DelegatedRole,
    now: UtcTime,
    count: usize,
) -> Edited {
    let before = state.delegated()[&role.name].payload();
    let edit = TargetsEdit::next(state.root().dialect(), before, now.plus_seconds(LIFETIME));
    let mut document = edit.expect("a young repository has versions left").finish();
    let first = document.targets["v1"].clone();
    for number in 2..=count {
        let hashes = Hashes::sha256(Sha256Digest::of(format!("image {number}").as_bytes()));
        let info = TargetInfo { hashes, ..first.clone() };
        document.targets.insert(format!("v{number}"), info);
    }
    Edited { role: role_name(role), document, authority: authority(signers, role) }
}

fn tags(number: u64) -> Vec<Tag> {
    (0..number).map(|tag| (format!("v{tag}"), format!("manifest {tag}"))).collect()
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is no text", path.display())))
}
