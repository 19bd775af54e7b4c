//! The example of the specification, and where each requirement of its sources went.

use bulla_keys_schema::metadata::{Facts, ImageFacts, Labels};
use bulla_keys_schema::policy::{Case, CheckId, Decision, Mode, Outcome, TrustPin};
use serde_json::json;

use crate::fixture::*;

/// The good case of a rule with one thing spoilt, and the checks that have to fail.
#[track_caller]
fn spoilt(good: fn() -> Case, spoil: impl FnOnce(&mut Case), checks: &[&str]) {
    let mut case = good();
    allows(&example(), &case);
    spoil(&mut case);
    refuses(&example(), &case, checks);
}

fn with_facts(case: &mut Case, change: impl FnOnce(&mut Facts)) {
    let Some(ImageFacts::Single(facts)) = &mut case.facts else { panic!("no facts") };
    change(facts);
}

#[test]
fn it_is_read_as_it_is_meant() {
    let policy = example();
    assert_eq!(policy.name(), "company-images");
    assert_eq!(policy.version(), None);
    let names: Vec<&str> = policy.rules().iter().map(|rule| rule.name()).collect();
    assert_eq!(names, ["myapp", "production", "upstream", "lab"]);
    let upstream = &policy.rules()[2];
    assert_eq!(upstream.mode(), Mode::Audit { until: "2026-12-31T00:00:00Z".parse().unwrap() });
    let trust = policy.trust_of(&"registry.example.com/myapp/api".parse().unwrap()).unwrap();
    assert_eq!(trust.server.as_deref(), Some("https://trust.example.com"));
    assert!(matches!(&trust.pin, TrustPin::RootKeys { keys, threshold: 2 } if keys.len() == 2));
    assert_eq!(trust.metadata_max_age.map(|span| span.seconds()), Some(DAY));
    assert_eq!(trust.offline_grace.map(|span| span.seconds()), Some(2 * HOUR));
    let scanners = &policy.rules()[0].attestations()[0];
    let signers: Vec<&str> = scanners.signers().iter().map(|name| name.as_str()).collect();
    assert_eq!(signers, ["ci-trivy", "nightly-grype"]);
    let exception = &policy.exceptions()[0];
    assert_eq!(exception.checks.iter().copied().collect::<Vec<_>>(), [CheckId::VulnHigh]);
    assert_eq!(exception.ticket.as_deref(), Some("SEC-881"));
}

#[test]
fn good_images_pass() {
    for (case, rule) in [(myapp(), "myapp"), (production(), "production"), (upstream(), "upstream")] {
        let verdict = allows(&example(), &case);
        assert_eq!(verdict.rule.as_deref(), Some(rule));
        assert_eq!(verdict.digest, Some(digest("image")));
        assert!(verdict.would_deny.is_empty());
        assert!(verdict.valid_until.unwrap() > now());
    }
}

#[test]
fn registries_are_allowed_and_blocked() {
    refuses(
        &example(),
        &case("untrusted-registry.com/a:1", &[]),
        &["registry.blocked", "registry.not_allowed", "policy.no_match"],
    );
    refuses(&example(), &case("quay.io/a/b:1", &[]), &["registry.not_allowed", "policy.no_match"]);
    refuses(&example(), &case("registry.example.com/other/a:1", &[]), &["policy.no_match"]);
}

#[test]
fn bases_are_allowed() {
    spoilt(
        myapp,
        |case| with_facts(case, |facts| facts.base.as_mut().unwrap().name = "debian:12".into()),
        &["base.not_allowed"],
    );
    spoilt(myapp, |case| with_facts(case, |facts| facts.base = None), &["base.not_allowed"]);
    let mut case = myapp();
    with_facts(&mut case, |facts| {
        facts.base.as_mut().unwrap().name = "registry.example.com/base/go:1".into();
    });
    allows(&example(), &case);
}

