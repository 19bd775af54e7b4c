//! The drills in `examples/drills`, as they are written there: the commands of the files, typed by
//! several people against the real programs, while clients of others follow.

mod drill;
mod site;
mod stolen_server;
mod stolen_signer;

use std::collections::BTreeSet;

use crate::drill::Mode;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_root_key() {
    root_key_is_lost(Mode::Spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_root_key_in_legacy_mode() {
    root_key_is_lost(Mode::Legacy).await;
}

async fn root_key_is_lost(mode: Mode) {
    let mut site = Site::new("lost-root-key.md", mode);
    site.through("Rehearsal");
    let watchers = site.watchers().await;
    watchers.see(&site, "1.0").await;
    site.through("3. ");
    watchers.see(&site, "1.0").await;
    site.through("4. ");
    watchers.see(&site, "1.1").await;
    site.watchers().await.see(&site, "1.1").await;
    site.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_targets_key() {
    targets_key_is_lost(Mode::Spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_targets_key_in_legacy_mode() {
    targets_key_is_lost(Mode::Legacy).await;
}

async fn targets_key_is_lost(mode: Mode) {
    let mut site = Site::new("lost-targets-key.md", mode);
    site.through("Rehearsal");
    let watchers = site.watchers().await;
    watchers.see(&site, "1.0").await;
    site.through("2. ");
    watchers.see(&site, "1.0").await;
    site.through("3. ");
    watchers.see(&site, "1.1").await;
    watchers.see(&site, "1.0").await;
    site.watchers().await.see(&site, "1.1").await;
    site.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_root_key_where_one_of_two_is_enough() {
    let mut site = Site::new("lost-root-key-notary.md", Mode::Legacy);
    site.through("1. Two keys");
    let watchers = site.watchers().await;
    watchers.see(&site, "1.0").await;
    site.through("2. Put");
    watchers.see(&site, "1.0").await;
    site.finish();
    watchers.see(&site, "1.1").await;
    site.watchers().await.see(&site, "1.1").await;
}

/// A drill that nobody runs is a text that nobody checked.
#[test]
fn every_drill_is_run_and_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/drills");
    let files =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.collect();
    let listed = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let run =
        concat!(include_str!("main.rs"), include_str!("stolen_server.rs"), include_str!("stolen_signer.rs"));
    for file in files.iter().filter(|file| *file != "README.md") {
        assert!(listed.contains(&format!("({file})")), "{file} is not in the list");
        assert!(run.contains(&format!("\"{file}\"")), "{file} is not run");
    }
}
