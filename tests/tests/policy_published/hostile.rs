//! Who holds keys, or serves the repository, and wants an older or a weaker policy to decide.

use super::*;

/// The policy that was used, and then something else in its place.
fn used(site: &Site) -> Cli {
    site.say(2, BOB);
    let user = site.consumer();
    site.verify(&user, 12, &[]);
    user
}

fn require_rollback(site: &Site, user: &Cli) {
    let refused = site.verify(user, 15, &[]);
    assert_eq!((failed(&refused), &refused["reference"]), ("meta.rollback", &Value::Null));
    expect(user, 15, &["policy", "show", &site.repo]);
}

#[test]
fn a_lower_version_is_refused_however_well_it_is_signed() {
    let site = Site::begin();
    let user = used(&site);
    site.list("targets", "default", &site.text(1, ALICE));
    // It is signed as well as any: whoever never saw the other takes it.
    site.verify(&site.consumer(), 0, &[]);
    require_rollback(&site, &user);
    // A cache can be lost; what was used is not kept there.
    std::fs::remove_dir_all(user.home("cache")).unwrap();
    require_rollback(&site, &user);
    // Another home of the publisher, too, says no.
    site.publish(2, &site.file(1, ALICE), &[]);
    // The way back leads forward.
    site.publish(0, &site.file(3, ALICE), &[]);
    site.verify(&user, 0, &[]);
}

#[test]
fn one_version_has_one_content() {
    let site = Site::begin();
    let user = used(&site);
    site.list("targets", "default", &site.text(2, ALICE));
    site.verify(&site.consumer(), 0, &[]);
    require_rollback(&site, &user);
}

#[test]
fn what_was_used_and_is_gone_refuses() {
    let site = Site::begin();
    let user = used(&site);
    site.rewrite("targets", vec![], &|targets| targets.clear());
    require_rollback(&site, &user);
    let never = site.verify(&site.consumer(), 3, &[]);
    assert_eq!(failed(&never), "policy.error");
}

#[test]
fn a_record_that_cannot_be_read_refuses() {
    let site = Site::begin();
    let user = used(&site);
    site.say(3, ALICE);
    let record = user.home("policies.toml");
    let known = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, "version = 1\n[[policy]]\n").unwrap();
    expect(&user, 3, &["verify", &site.image, "--policy-from", &site.repo]);
    std::fs::write(&record, known).unwrap();
    site.verify(&user, 0, &[]);
}

#[test]
fn a_policy_that_cannot_be_read_is_not_skipped() {
    let site = Site::begin();
    let (user, file) = (site.consumer(), site.judged.policy(ALICE));
    let text = site.text(1, ALICE);
    for odd in [
        text.replace("policy = 1\n", "policy = 2\n"),
        format!("surprise = 1\n{text}"),
        text.replace("version = 1\n", ""),
        "\u{0}".to_owned(),
        format!("{text}{}", "# \n".repeat(400_000)),
    ] {
        site.list("targets", "default", &odd);
        let refused = site.verify(&user, 3, &["--policy", &file]);
        assert_eq!(failed(&refused), "policy.error");
        expect(&user, 3, &["policy", "show", &site.repo]);
    }
    site.list("targets", "default", &text);
    site.verify(&user, 0, &["--policy", &file]);
}

#[test]
fn bytes_that_nobody_gives_out_refuse() {
    let site = Site::begin();
    let bytes = Bytes::from(site.text(1, ALICE));
    let entry = entry(&bytes);
    site.rewrite("targets", vec![], &|targets| {
        targets.insert("policy/default.toml".to_owned(), entry.clone());
    });
    let refused = site.verify(&site.consumer(), 10, &[]);
    assert_eq!(failed(&refused), "trust.no_data");
}

#[test]
fn nobody_trusts_on_first_use() {
    let site = Site::begin();
    site.say(1, ALICE);
    // The image is pinned by the policy's own [trust]; the policy is pinned by nobody.
    let stranger = site.judged.server.user();
    let refused = site.verify(&stranger, 10, &[]);
    assert_eq!(failed(&refused), "trust.no_root");
    expect(&stranger, 10, &["policy", "show", &site.repo]);
    let file = site.judged.policy(ALICE);
    assert_eq!(failed(&site.verify(&stranger, 10, &["--policy", &file])), "trust.no_root");
    let wrong = "1".repeat(64);
    expect(&stranger, 0, &["trust", "add", &site.repo, "--root-sha256", &wrong]);
    assert_eq!(failed(&site.verify(&stranger, 10, &[])), "trust.no_root");
    assert!(!stranger.home("policies.toml").exists());
}

#[test]
fn who_attests_or_signs_tags_says_nothing_about_policies() {
    let site = Site::begin();
    site.add_role("alice", &["*"]);
    site.add_role("scanner", &["att/**"]);
    site.add_role("rules", &["policy/*"]);
    site.say(1, BOB);
    let weak = site.text(9, ALICE);
    for role in ["alice", "scanner"] {
        site.list(role, "default", &weak);
        assert_eq!(failed(&site.verify(&site.consumer(), 12, &[])), "sign.threshold", "{role}");
        site.list(role, "prod", &weak);
    }
    let user = site.consumer();
    expect(&user, 3, &["policy", "show", &site.repo, "--name", "prod"]);
    let prod = format!("{}#prod", site.repo);
    expect(&user, 3, &["verify", &site.image, "--policy-from", &prod]);
}

#[test]
fn who_speaks_for_more_than_policies_decides_none() {
    let site = Site::begin();
    for (role, patterns) in [("wide", &["*/*"][..]), ("mixed", &["policy/*", "att/**"])] {
        site.add_role(role, patterns);
        site.list(role, role, &site.text(1, ALICE));
        let from = format!("{}#{role}", site.repo);
        let asked = ["verify", &site.image, "--policy-from", &from, "--output", "json"];
        let refused = expect(&site.consumer(), 3, &asked).json();
        assert_eq!(failed(&refused), "policy.error", "{role}");
        assert!(refused.to_string().contains("more than policies"), "{refused:#}");
    }
}