#[test]
fn labels_sizes_layers_and_the_user_have_limits() {
    spoilt(myapp, |case| with_facts(case, |facts| facts.labels = Labels::TooLong), &["fact.label"]);
    spoilt(myapp, |case| with_facts(case, |facts| facts.size = 500_000_001), &["fact.size"]);
    spoilt(myapp, |case| with_facts(case, |facts| facts.layers = 21), &["fact.layers"]);
    spoilt(production, |case| with_facts(case, |facts| facts.size = 1_000_000_001), &["fact.size"]);
    spoilt(production, |case| with_facts(case, |facts| facts.layers = 31), &["fact.layers"]);
    spoilt(production, |case| with_facts(case, |facts| facts.user = "root".into()), &["fact.user"]);
    let mut case = myapp();
    with_facts(&mut case, |facts| (facts.size, facts.layers) = (500_000_000, 20));
    allows(&example(), &case);
}

#[test]
fn counts_have_the_limits_of_the_sources() {
    let scan = |severities: &[&str], signer: &str| Scan::of(severities).listed(signer);
    let myapp_with = |severities: &[&str]| {
        let mut case = myapp();
        case.attestations = vec![scan(severities, "ci-trivy")];
        case
    };
    allows(&example(), &myapp_with(&[&["HIGH"; 2][..], &["MEDIUM"; 10]].concat()));
    refuses(&example(), &myapp_with(&["CRITICAL"]), &["vuln.critical"]);
    refuses(&example(), &myapp_with(&["HIGH", "HIGH", "weird"]), &["vuln.high"]);
    refuses(&example(), &myapp_with(&["MEDIUM"; 11]), &["vuln.medium"]);
    let production_with = |severities: &[&str]| {
        let mut case = production();
        case.attestations[0] = scan(severities, "ci-trivy");
        case
    };
    allows(&example(), &production_with(&["HIGH", "MEDIUM", "LOW"]));
    refuses(&example(), &production_with(&["CRITICAL"]), &["vuln.critical"]);
    refuses(&example(), &production_with(&["HIGH"; 2]), &["vuln.high"]);
    refuses(&example(), &production_with(&["MEDIUM"; 6]), &["vuln.medium"]);
    refuses(&example(), &production_with(&["LOW"; 51]), &["vuln.total"]);
    refuses(&example(), &production_with(&["HIGH"; 5]), &["vuln.high", "vuln.score"]);
}

#[test]
fn secrets_and_old_systems_are_refused() {
    let production_with = |scan: Scan| {
        let mut case = production();
        case.attestations[0] = scan.listed("ci-trivy");
        case
    };
    refuses(&example(), &production_with(Scan { secrets: 1, ..Scan::default() }), &["secret.count"]);
    let blind = Scan { arguments: Some(vec!["image --scanners vuln".into()]), ..Scan::default() };
    refuses(&example(), &production_with(blind), &["secret.count"]);
    refuses(&example(), &production_with(Scan { end_of_life: true, ..Scan::default() }), &["os.eol"]);
}

#[test]
fn signed_by_those_and_scanned() {
    spoilt(myapp, |case| signed(case).signers = vec![voucher("qa-lead")], &["sign.threshold"]);
    spoilt(myapp, |case| refused(case, CheckId::TagUnknown), &["tag.unknown"]);
    spoilt(production, |case| signed(case).signers = vec![voucher("security-lead")], &["sign.threshold"]);
    spoilt(
        production,
        |case| signed(case).signers = vec![voucher("myapp-signer"), voucher("qa-lead")],
        &["sign.must_include"],
    );
    spoilt(myapp, |case| case.attestations.clear(), &["att.missing"]);
    spoilt(production, |case| drop(case.attestations.remove(1)), &["att.missing"]);
    spoilt(production, |case| drop(case.attestations.remove(2)), &["att.missing"]);
    spoilt(
        production,
        |case| case.attestations[2] = listed("security-lead", &bench(&json!(1))),
        &["att.format"],
    );
    spoilt(production, |case| case.attestations[2] = listed("qa-lead", &bench(&json!(0))), &["att.signer"]);
}

