//! Publishers, removers and rotators of one repository at the same moment, and somebody who reads
//! all the while and never sees anything go back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bulla_tests::legacy::{File, refusal};
use reqwest::{Method, Response};

use crate::insider::{Insider, Key, sign};
use crate::site::{Reader, Site, tuf};

/// Reads until `done`, at least once; returns how often.
async fn follow(site: &Site, gun: &str, done: &AtomicBool, may_be_absent: bool) -> usize {
    let mut reader = Reader::of(gun);
    let mut read = 0;
    loop {
        let is_last = done.load(Ordering::Relaxed);
        match reader.read(site).await {
            Ok(_) => read += 1,
            Err(reason) => assert!(may_be_absent && reason.contains("404"), "{reason}"),
        }
        if is_last {
            return read;
        }
    }
}

/// Does `work` while somebody reads.
async fn watched(site: &Site, gun: &str, may_be_absent: bool, work: impl Future<Output = ()>) -> usize {
    let done = AtomicBool::new(false);
    let work = async {
        work.await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, follow(site, gun, &done, may_be_absent)).1
}

/// The text of a refusal that old clients show; `None` if it was no refusal.
async fn refused(answer: Response) -> Option<String> {
    if answer.status() == 200 {
        return None;
    }
    let (status, code, detail) = refusal(answer).await;
    assert_eq!((status, &*code), (400, "INVALID_UPDATE"), "{detail}");
    Some(format!("{}: {}", detail["Name"].as_str().unwrap(), detail["Error"]["Msg"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_of_different_roles_both_succeed() {
    let site = Site::start();
    let gun = "registry.test:5000/races/different";
    let mut one = site.begin(gun, false).await;
    let mut other = one.clone();
    let rounds = async {
        for round in 0..50 {
            let mine = one.tagged(&["targets/releases"], &format!("r{round}"));
            let yours = other.tagged(&["targets/alice"], &format!("a{round}"));
            let (first, second) = tokio::join!(site.post(gun, &mine), site.post(gun, &yours));
            assert_eq!((refused(first).await, refused(second).await), (None, None), "round {round}");
            one.accepted(mine);
            other.accepted(yours);
        }
    };
    let read = watched(&site, gun, false, rounds).await;
    let seen = Reader::of(gun).read(&site).await.unwrap();
    for (role, insider) in [("targets/releases", &one), ("targets/alice", &other)] {
        let document = &seen.delegated[role];
        assert_eq!(document.version().get(), 52, "{role}");
        assert_eq!(document.payload().targets.len(), insider.tags(role).len(), "{role}");
    }
    // Every publication has a timestamp of its own.
    assert_eq!(seen.top.timestamp().version().get(), 2 + 100);
    println!("50 rounds, read {read} times meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_publisher_of_a_role_wins_and_the_others_are_told() {
    let site = Site::start();
    for holds_snapshot in [false, true] {
        let gun = format!("registry.test:5000/races/same-{holds_snapshot}");
        let mut insider = site.begin(&gun, holds_snapshot).await;
        let rounds = async {
            for round in 0..20 {
                let attempts: Vec<(Insider, Vec<File>)> = (0..4)
                    .map(|number| {
                        let mut publisher = insider.clone();
                        let files = publisher.tagged(&["targets/alice"], &format!("{round}-{number}"));
                        (publisher, files)
                    })
                    .collect();
                let sent =
                    attempts.iter().map(|(_, files)| async { refused(site.post(&gun, files).await).await });
                let answers = futures_util::future::join_all(sent).await;
                let winners: Vec<usize> = (0..4).filter(|number| answers[*number].is_none()).collect();
                assert_eq!(winners.len(), 1, "{answers:?}");
                for text in answers.iter().flatten() {
                    let role = "ErrBadTargets: targets/alice has version ";
                    assert!(text.starts_with(role) && text.contains("; run the command again"), "{text}");
                }
                let (winner, files) = attempts.into_iter().nth(winners[0]).unwrap();
                insider = winner;
                insider.accepted(files);
            }
        };
        watched(&site, &gun, false, rounds).await;
        site.is_readable(&insider, &mut Reader::of(&gun)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_between_publications_harm_nobody() {
    let site = Site::start();
    let gun = "registry.test:5000/races/removed";
    let mut insider = site.begin(gun, false).await;
    let root = ("root".to_owned(), insider.published["root"].1.clone());
    let (mut done, mut gone) = (0, 0);
    let removals = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let publish = async {
        for round in 0..60 {
            let mut files = insider.tagged(&["targets", "targets/alice"], &format!("t{round}"));
            match refused(site.post(gun, &files).await).await {
                None => done += 1,
                // As an old client: it begins the repository again with what it has.
                Some(text) => {
                    gone += 1;
                    assert!(text.contains("root is missing") || text.contains("somebody else"), "{text}");
                    files.insert(0, root.clone());
                    files.insert(1, insider.file("targets/releases", insider.next("targets/releases")));
                    if let Some(text) = refused(site.post(gun, &files).await).await {
                        assert!(text.contains("root"), "{text}");
                        continue;
                    }
                }
            }
            insider.accepted(files);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let remove = async {
        while !is_over.load(Ordering::Relaxed) {
            let answer = site.request(Method::DELETE, &tuf(gun, "")).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            removals.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let work = async {
        tokio::join!(publish, remove);
    };
    let read = watched(&site, gun, true, work).await;
    let removals = removals.into_inner();
    assert!(done > 0 && gone > 0 && removals > 0, "{done} {gone} {removals}");
    println!("{done} publications, {gone} begun again, {removals} removals, read {read} times meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_between_publications_harm_nobody() {
    let site = Site::start();
    let gun = "registry.test:5000/races/rotated";
    let mut rotator = site.begin(gun, false).await;
    let mut publisher = rotator.clone();
    let is_over = AtomicBool::new(false);
    let publish = async {
        for round in 0..60 {
            let files = publisher.tagged(&["targets/alice"], &format!("t{round}"));
            assert_eq!(refused(site.post(gun, &files).await).await, None, "round {round}");
            publisher.accepted(files);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let rotate = async {
        let mut rotations = 0;
        while !is_over.load(Ordering::Relaxed) {
            for role in ["timestamp", "snapshot"] {
                let key = Key::public(&site.key(gun, role, Method::POST).await);
                *(if role == "timestamp" { &mut rotator.timestamp } else { &mut rotator.snapshot }) = key;
                let root = sign(&rotator.root_document(rotator.next("root")), &[&rotator.root]);
                site.publish(&mut rotator, vec![("root".into(), root)]).await;
                rotations += 1;
            }
        }
        rotations
    };
    let mut rotations = 0;
    let work = async {
        rotations = tokio::join!(publish, rotate).1;
    };
    let read = watched(&site, gun, false, work).await;
    assert!(rotations >= 2);
    site.is_readable(&publisher, &mut Reader::of(gun)).await;
    println!("60 publications, {rotations} rotations, read {read} times meanwhile");
}

/// Clients that hang up at any moment of what they asked for. What they sent may still come to
/// be stored later, whole.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_leave_everything_whole() {
    let site = Site::start();
    let gun = "registry.test:5000/races/hang-up";
    let mut honest = site.begin(gun, false).await;
    let (mut reader, mut attempts) = (Reader::of(gun), vec![honest.clone()]);
    let mut stored = BTreeSet::new();
    for round in 0..60_u64 {
        let seen = reader.read(&site).await.unwrap();
        let published = |insider: &Insider| insider.published["targets"].1 == *seen.top.targets().bytes();
        let at = attempts.iter().position(published).expect("something that was sent");
        stored.insert(at);
        let mut attempt = attempts[at].clone();
        let files = attempt.tagged(&["targets", "targets/alice"], &format!("t{round}"));
        let patience = Duration::from_micros(400 * (round % 30));
        let _gone = tokio::time::timeout(patience, site.post(gun, &files)).await;
        let key = site.request(Method::POST, &tuf(gun, "timestamp.key")).send();
        let _gone = tokio::time::timeout(patience, key).await;
        attempt.accepted(files);
        attempts.push(attempt);
        let files = honest.tagged(&["targets/releases"], &format!("h{round}"));
        while let Some(text) = refused(site.post(gun, &files).await).await {
            assert!(text.contains("somebody else published at the same moment"), "{text}");
        }
        honest.accepted(files);
    }
    println!("at least {} of 60 uploads were stored", stored.len() - 1);
    let seen = reader.read(&site).await.unwrap();
    assert!(
        honest
            .tags("targets/releases")
            .iter()
            .eq(seen.delegated["targets/releases"].payload().targets.keys())
    );
}
