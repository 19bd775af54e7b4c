//! Whom a policy trusts, and what `bulla sign --require-policy` leaves undone.

use bulla_tests::judged::Judged;
use bulla_tests::programs::expect;
use serde_json::Value;

const SIGNED: &str = "signing = { required = true, signers = ['alice'] }\n";
const SCANNED: &str = "[[rule.attestation]]\nname = 'scan'\ntype = 'vulns'\nsigners = ['scanner']\nmax_age = '24h'\nmax_high = 0\n";

fn first_failure(answer: &Value) -> &str {
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().find(|check| check["result"] == "fail").unwrap()["id"].as_str().unwrap()
}

#[test]
fn a_policy_pins_the_root_and_nothing_else_does() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    let (image, policy) = (judged.image("v1"), judged.policy(SIGNED));
    let user = judged.stranger();
    // Nothing is pinned in this home, and without the policy nothing is trusted.
    expect(&judged.server.user(), 10, &["verify", &image]);
    expect(&user, 0, &["verify", &image, "--policy", &policy]);
    assert!(!user.home("trust.toml").exists());
    expect(&user, 10, &["verify", &image, "--server", &judged.server.url]);

    let other = format!("sha256:{}", "1".repeat(64));
    let wrong = judged.policy_by(&other, SIGNED);
    let refused = expect(&judged.stranger(), 10, &["verify", &image, "--policy", &wrong, "--output", "json"]);
    assert_eq!(first_failure(&refused.json()), "trust.no_root");
    // What this home accepted by one policy does not make up for another's pin.
    let refused = expect(&user, 10, &["verify", &image, "--policy", &wrong, "--output", "json"]);
    assert_eq!(first_failure(&refused.json()), "trust.no_root");
}

#[test]
fn a_pin_of_the_home_and_that_of_a_policy_must_both_hold() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    let (image, policy) = (judged.image("v1"), judged.policy(SIGNED));
    let user = judged.stranger();
    let wrong = "2".repeat(64);
    expect(&user, 0, &["trust", "add", &judged.name, "--root-sha256", &wrong]);
    let refused = expect(&user, 10, &["verify", &image, "--policy", &policy, "--output", "json"]);
    assert_eq!(first_failure(&refused.json()), "trust.no_root");

    let root = expect(&judged.admin, 0, &["inspect", &judged.name]).json();
    let pinned = judged.stranger();
    expect(
        &pinned,
        0,
        &["trust", "add", &judged.name, "--root-sha256", root["root_sha256"].as_str().unwrap()],
    );
    expect(&pinned, 0, &["verify", &image, "--policy", &policy]);
    let other = judged.policy_by(&format!("sha256:{}", "1".repeat(64)), SIGNED);
    let refused = expect(&pinned, 10, &["verify", &image, "--policy", &other, "--output", "json"]);
    assert_eq!(first_failure(&refused.json()), "trust.no_root");
}

#[test]
fn a_home_that_pinned_a_later_root_follows_the_policy_from_the_first() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    judged.sign("v1", "alice");
    expect(&judged.admin, 0, &["rotate", &judged.name, "root"]);
    let root = expect(&judged.admin, 0, &["inspect", &judged.name]).json();
    let user = judged.stranger();
    expect(&user, 0, &["trust", "add", &judged.name, "--root-sha256", root["root_sha256"].as_str().unwrap()]);
    // The policy's key signed the first root; this home has pinned the second, which it signed too.
    let policy = judged.policy(SIGNED);
    expect(&user, 0, &["verify", &judged.image("v1"), "--policy", &policy]);
    expect(&user, 0, &["verify", &judged.image("v1"), "--policy", &policy]);
}

#[test]
fn what_would_be_refused_at_pull_is_not_signed_and_leaves_no_trace() {
    let judged = Judged::begin();
    let bad = judged.push("bad", "1000");
    judged.attest(bad, &["HIGH"]);
    let policy = judged.policy(&format!("{SIGNED}{SCANNED}[rule.image]\nuser = 'non-root'\n"));
    let before = expect(&judged.admin, 0, &["inspect", &judged.name]).stdout;
    let _ = judged.registry.written();
    let image = judged.image("bad");
    let sign = ["sign", &image, "--as", "alice", "--require-policy", &policy];
    let refused = expect(&judged.admin, 20, &[&sign[..], &["--output", "json"]].concat()).json();
    assert_eq!((first_failure(&refused), &refused["reference"]), ("vuln.high", &Value::Null));
    expect(&judged.admin, 20, &[&sign[..], &["--dry-run"]].concat());
    let root = judged.push("root", "");
    judged.attest(root, &[]);
    let before_root = expect(&judged.admin, 0, &["inspect", &judged.name]).stdout;
    let root = judged.image("root");
    expect(&judged.admin, 20, &["sign", &root, "--as", "alice", "--require-policy", &policy]);
    // The rule asks for alice.
    let good = judged.push("good", "1000");
    judged.attest(good, &["LOW"]);
    let good = judged.image("good");
    expect(&judged.admin, 12, &["sign", &good, "--as", "bob", "--require-policy", &policy]);
    assert!(judged.registry.written().is_empty());
    let tags = |text: &str| serde_json::from_str::<Value>(text).unwrap()["tags"].clone();
    let after = expect(&judged.admin, 0, &["inspect", &judged.name]).stdout;
    assert_eq!(tags(&before), tags(&after));
    assert_eq!(tags(&before_root), tags(&after));

    expect(&judged.admin, 0, &["sign", &good, "--as", "alice", "--require-policy", &policy]);
    expect(&judged.stranger(), 0, &["verify", &good, "--policy", &policy]);
    assert!(!judged.registry.written().is_empty(), "cosign finds it, too");
}

/// A rule may let an image pass for one platform and not for another.
#[test]
fn who_signs_by_a_policy_names_the_platform() {
    let judged = Judged::begin();
    let _ = judged.push("v1", "1000");
    let policy =
        judged.policy("signing = { required = true, signers = ['alice'], platforms = 'requested' }\n");
    let image = judged.image("v1");
    let sign = ["sign", &image, "--as", "alice", "--require-policy", &policy, "--output", "json"];
    let refused = expect(&judged.admin, 12, &sign).json();
    assert_eq!(first_failure(&refused), "sign.platform");
    let refused = expect(&judged.admin, 12, &[&sign[..], &["--platform", "linux/arm64"]].concat()).json();
    assert_eq!(first_failure(&refused), "sign.platform");
    expect(&judged.admin, 2, &["sign", &image, "--as", "alice", "--platform", "linux/amd64"]);
    expect(&judged.admin, 0, &[&sign[..], &["--platform", "linux/amd64"]].concat());
}
