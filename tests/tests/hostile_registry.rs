//! Attacks of a registry on `verify`, and of servers that break HTTP itself: through the real
//! adapters, and through the program.

use std::time::Duration;

use bulla::adapter::system_clock::SystemClock;
use bulla::port::Clock as _;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::simulator::support::Repo;
use bulla_tests::simulator::{
    Consumer, Fault, Loopback, Program, Registry, RegistryFault, Reply, Sending, Server,
};

/// A trust server and a registry on this machine that serve one image, tag `v1`.
struct World {
    server: Server,
    server_http: Loopback,
    registry: Registry,
    registry_http: Loopback,
    repo: Repo,
}

impl World {
    fn new() -> Self {
        let (server, registry) = (Server::default(), Registry::default());
        let (server_http, registry_http) = (server.over_http(), registry.over_http());
        let mut repo = Repo::released();
        repo.expire_at(SystemClock.now().plus_seconds(30 * 24 * 3600));
        registry.push("v1", Repo::MANIFEST);
        let mut world = Self { server, server_http, registry, registry_http, repo };
        let name = world.name();
        world.repo.made_for(&name);
        world.show();
        world
    }

    fn show(&self) {
        self.server.serve(&self.name(), self.repo.files());
    }

    fn name(&self) -> String {
        format!("{}/team/app", self.registry_http.host())
    }

    fn image(&self) -> String {
        format!("{}:v1", self.name())
    }

    /// Somebody who speaks HTTP as `bulla` does.
    fn consumer(&self) -> Consumer {
        Consumer::over_http(&self.server_http.url()).pinned(&self.name(), self.repo.digest_pin())
    }

    /// `bulla`, pinned.
    fn program(&self) -> Program {
        let program = Program::new(&self.server_http.url());
        let root = Sha256Digest::of(&self.repo.roots[0].bytes()).to_string();
        let pinned = program.run(&["trust", "add", &self.name(), "--root-sha256", &root]);
        assert_eq!(pinned.code, 0, "{}", pinned.stderr);
        program
    }
}

fn oci(bytes: &[u8]) -> String {
    Sha256Digest::of(bytes).to_oci()
}

