//! Many `bulla` at the same moment against a real `bullad`, and some that are killed in the
//! middle: whoever ends well was heard, and nobody leaves anything broken behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::Cli;
use bulla_tests::programs::{Bullad, expect};
use tempfile::TempDir;

const NAME: &str = "registry.example.com/team/app";

/// A server with one repository whose signers are alice and bob; all keys are in the home of
/// the admin.
struct World {
    _folder: TempDir,
    server: Bullad,
    admin: Cli,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user();
        for key in ["root", "targets", "alice", "bob"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        expect(&admin, 0, &["init", NAME]);
        for signer in ["alice", "bob"] {
            let key = admin.home(&format!("keys/{signer}.pub"));
            expect(&admin, 0, &["signer", "add", NAME, signer, "--key", key.to_str().unwrap()]);
        }
        Self { _folder: folder, server, admin }
    }

    /// Somebody on another machine, with one key and the pin.
    fn signer(&self, name: &str) -> Cli {
        let signer = self.server.user();
        fs::create_dir_all(signer.home("keys")).unwrap();
        for ending in ["key", "pub", "json"] {
            let file = format!("keys/{name}.{ending}");
            fs::copy(self.admin.home(&file), signer.home(&file)).unwrap();
        }
        fs::copy(self.admin.home("trust.toml"), signer.home("trust.toml")).unwrap();
        signer
    }

    /// Somebody who pulls.
    fn consumer(&self) -> Cli {
        let consumer = self.server.user();
        fs::create_dir_all(consumer.home("")).unwrap();
        fs::copy(self.admin.home("trust.toml"), consumer.home("trust.toml")).unwrap();
        consumer
    }
}

fn image(tag: &str) -> String {
    format!("{NAME}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci())
}

/// Starts it, and lets it run.
fn start(user: &Cli, arguments: &[&str]) -> Child {
    user.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for all of them, which have to succeed.
fn all_succeed(children: Vec<(String, Child)>) {
    for (what, child) in children {
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {} {words}", output.status);
    }
}

#[test]
fn eight_signers_at_once_all_succeed() {
    let world = World::new();
    let signers: Vec<(Cli, String, &str)> = (0..8)
        .map(|number| {
            let name = if number % 2 == 0 { "alice" } else { "bob" };
            (world.signer(name), format!("{name}-{number}"), name)
        })
        .collect();
    let started = signers.iter().map(|(user, tag, name)| {
        (tag.clone(), start(user, &["sign", &image(tag), "--size", "1", "--as", name]))
    });
    all_succeed(started.collect());
    let consumer = world.consumer();
    for (_, tag, name) in &signers {
        let json = expect(&consumer, 0, &["--output", "json", "verify", &image(tag)]).json().to_string();
        assert!(json.contains(&format!("\"{name}\"")), "{tag} is vouched for by {name}: {json}");
    }
}

#[test]
fn many_who_verify_in_one_home_do_not_hurt_each_other() {
    let world = World::new();
    let signer = world.signer("alice");
    expect(&signer, 0, &["sign", &image("v0"), "--size", "1"]);
    let consumer = world.consumer();
    for round in 1..=4 {
        let tag = format!("v{round}");
        let mut started = vec![("sign".to_owned(), start(&signer, &["sign", &image(&tag), "--size", "1"]))];
        for number in 0..8 {
            let known = image(&format!("v{}", number % round));
            started.push((known.clone(), start(&consumer, &["verify", &known])));
        }
        all_succeed(started);
    }
    expect(&consumer, 0, &["verify", &image("v4")]);
    let World { _folder, server, .. } = world;
    drop(server);
    let offline = expect(&consumer, 0, &["verify", &image("v4")]);
    assert!(offline.stderr.contains("warning: cannot reach"), "the cache is whole: {offline:?}");
}

#[test]
fn a_signer_killed_at_any_moment_leaves_everything_usable() {
    const KILLS: u32 = 16;
    let world = World::new();
    let (signer, consumer) = (world.signer("alice"), world.consumer());
    let began = Instant::now();
    expect(&signer, 0, &["sign", &image("first"), "--size", "1"]);
    let usual = began.elapsed();
    let mut ended = BTreeSet::new();
    for number in 0..KILLS {
        let tag = format!("killed-{number}");
        let mut child = start(&signer, &["sign", &image(&tag), "--size", "1"]);
        std::thread::sleep(usual * number / KILLS + Duration::from_millis(5));
        child.kill().unwrap();
        ended.insert(child.wait().unwrap().success());
        expect(&consumer, 0, &["verify", &image("first")]);
        let seen = consumer.run(&["verify", &image(&tag)]).code;
        assert!([0, 12].contains(&seen), "{tag}: all or nothing, but {seen}");
    }
    assert!(ended.contains(&false), "none was killed in time");
    for number in 0..KILLS {
        let tag = format!("killed-{number}");
        expect(&signer, 0, &["sign", &image(&tag), "--size", "1"]);
        expect(&consumer, 0, &["verify", &image(&tag)]);
    }
    let left: Vec<PathBuf> =
        files(&signer.home("")).into_iter().filter(|path| is_half_written(path)).collect();
    assert!(left.len() <= 1, "half-written files pile up: {left:?}");
    expect(&signer, 0, &["key", "list"]);
}

#[test]
fn a_consumer_killed_at_any_moment_is_not_locked_out() {
    const KILLS: u32 = 20;
    let world = World::new();
    let signer = world.signer("alice");
    expect(&signer, 0, &["sign", &image("v0"), "--size", "1"]);
    let consumer = world.consumer();
    let began = Instant::now();
    expect(&consumer, 0, &["verify", &image("v0")]);
    let usual = began.elapsed();
    for number in 0..KILLS {
        if number % 4 == 0 {
            expect(&signer, 0, &["sign", &image(&format!("v{}", number + 1)), "--size", "1"]);
            fs::remove_dir_all(consumer.home("cache")).unwrap();
        }
        let mut child = start(&consumer, &["verify", &image("v0")]);
        std::thread::sleep(usual * number / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        expect(&consumer, 0, &["verify", &image("v0")]);
    }
}

fn is_half_written(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
