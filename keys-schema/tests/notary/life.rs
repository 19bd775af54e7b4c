//! One repository from its first to its last document: what the server accepts, a client that
//! was there before follows, and a server that starts again finds the same.

use bulla_keys_schema::author::{RootEdit, TargetsEdit, next_snapshot, next_timestamp};
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::KeyId;
use bulla_keys_schema::metadata::{Snapshot, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::Submission;
use bytes::Bytes;

use crate::client::{Client, View};
use crate::papers::{
    ALICE, BOB, Holder, OWNER, Papers, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, bare, certificate,
    certificate_from, delegate, list, name, root_signed_by, signed_by, trust, wrapped,
};
use crate::server::Server;
use crate::{DIALECT, Doc, TestKey, later, now, repository, time};

const CAROL: TestKey = TestKey::p256("carol");

/// A repository, its publisher's papers, and a client that sees every step.
struct World {
    papers: Papers,
    server: Server,
    client: Client,
}

impl World {
    fn new(papers: Papers) -> Self {
        let server = Server::with(&papers);
        let client = Client::new(&server.served);
        let mut world = Self { papers, server, client };
        world.look();
        world
    }

    /// Publishes what `edit` changes, with the next snapshot if the client signs it.
    fn publish(&mut self, edit: impl FnOnce(&mut Papers)) -> View {
        let before = self.papers.clone();
        self.papers.next_snapshot();
        edit(&mut self.papers);
        let submission = self.papers.since(Some(&before));
        self.server.publish(submission).unwrap();
        self.look()
    }

    /// The client follows, and a new one sees the same. Both see exactly the roles that count.
    fn look(&mut self) -> View {
        let view = self.client.follow(&self.server.served).unwrap();
        let mut fresh = Client::new(&self.server.served);
        fresh.now = self.client.now;
        let first = fresh.follow(&self.server.served).unwrap();
        assert!(first.roles.keys().eq(view.roles.keys()));
        assert_eq!(first.refused, view.refused);
        let state = self.server.state();
        let counting = state.delegated().keys().cloned().map(RoleName::Delegated);
        let counting: Vec<RoleName> = counting.collect();
        let accepted: Vec<RoleName> =
            view.roles.keys().filter(|role| **role != RoleName::Targets).cloned().collect();
        assert_eq!(accepted, counting);
        for (name, document) in state.delegated() {
            assert_eq!(view.roles[&RoleName::Delegated(name.clone())].bytes(), document.bytes());
        }
        view
    }

    fn versions(&self) -> [u64; 4] {
        let state = self.server.state();
        [
            state.root().version(),
            state.targets().version(),
            state.snapshot().version(),
            state.timestamp().version(),
        ]
        .map(|version| version.get())
    }
}

#[test]
fn a_repository_lives_with_a_snapshot_of_the_server() {
    let mut world = World::new(Papers::new(Holder::Server));
    assert_eq!(world.versions(), [1, 2, 1, 1]);

    // A second tag of the first signer, then a second signer.
    let view = world.publish(|papers| {
        list(papers.next("targets/releases"), "v2");
        list(papers.next("targets/alice"), "v2");
    });
    assert_eq!(view.listing("v2"), ["alice", "releases"].into());
    assert_eq!(world.versions(), [1, 2, 2, 2]);
    let view = world.publish(|papers| {
        trust(papers.next("targets"), "delegations/roles/0", &[bare(ALICE), bare(TARGETS), bare(BOB)], 1);
        delegate(&mut papers.targets, "targets/bob", &[BOB]);
    });
    assert_eq!(view.refused.keys().map(RoleName::as_str).collect::<Vec<_>>(), ["bob"]);
    let view = world.publish(|papers| {
        signed_by(list(papers.next("targets/releases"), "v3"), &[BOB]);
        papers.add("targets/bob", &["v3"], &[BOB]);
    });
    assert_eq!(view.listing("v3"), ["bob", "releases"].into());
    assert_eq!(world.versions(), [1, 3, 4, 4]);

    // Nothing at all, as `notary publish` does: only the timestamp is new.
    world.publish(|_| {});
    assert_eq!(world.versions(), [1, 3, 4, 5]);
}

#[test]
fn a_role_without_its_key_retires_and_comes_back() {
    for holder in [Holder::Server, Holder::Client] {
        let mut world = World::new(Papers::new(holder));
        let releases = name("targets/releases");
        // `docker trust signer remove` leaves the document that alice signed.
        let view = world.publish(|papers| {
            trust(papers.next("targets"), "delegations/roles/0", &[bare(TARGETS)], 1);
        });
        assert_eq!(
            view.refused[&RoleName::Delegated(releases.clone())],
            "releases: signed by 0 of 1 required keys"
        );
        assert_eq!(world.server.state().retired()[&releases].version.get(), 1);
        world.server.renew();
        world.look();

        // The key is listed again, and the document counts again.
        let view = world.publish(|papers| {
            trust(papers.next("targets"), "delegations/roles/0", &[bare(ALICE), bare(TARGETS)], 1);
        });
        assert_eq!(view.listing("v1"), ["alice", "releases"].into());
        assert!(world.server.state().retired().is_empty());

        // Without any key it waits for new ones.
        let view = world.publish(|papers| {
            trust(papers.next("targets"), "delegations/roles/0", &[], 1);
        });
        assert_eq!(view.listing("v1"), ["alice"].into());
        let view = world.publish(|papers| {
            trust(papers.next("targets"), "delegations/roles/0", &[bare(BOB)], 1);
            signed_by(papers.next("targets/releases"), &[BOB]);
        });
        assert_eq!(view.listing("v1"), ["alice", "releases"].into());
        assert_eq!(view.roles[&RoleName::Delegated(releases)].version().get(), 2);
    }
}

#[test]
fn a_delegation_that_is_removed_and_added_again_keeps_its_counter() {
    for holder in [Holder::Server, Holder::Client] {
        let mut world = World::new(Papers::new(holder));
        let alice = name("targets/alice");
        world.publish(|papers| {
            list(papers.next("targets/alice"), "v2");
        });
        world.publish(|papers| {
            papers.next("targets").remove("delegations/roles/1");
            papers.unlisted.insert("targets/alice".to_owned());
        });
        assert_eq!(world.server.state().retired()[&alice].version.get(), 2);
        // The old document is there again as soon as a snapshot lists it: that of the server
        // never left it out, that of a client lists it no more.
        let view = world.publish(|papers| {
            delegate(papers.next("targets"), "targets/alice", &[ALICE]);
        });
        assert_eq!(view.roles.contains_key(&RoleName::Delegated(alice.clone())), holder == Holder::Server);
        world.server.renew();
        world.look();

        // Starting again with 1 would be a rollback; the counter goes on.
        let before = world.papers.clone();
        let mut restarted = before.clone();
        restarted.unlisted.clear();
        restarted.add("targets/alice", &["v9"], &[ALICE]);
        restarted.next_snapshot();
        let refused = world.server.check(restarted.since(Some(&before))).unwrap_err();
        assert_eq!(refused.to_string(), "alice has version 1, expected 3");
        let view = world.publish(|papers| {
            papers.unlisted.clear();
            list(papers.next("targets/alice"), "v3");
        });
        assert_eq!(view.listing("v3"), ["alice"].into());
        assert_eq!(world.server.state().delegated()[&alice].version().get(), 3);
    }
}

#[test]
fn the_snapshot_goes_to_the_server_and_back() {
    let mut world = World::new(Papers::new(Holder::Client));
    assert_eq!(world.versions(), [1, 2, 2, 1]);
    world.publish(|papers| {
        list(papers.next("targets/alice"), "v2");
    });
    assert_eq!(world.versions(), [1, 2, 3, 2]);
    // `notary key rotate GUN snapshot -r` publishes root alone.
    world.publish(|papers| {
        papers.snapshot = None;
        trust(papers.next_root(), "roles/snapshot", &[bare(SNAPSHOT)], 1);
    });
    assert_eq!(world.versions(), [2, 2, 4, 3]);
    world.publish(|papers| {
        list(papers.next("targets/alice"), "v3");
    });
    assert_eq!(world.versions(), [2, 2, 5, 4]);
    // And back: root and a snapshot of the new key.
    world.publish(|papers| {
        let mut snapshot = Papers::new(Holder::Client).snapshot;
        snapshot.iter_mut().for_each(|snapshot| {
            snapshot.set_number("version", 6);
        });
        papers.snapshot = snapshot;
        trust(papers.next_root(), "roles/snapshot", &[bare(OWNER)], 1);
    });
    assert_eq!(world.versions(), [3, 2, 6, 5]);
    world.publish(|papers| {
        list(papers.next("targets/alice"), "v4");
    });
    assert_eq!(world.versions(), [3, 2, 7, 6]);
}

#[test]
fn an_expired_snapshot_of_a_client_stays_and_the_timestamp_is_renewed() {
    let mut world = World::new(Papers::new(Holder::Client));
    world.server.now = time("2031-06-01T00:00:00Z");
    world.server.renew();
    assert_eq!(world.versions(), [1, 2, 2, 2]);
    world.client.now = world.server.now;
    let refused = world.client.follow(&world.server.served).err();
    assert_eq!(refused.as_deref(), Some("root version 1 expired at 2031-01-01T00:00:00Z"));
    // With a longer life of all but the snapshot, that is what clients report.
    let mut world = World::new(Papers::new(Holder::Client));
    world.publish(|papers| {
        let until = "2030-02-01T00:00:00Z";
        papers.snapshot.iter_mut().for_each(|snapshot| {
            snapshot.set("expires", until);
        });
    });
    world.server.now = time("2030-02-01T00:00:00Z");
    world.client.now = world.server.now;
    world.server.renew();
    world.server.publish(Submission::default()).unwrap();
    assert_eq!(world.versions(), [1, 2, 3, 4]);
    let refused = world.client.follow(&world.server.served).err();
    assert_eq!(refused.as_deref(), Some("snapshot version 3 expired at 2030-02-01T00:00:00Z"));
    // The owner comes back.
    world.publish(|papers| {
        papers.snapshot.iter_mut().for_each(|snapshot| {
            snapshot.set("expires", "2031-01-01T00:00:00Z");
        });
    });
    // A snapshot of the server is renewed with the timestamp.
    let mut world = World::new(Papers::new(Holder::Server));
    world.server.now = now().plus_seconds(1000);
    world.client.now = world.server.now;
    world.server.renew();
    world.look();
    assert_eq!(world.versions(), [1, 2, 2, 2]);
}

#[test]
fn a_root_is_rotated_and_old_certificates_linger() {
    let mut world = World::new(Papers::new(Holder::Server));
    let old = certificate(ROOT, repository().as_str());
    let new = certificate(CAROL, repository().as_str());
    world.publish(|papers| {
        trust(papers.next_root(), "roles/root", &[wrapped(&new)], 1);
        root_signed_by(&mut papers.root, &[(&old, ROOT), (&new, CAROL)]);
    });
    let keys = |world: &World| world.server.state().root().payload().keys.len();
    assert_eq!(keys(&world), 5, "the old certificate lingers");
    world.publish(|papers| {
        root_signed_by(papers.next_root(), &[(&new, CAROL)]);
    });
    assert_eq!(world.versions(), [3, 2, 3, 3]);

    // A renewed certificate for the same key; what lingers may be over, or not even readable.
    let renewed = certificate_from(CAROL, "registry.example.com/team/*", now(), time("2040-01-01T00:00:00Z"));
    let over = certificate_from(ROOT, repository().as_str(), time("2010-01-01T00:00:00Z"), now());
    let lingering: [(KeyId, Json); 2] = [wrapped(&over), crate::papers::declared("ecdsa-x509", b"nothing")];
    world.publish(|papers| {
        trust(papers.next_root(), "roles/root", &[wrapped(&renewed)], 1);
        root_signed_by(&mut papers.root, &[(&new, CAROL), (&renewed, CAROL)]);
        for (id, object) in &lingering {
            papers.root.set(&format!("keys/{id}"), object.clone());
        }
    });
    assert_eq!(keys(&world), 8);
}

#[test]
fn roles_below_roles_and_roles_called_like_the_first_four() {
    let mut world = World::new(Papers::new(Holder::Server));
    let view = world.publish(|papers| {
        delegate(papers.next("targets"), "targets/root", &[BOB]);
        delegate(&mut papers.targets, "targets/targets", &[BOB]);
        delegate(papers.add("targets/root", &["v2"], &[BOB]), "targets/root/targets", &[CAROL]);
        papers.add("targets/root/targets", &["v3"], &[CAROL]);
        delegate(papers.add("targets/targets", &["v2"], &[BOB]), "targets/targets/root", &[CAROL]);
        papers.add("targets/targets/root", &["v3"], &[CAROL]);
    });
    assert_eq!(view.listing("v2"), ["targets/root", "targets/targets"].into());
    assert_eq!(view.listing("v3"), ["targets/root/targets", "targets/targets/root"].into());
    // A parent takes its children along, and brings them back.
    let view = world.publish(|papers| {
        let roles = papers.targets.get("delegations/roles").unwrap().as_array().unwrap().len();
        papers.next("targets").remove(&format!("delegations/roles/{}", roles - 1));
    });
    assert_eq!(view.listing("v3"), ["targets/root/targets"].into());
    assert_eq!(world.server.state().retired().len(), 2);
    let view = world.publish(|papers| {
        delegate(papers.next("targets"), "targets/targets", &[BOB]);
    });
    assert_eq!(view.listing("v3"), ["targets/root/targets", "targets/targets/root"].into());
}

#[test]
fn a_snapshot_may_list_sha256_alone() {
    // As notary did before it knew SHA-512. The server must then not find that the snapshot has
    // to change when nothing else does, which would end the renewal of timestamps.
    let mut papers = Papers::new(Holder::Client);
    let mut digest_of = |role: &str| {
        let mut info = crate::papers::info(&papers.role(role).bytes());
        if let Json::Object(info) = &mut info
            && let Some(Json::Object(hashes)) = info.get_mut("hashes")
        {
            hashes.remove("sha512");
        }
        (role.to_owned(), info)
    };
    let listed = ["targets", "targets/alice", "targets/releases"].map(&mut digest_of);
    papers.listed = listed.into();
    let mut world = World::new(papers);
    world.server.renew();
    world.look();
    world.publish(|papers| papers.snapshot = None);
    assert_eq!(world.versions(), [1, 2, 2, 3]);
}

#[test]
fn a_snapshot_that_lists_a_child_without_its_parent_lists_neither() {
    // What `notary delegation remove` of a parent leaves in the snapshot of a client, when the
    // parent is added again.
    let mut world = World::new(Papers::new(Holder::Client));
    world.publish(|papers| {
        delegate(papers.next("targets/alice"), "targets/alice/phone", &[BOB]);
        papers.add("targets/alice/phone", &["v2"], &[BOB]);
    });
    let view = world.publish(|papers| {
        papers.unlisted.insert("targets/alice".to_owned());
        papers.next("targets").set("expires", "2030-12-31T00:00:00Z");
    });
    assert_eq!(view.listing("v1"), ["releases"].into());
    let retired: Vec<&str> = world.server.state().retired().keys().map(|name| name.as_str()).collect();
    assert_eq!(retired, ["alice", "alice/phone"]);
    let view = world.publish(|papers| {
        papers.unlisted.clear();
        papers.next("targets/alice");
    });
    assert_eq!(view.listing("v2"), ["alice/phone"].into());
}

#[test]
fn nothing_is_published_while_a_role_is_not_listed() {
    let mut world = World::new(Papers::new(Holder::Client));
    world.publish(|papers| {
        papers.unlisted.insert("targets/alice".to_owned());
        papers.next("targets").set("expires", "2030-12-31T00:00:00Z");
    });
    // Whoever comes without the snapshot key has the timestamp renewed, and changes nothing.
    world.server.publish(Submission::default()).unwrap();
    let view = world.look();
    assert_eq!(view.listing("v1"), ["releases"].into());
    assert_eq!(world.versions(), [1, 3, 3, 3]);
}

#[test]
fn what_an_edit_does_not_touch_stays() {
    // A role of root that nobody knows, and what a signer added to a tag.
    let mut papers = Papers::new(Holder::Server);
    let role = papers.root.get("roles/timestamp").unwrap().clone();
    papers.root.set("roles/mirrors", role.clone());
    let custom = Json::from("what the signer added");
    papers.role("targets/alice").set("targets/v1/custom", custom.clone());
    let server = Server::with(&papers);
    let root = server.state().root().payload();
    let next = RootEdit::next(DIALECT, root, later()).unwrap().finish();
    assert_eq!(Doc::of(DIALECT, &next, []).get("roles/mirrors"), Some(&role));
    let alice = server.state().delegated()[&name("targets/alice")].payload();
    let next = TargetsEdit::next(DIALECT, alice, later()).unwrap().finish();
    assert_eq!(Doc::of(DIALECT, &next, []).get("targets/v1/custom"), Some(&custom));
}

#[test]
fn the_server_judges_what_it_signs_itself() {
    let papers = Papers::new(Holder::Server);
    let server = Server::with(&papers);
    let mut after = papers.clone();
    list(after.next("targets/alice"), "v2");
    let update = server.check(after.since(Some(&papers))).unwrap();
    let snapshot = |expires: UtcTime, edit: fn(&mut Snapshot)| {
        let mut snapshot = next_snapshot(DIALECT, &update, expires).unwrap().document().clone();
        edit(&mut snapshot);
        Doc::of(DIALECT, &snapshot, [(bare(SNAPSHOT).0, SNAPSHOT)]).bytes()
    };
    let seal = |snapshot: Bytes| {
        let described = DIALECT.describe(Version::FIRST, &snapshot.clone().into());
        let timestamp = next_timestamp(DIALECT, &update, Some(described), later()).unwrap();
        let timestamp = Doc::of(DIALECT, timestamp.document(), [(bare(TIMESTAMP).0, TIMESTAMP)]).bytes();
        update.clone().seal(Some(snapshot), timestamp).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(seal(snapshot(later(), |_| {})), Ok(()));
    assert_eq!(
        seal(snapshot(now(), |_| {})).unwrap_err(),
        "a client would refuse the result: snapshot version 2 expired at 2030-01-01T00:00:00Z"
    );
    let forgetful =
        |snapshot: &mut Snapshot| assert!(snapshot.meta.remove(&"alice".parse().unwrap()).is_some());
    assert_eq!(seal(snapshot(later(), forgetful)).unwrap_err(), "the snapshot does not describe the update");
    let old = |snapshot: &mut Snapshot| snapshot.version = Version::FIRST;
    assert_eq!(seal(snapshot(later(), old)).unwrap_err(), "the snapshot is not newer than the one before");
}