#[tokio::test]
async fn a_registry_that_lies_is_caught() {
    let world = World::new();
    let signed = oci(Repo::MANIFEST);
    let malware = oci(b"malware");
    for (what, fault, exit, says) in [
        ("nothing", None, 0, vec![&*signed]),
        (
            "other bytes under the right digest",
            Some(RegistryFault::Instead("malware".into())),
            15,
            vec![&*signed, &*malware],
        ),
        (
            "a digest that is not that of the bytes",
            Some(RegistryFault::Claims(Sha256Digest::of(b"x"))),
            15,
            vec![&*signed, "expected sha256:"],
        ),
        ("endless bytes", Some(RegistryFault::Endless), 15, vec!["more than 4194304 bytes"]),
        ("401", Some(RegistryFault::Status(401)), 30, vec!["does not let us read", "docker login"]),
        ("403", Some(RegistryFault::Status(403)), 30, vec!["does not let us read"]),
        ("404", Some(RegistryFault::Status(404)), 11, vec!["has no "]),
        ("500", Some(RegistryFault::Status(500)), 31, vec!["answered 500"]),
        ("no answer", Some(RegistryFault::Hangup), 31, vec!["cannot reach the registry"]),
    ] {
        world.registry.spoil(fault);
        let answer = world.consumer().verify(&world.image()).await;
        assert_eq!(answer.exit, exit, "{what}: {}", answer.text);
        for words in says {
            assert!(answer.text.contains(words), "{what}: {words} is not in {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_tag_that_moved_or_moved_back_names_both_digests() {
    let mut world = World::new();
    let consumer = world.consumer();
    assert_eq!(consumer.verify(&world.image()).await.exit, 0);
    world.registry.push("v1", b"malware");
    let answer = consumer.verify(&world.image()).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    assert!(
        answer.text.contains(&oci(b"malware")) && answer.text.contains(&oci(Repo::MANIFEST)),
        "{}",
        answer.text
    );
    world.repo.sign("v1", b"a newer image");
    world.show();
    world.registry.push("v1", b"a newer image");
    assert_eq!(consumer.verify(&world.image()).await.text, oci(b"a newer image"));
    // What was signed once is not what is signed now.
    world.registry.push("v1", Repo::MANIFEST);
    let answer = consumer.verify(&world.image()).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    assert!(
        answer.text.contains(&oci(b"a newer image")) && answer.text.contains(&oci(Repo::MANIFEST)),
        "{}",
        answer.text
    );
    let by_both = format!("{}@{}", world.image(), oci(Repo::MANIFEST));
    assert_eq!(consumer.verify(&by_both).await.exit, 15);
    let by_digest = format!("{}@{}", world.name(), oci(Repo::MANIFEST));
    assert_eq!(consumer.verify(&by_digest).await.exit, 12, "no tag means it any more");
}

/// The signed length describes no bytes with the signed digest: somebody signed nonsense.
#[tokio::test]
async fn a_length_that_does_not_fit_is_refused() {
    let mut world = World::new();
    for role in ["alice", "releases"] {
        world.repo.targets_doc(role).set_number("targets/v1/length", 5);
        world.repo.targets_doc(role).bump();
    }
    world.repo.renew();
    world.show();
    let answer = world.consumer().verify(&world.image()).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    assert!(answer.text.contains("18 bytes") && answer.text.contains("vouch for 5"), "{}", answer.text);
}

#[tokio::test]
async fn token_servers_get_no_further_than_the_registry() {
    let world = World::new();
    let token = |body: &'static str| Reply::new(200, body.into()).with("content-type", "application/json");
    let endless = Reply { status: 200, headers: Vec::new(), body: Sending::Endless };
    for (what, reply, exit) in [
        ("a token", token(r#"{"token":"x"}"#), 0),
        ("a page", token("<html></html>"), 31),
        ("no token", token("{}"), 31),
        ("401", Reply::new(401, "{}".into()), 30),
        ("500", Reply::new(500, "{}".into()), 31),
        ("a token that breaks the header", token("{\"token\":\"a\\r\\nb: c\"}"), 31),
        ("an endless token", endless, 31),
    ] {
        world.registry.spoil(Some(RegistryFault::Token(reply)));
        let answer = tokio::time::timeout(Duration::from_secs(60), async {
            world.consumer().verify(&world.image()).await
        });
        let answer = answer.await.unwrap_or_else(|_| panic!("{what}: no end"));
        assert_eq!(answer.exit, exit, "{what}: {}", answer.text);
    }
}

#[tokio::test]
async fn http_itself_may_be_broken() {
    let page = || Fault::Instead("<html></html>".into());
    for (what, file, fault, exit, says) in [
        ("an endless root", "1.root.json", Fault::Endless, 15, "more than 512000 bytes for 1.root.json"),
        ("an endless snapshot", "1.snapshot.json", Fault::Endless, 15, "more than 2000000 bytes"),
        ("endless targets", "1.targets.json", Fault::Endless, 15, "more than 5000000 bytes"),
        ("an endless role", "1.alice.json", Fault::Endless, 15, "more than 5000000 bytes"),
        ("a gzip bomb", "timestamp.json", Fault::GzipBomb, 15, "more than 16384 bytes for timestamp.json"),
        ("a body cut off", "timestamp.json", Fault::Cut, 31, "cannot reach"),
        ("a body cut off later", "1.alice.json", Fault::Cut, 31, "cannot reach"),
        ("a body longer than said", "1.targets.json", Fault::LongerThanSaid(20), 15, "targets"),
        ("no answer", "timestamp.json", Fault::Hangup, 31, "cannot reach"),
        ("a page", "1.snapshot.json", page(), 15, "snapshot has other bytes than listed"),
        ("another page", "1.root.json", page(), 15, "root: invalid JSON"),
        ("401", "timestamp.json", Fault::Status(401), 30, "does not accept our token"),
        ("403", "1.targets.json", Fault::Status(403), 30, "does not accept our token"),
        ("404", "1.alice.json", Fault::Status(404), 15, "alice is missing"),
        ("429", "timestamp.json", Fault::Status(429), 31, "429"),
        ("500", "timestamp.json", Fault::Status(500), 31, "500"),
        ("503", "1.releases.json", Fault::Status(503), 31, "cannot do this now"),
    ] {
        let world = World::new();
        let consumer = world.consumer();
        world.server.spoil(file, fault);
        let answer = consumer.verify(&world.image()).await;
        assert_eq!(answer.exit, exit, "{what}: {}", answer.text);
        assert!(answer.text.contains(says), "{what}: {}", answer.text);
        world.server.heal();
        let answer = consumer.verify(&world.image()).await;
        assert_eq!(answer.exit, 0, "{what}, healed: {}", answer.text);
    }
}

/// A server that sends clients elsewhere would have them show it their token there.
#[tokio::test]
async fn redirects_are_not_followed() {
    let world = World::new();
    let elsewhere = Server::default();
    let other = elsewhere.over_http();
    elsewhere.serve(&world.name(), world.repo.files());
    for file in ["1.root.json", "timestamp.json", "1.alice.json"] {
        let url = format!("{}/tuf/{}/metadata/{file}", other.url(), world.name());
        world.server.spoil(file, Fault::Redirect(url));
        let answer = world.consumer().verify(&world.image()).await;
        assert_eq!(answer.exit, 31, "{file}: {}", answer.text);
        world.server.heal();
    }
    assert!(elsewhere.asked().is_empty());
}

/// Silent servers and those that drip are given up, none holds a consumer for ever.
#[tokio::test(flavor = "multi_thread")]
async fn slow_servers_are_given_up() {
    let manifest = || Sending::Dripping(Repo::MANIFEST.into(), Duration::from_secs(1));
    let token = |sent| Reply { status: 200, headers: Vec::new(), body: sent };
    let silent = Duration::from_secs(3600);
    let worlds = [World::new(), World::new(), World::new(), World::new()];
    worlds[0].server.spoil("timestamp.json", Fault::Dripping(silent));
    worlds[1].server.spoil("timestamp.json", Fault::Dripping(Duration::from_secs(1)));
    worlds[2].registry.spoil(Some(RegistryFault::Slow(Duration::from_secs(1))));
    worlds[3].registry.spoil(Some(RegistryFault::Token(token(manifest()))));
    let began = std::time::Instant::now();
    let waiting = worlds.iter().map(|world| async move { world.consumer().verify(&world.image()).await });
    for (number, answer) in futures_util::future::join_all(waiting).await.into_iter().enumerate() {
        assert_eq!(answer.exit, 31, "{number}: {}", answer.text);
        assert!(answer.text.contains("cannot reach"), "{number}: {}", answer.text);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_program_ends_with_the_codes_it_promises() {
    let mut world = World::new();
    let image = world.image();
    let program = world.program();
    let good = program.run(&["verify", &image]);
    assert_eq!((good.code, good.stdout.trim()), (0, &*format!("{}@{}", world.name(), oci(Repo::MANIFEST))));
    let unpinned = Program::new(&world.server_http.url()).run(&["verify", &image]);
    assert_eq!(unpinned.code, 10, "{unpinned:?}");
    world.registry.spoil(Some(RegistryFault::Status(404)));
    assert_eq!(program.run(&["verify", &image]).code, 11);
    world.registry.spoil(None);
    let unsigned = program.run(&["verify", &format!("{}:v9", world.name())]);
    assert_eq!(unsigned.code, 12, "{unsigned:?}");
    assert!(unsigned.stderr.contains("v9 is not signed\nhint: "), "{unsigned:?}");
    world.server.spoil("*", Fault::Hangup);
    let offline = program.run(&["verify", &image]);
    assert_eq!(offline.code, 0, "{offline:?}");
    assert!(offline.stderr.contains("warning: cannot reach the trust server"), "{offline:?}");
    assert_eq!(world.program().run(&["verify", &image]).code, 31);
    world.server.heal();
    world.registry.push("v1", b"malware");
    let moved = program.run(&["verify", &image]);
    assert_eq!(moved.code, 15, "{moved:?}");
    assert!(
        moved.stderr.contains(&oci(b"malware")) && moved.stderr.contains(&oci(Repo::MANIFEST)),
        "{moved:?}"
    );
    let json = program.run(&["--output", "json", "verify", &image]);
    assert_eq!(json.code, 15);
    assert!(json.stdout.contains("\"exit_code\": 15"), "{json:?}");
    world.registry.push("v1", Repo::MANIFEST);
    let first = world.repo.files();
    world.repo.sign("v2", b"2");
    world.show();
    assert_eq!(program.run(&["verify", &image]).code, 0);
    world.server.serve(&world.name(), first);
    let replayed = program.run(&["verify", &image]);
    assert_eq!(replayed.code, 15, "{replayed:?}");
    assert!(replayed.stderr.contains("timestamp went back from version 2 to 1"), "{replayed:?}");
    world.repo.revoke("releases", "v1", Repo::MANIFEST).renew();
    world.show();
    let revoked = program.run(&["verify", &image]);
    assert_eq!(revoked.code, 14, "{revoked:?}");
    assert!(revoked.stderr.contains("leaked a password"), "{revoked:?}");
    world.server.spoil("timestamp.json", Fault::Status(401));
    assert_eq!(program.run(&["verify", &image]).code, 30);
    world.server.heal();
    world.repo.timestamp.bump().set("expires", "2020-01-01T00:00:00Z");
    world.show();
    let expired = program.run(&["verify", &image]);
    assert_eq!(expired.code, 13, "{expired:?}");
    world.server.spoil("timestamp.json", Fault::GzipBomb);
    assert_eq!(program.run(&["verify", &image]).code, 15);
    std::fs::write(program.home("trust.toml"), "nonsense").unwrap();
    assert_eq!(program.run(&["verify", &image]).code, 3);
}

/// Whatever a server, a registry or a signer writes, terminals get no commands from it.
#[test]
fn terminals_are_not_talked_to_by_strangers() {
    let mut world = World::new();
    let escape = "\u{1b}]0;owned\u{7}\u{9b}2J";
    world.repo.list("releases", &format!("v7{escape}"), b"7").revoke("releases", "v1", Repo::MANIFEST);
    world.repo.targets_doc("releases").set("x_bulla_revoked/v1/reason", format!("because{escape}"));
    world.repo.renew();
    world.show();
    let program = world.program();
    let problem = serde_json::json!({
        "type": "about:blank", "title": "busy", "status": 503, "code": "busy", "request_id": "x",
        "detail": format!("later{escape}"), "hint": format!("later{escape}"),
    });
    let name = world.name();
    for arguments in [&["verify", &world.image()][..], &["inspect", &name], &["inspect", &name, "--pretty"]] {
        let ran = program.run(arguments);
        let said = ran.stdout + &ran.stderr;
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{arguments:?}: {said:?}");
    }
    world.server.spoil("*", Fault::Problem(503, problem.to_string().into()));
    let ran = world.program().run(&["verify", &world.image()]);
    assert_eq!(ran.code, 31, "{ran:?}");
    assert!(!ran.stderr.chars().any(|c| c.is_control() && c != '\n'), "{ran:?}");
}

/// What a registry lies about is not signed: nothing is even asked of the trust server.
#[test]
fn nothing_is_signed_on_the_word_of_a_registry_that_lies() {
    let world = World::new();
    let program = world.program();
    let _asked = world.server.asked();
    let by_digest = format!("{}@{}", world.image(), oci(Repo::MANIFEST));
    for (image, fault, exit) in [
        (&by_digest, RegistryFault::Instead("malware".into()), 15),
        (&world.image(), RegistryFault::Claims(Sha256Digest::of(b"x")), 15),
        (&world.image(), RegistryFault::Endless, 15),
        (&world.image(), RegistryFault::Status(404), 11),
    ] {
        world.registry.spoil(Some(fault.clone()));
        let ran = program.run(&["sign", image]);
        assert_eq!(ran.code, exit, "{fault:?}: {ran:?}");
    }
    assert_eq!(world.server.asked(), Vec::<String>::new());
}

/// Bytes are judged wherever a registry sends us for them.
#[tokio::test]
async fn a_registry_that_points_elsewhere_is_judged_by_what_comes() {
    let world = World::new();
    let elsewhere = Registry::default();
    let other = elsewhere.over_http();
    elsewhere.push("v1", b"malware");
    world.registry.spoil(Some(RegistryFault::Redirect(format!("{}/v2/x/manifests/v1", other.url()))));
    let answer = world.consumer().verify(&world.image()).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    elsewhere.push("v1", Repo::MANIFEST);
    assert_eq!(world.consumer().verify(&world.image()).await.exit, 0);
}