#[test]
fn tags_and_digests_are_pinned() {
    for tag in ["latest", "1.0-unsafe"] {
        let mut case = myapp();
        case.image.tag = Some(tag.parse().unwrap());
        signed(&mut case).tag = tag.parse().unwrap();
        refuses(&example(), &case, &["ref.tag_denied"]);
    }
    spoilt(production, |case| case.image.digest = None, &["ref.digest_required"]);
}

#[test]
fn everything_is_timely() {
    spoilt(myapp, |case| signed(case).fresh_at = Some(ago(25)), &["meta.stale"]);
    spoilt(myapp, |case| signed(case).signers[0].signed_at = Some(ago(181 * 24)), &["sign.expired"]);
    spoilt(
        myapp,
        |case| case.attestations = vec![Scan { at: Some(ago(25)), ..Scan::default() }.listed("ci-trivy")],
        &["att.stale"],
    );
    spoilt(
        myapp,
        |case| {
            let scan = Scan { database_at: Some(ago(49)), ..Scan::default() };
            case.attestations = vec![scan.listed("ci-trivy")];
        },
        &["db.stale"],
    );
}

#[test]
fn what_has_a_fix_is_given_time() {
    let with = |findings| {
        let mut case = myapp();
        case.attestations = vec![Scan::with(findings).listed("ci-trivy")];
        case
    };
    let published = |hours| Some(ago(hours));
    allows(&example(), &with(vec![mended("CVE-1", "CRITICAL", published(23))]));
    refuses(&example(), &with(vec![mended("CVE-1", "CRITICAL", published(25))]), &["vuln.critical"]);
    refuses(&example(), &with(vec![mended("CVE-1", "CRITICAL", None)]), &["vuln.critical"]);
    let high = |hours| (0..3).map(|n| mended(&format!("CVE-{n}"), "HIGH", published(hours))).collect();
    allows(&example(), &with(high(7 * 24 - 1)));
    refuses(&example(), &with(high(7 * 24 + 1)), &["vuln.high"]);
}

#[test]
fn the_exception_takes_one_vulnerability_out() {
    let highs = |last: &str| {
        let mut case = myapp();
        let ids = ["CVE-1", "CVE-2", last];
        case.attestations = vec![Scan::with(ids.map(|id| finding(id, "HIGH")).to_vec()).listed("ci-trivy")];
        case
    };
    refuses(&example(), &highs("CVE-3"), &["vuln.high"]);
    let verdict = allows(&example(), &highs("CVE-2022-4304"));
    assert_eq!(outcome(&verdict, CheckId::VulnHigh), Outcome::SkippedByException);
    assert!(verdict.exceptions[0].applied);
    let mut elsewhere = highs("CVE-2022-4304");
    elsewhere.image.repository = "registry.example.com/myapp/web".parse().unwrap();
    refuses(&example(), &elsewhere, &["vuln.high"]);
}

#[test]
fn upstream_is_watched_until_its_day() {
    let mut case = upstream();
    case.attestations.clear();
    let verdict = example().evaluate(&case, now());
    assert_eq!(verdict.decision, Decision::Allow);
    assert_eq!(verdict.would_deny, [CheckId::AttMissing]);
    let until = "2026-12-31T00:00:00Z".parse().unwrap();
    assert_eq!(verdict.audit_until, Some(until));
    assert_eq!(example().evaluate(&case, until).decision, Decision::Deny);
}

#[test]
fn the_laboratory_needs_no_signature() {
    let mut case = case("localhost:5000/app:latest", &[]);
    refused(&mut case, CheckId::TrustNoRoot);
    case.facts = None;
    let verdict = allows(&example(), &case);
    assert_eq!(verdict.rule.as_deref(), Some("lab"));
}
