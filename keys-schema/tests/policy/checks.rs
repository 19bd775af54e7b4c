//! Every check, with a case that is good but for one thing, which only this check refuses.

use std::collections::BTreeSet;

use bulla_keys_schema::attest::Kind;
use bulla_keys_schema::metadata::{Facts, ImageFacts};
use bulla_keys_schema::policy::{Case, CheckId, Decision, Outcome, Policy, Standing};
use serde_json::json;

use crate::fixture::*;

/// A rule that asks for everything that can be asked for.
const EVERYTHING: &str = r#"
require_digest = true
deny_tags = ["latest"]
tags = ["1.*", "latest"]
  [rule.signing]
  required = true
  signers = ["alice", "bob", "carol"]
  threshold = 2
  must_include = ["alice"]
  max_signature_age = "30d"
  platforms = "all"
  [[rule.attestation]]
  name = "scan"
  type = "vulns"
  signers = ["ci"]
  max_age = "24h"
  db_max_age = "48h"
  max_critical = 0
  max_high = 1
  max_medium = 2
  max_low = 3
  max_total = 5
  min_score = 90
  max_secrets = 0
  deny_eol_os = true
  [rule.image]
  user = "non-root"
  required_labels = ["build.date"]
  max_size = "100MB"
  max_layers = 10
  [rule.base]
  allow = ["docker.io/library/alpine"]
"#;
const HEAD: &str = "[registries]\nallow = [\"r.io\", \"bad.io\"]\nblock = [\"bad.io\"]";

fn everything(more: &str) -> Policy {
    let text = rule(HEAD, EVERYTHING)
        .replace("root_threshold = 1\n", "root_threshold = 1\nmetadata_max_age = \"24h\"\n");
    policy(&format!("{text}{more}"))
}

fn good() -> Case {
    let image = format!("r.io/app:1.0@sha256:{}", digest("image"));
    let mut case = case(&image, &["alice", "bob"]);
    case.attestations.push(Scan::default().listed("ci"));
    case
}

fn facts_of(case: &mut Case) -> &mut Facts {
    match &mut case.facts {
        Some(ImageFacts::Single(facts)) => facts,
        _ => panic!("no facts"),
    }
}

fn set_tag(case: &mut Case, tag: &str) {
    case.image.tag = Some(tag.parse().unwrap());
    signed(case).tag = tag.parse().unwrap();
}

fn set_scan(case: &mut Case, scan: &Scan) {
    case.attestations = vec![scan.listed("ci")];
}

fn set_findings(case: &mut Case, severities: &[&str]) {
    set_scan(case, &Scan::of(severities));
}

/// Spoils a good case so that one check fails.
type Spoil = fn(&mut Case);

/// Every check that looks at a case, but for those that say that there is no rule.
const SPOILT: &[(CheckId, Spoil)] = &[
    (CheckId::RefDigestRequired, |case| case.image.digest = None),
    (CheckId::RefTagDenied, |case| set_tag(case, "latest")),
    (CheckId::RefTagDenied, |case| set_tag(case, "2.0")),
    (CheckId::RefInvalid, |case| refused(case, CheckId::RefInvalid)),
    (CheckId::RefEmpty, |case| refused(case, CheckId::RefEmpty)),
    (CheckId::PolicyError, |case| refused(case, CheckId::PolicyError)),
    (CheckId::RevokedTag, |case| refused(case, CheckId::RevokedTag)),
    (CheckId::RevokedDigest, |case| refused(case, CheckId::RevokedDigest)),
    (CheckId::RevokedSigner, |case| refused(case, CheckId::RevokedSigner)),
    (CheckId::Quarantined, |case| refused(case, CheckId::Quarantined)),
    (CheckId::TrustNoRoot, |case| refused(case, CheckId::TrustNoRoot)),
    (CheckId::TrustNoData, |case| refused(case, CheckId::TrustNoData)),
    (CheckId::MetaExpired, |case| refused(case, CheckId::MetaExpired)),
    (CheckId::MetaExpired, |case| signed(case).valid_until = now()),
    (CheckId::MetaStale, |case| signed(case).fresh_at = Some(ago(25))),
    (CheckId::MetaStale, |case| signed(case).fresh_at = Some(ago(-1))),
    (CheckId::MetaStale, |case| signed(case).fresh_at = None),
    (CheckId::MetaRollback, |case| refused(case, CheckId::MetaRollback)),
    (CheckId::MetaThreshold, |case| refused(case, CheckId::MetaThreshold)),
    (CheckId::MetaThreshold, |case| signed(case).demands.threshold = 3),
    (CheckId::MetaThreshold, |case| {
        signed(case).demands.must_include = BTreeSet::from(["carol".parse().unwrap()]);
    }),
    (CheckId::TagUnknown, |case| refused(case, CheckId::TagUnknown)),
    (CheckId::TagMismatch, |case| case.image.digest = Some(digest("another"))),
    (CheckId::TagMismatch, |case| case.image.tag = Some("1.1".parse().unwrap())),
    (CheckId::TagMismatch, |case| refused(case, CheckId::TagMismatch)),
    (CheckId::SignThreshold, |case| drop(signed(case).signers.pop())),
    (CheckId::SignThreshold, |case| signed(case).signers[1].name = "mallory".parse().unwrap()),
    (CheckId::SignThreshold, |case| signed(case).signers[1].keys.clear()),
    (CheckId::SignThreshold, |case| signed(case).signers[1].expires = now()),
    (CheckId::SignThreshold, |case| signed(case).signers[1].keys = [key("alice")].into()),
    (CheckId::SignThreshold, |case| signed(case).signers[1].name = "alice".parse().unwrap()),
    (CheckId::SignMustInclude, |case| signed(case).signers[0] = voucher("carol")),
    (CheckId::SignExpired, |case| signed(case).signers[1].signed_at = Some(ago(31 * 24))),
    (CheckId::SignExpired, |case| signed(case).signers[1].signed_at = Some(ago(-1))),
    (CheckId::SignExpired, |case| signed(case).signers[1].signed_at = None),
    (CheckId::SignExpired, |case| {
        signed(case).signers[0].signed_at = None;
        signed(case).signers.push(voucher("carol"));
    }),
    (CheckId::AttMissing, |case| case.attestations.clear()),
    (CheckId::AttMissing, |case| case.attestations = vec![listed("ci", &sbom())]),
    (CheckId::AttMissing, |case| {
        case.attestations = vec![unusable("ci", Kind::Vulns, CheckId::AttMissing)];
    }),
    (CheckId::AttStale, |case| set_scan(case, &Scan { at: Some(ago(25)), ..Scan::default() })),
    (CheckId::AttStale, |case| {
        set_scan(case, &Scan { at: None, ..Scan::default() });
        case.attestations[0].signed_at = None;
    }),
    (CheckId::AttStale, |case| {
        set_scan(case, &Scan { at: Some(ago(-1)), ..Scan::default() });
        case.attestations[0].signed_at = Some(ago(-1));
    }),
    (CheckId::AttStale, |case| case.attestations[0].expires = now()),
    (CheckId::AttSigner, |case| case.attestations[0].signer = "mallory".parse().unwrap()),
    (CheckId::AttSigner, |case| {
        case.attestations = vec![unusable("ci", Kind::Vulns, CheckId::AttSigner)];
    }),
    (CheckId::AttSubject, |case| {
        case.attestations = vec![listed("ci", &Scan::default().statement(digest("another")))];
    }),
    (CheckId::AttFormat, |case| {
        case.attestations = vec![unusable("ci", Kind::Vulns, CheckId::AttFormat)];
    }),
    (CheckId::AttFormat, |case| {
        case.attestations = vec![unusable("ci", Kind::Vulns, CheckId::Internal)];
    }),
    (CheckId::AttFiltered, |case| set_scan(case, &Scan { arguments: None, ..Scan::default() })),
    (CheckId::DbStale, |case| set_scan(case, &Scan { database_at: Some(ago(49)), ..Scan::default() })),
    (CheckId::DbStale, |case| set_scan(case, &Scan { database_at: None, ..Scan::default() })),
    (CheckId::DbStale, |case| set_scan(case, &Scan { database_at: Some(ago(-1)), ..Scan::default() })),
    (CheckId::VulnCritical, |case| set_findings(case, &["CRITICAL"])),
    (CheckId::VulnHigh, |case| set_findings(case, &["HIGH"; 2])),
    (CheckId::VulnHigh, |case| set_findings(case, &["HIGH", "nobody knows"])),
    (CheckId::VulnMedium, |case| set_findings(case, &["MEDIUM"; 3])),
    (CheckId::VulnLow, |case| set_findings(case, &["LOW"; 4])),
    (CheckId::VulnLow, |case| set_findings(case, &["LOW", "LOW", "NEGLIGIBLE", "INFO"])),
    (CheckId::VulnTotal, |case| set_findings(case, &["HIGH", "MEDIUM", "MEDIUM", "LOW", "LOW", "LOW"])),
    (CheckId::SecretCount, |case| set_scan(case, &Scan { secrets: 1, ..Scan::default() })),
    (CheckId::SecretCount, |case| {
        set_scan(case, &Scan { arguments: Some(vec!["image --scanners vuln".into()]), ..Scan::default() });
    }),
    (CheckId::OsEol, |case| set_scan(case, &Scan { end_of_life: true, ..Scan::default() })),
    (CheckId::FactUser, |case| facts_of(case).user = "0:0".into()),
    (CheckId::FactSize, |case| facts_of(case).size = 100_000_001),
    (CheckId::FactLayers, |case| facts_of(case).layers = 11),
    (CheckId::FactLabel, |case| facts_of(case).labels = bulla_keys_schema::metadata::Labels::TooLong),
    (CheckId::FactLabel, |case| {
        facts_of(case).labels = bulla_keys_schema::metadata::Labels::Names(["build-date".to_owned()].into());
    }),
    (CheckId::BaseNotAllowed, |case| facts_of(case).base.as_mut().unwrap().name = "evil/alpine".into()),
    (CheckId::BaseNotAllowed, |case| facts_of(case).base.as_mut().unwrap().name = "no reference".into()),
    (CheckId::BaseNotAllowed, |case| facts_of(case).base = None),
    (CheckId::Internal, |case| refused(case, CheckId::Internal)),
];

#[test]
fn each_check_refuses_what_no_other_does() {
    allows(&everything(""), &good());
    for (id, spoil) in SPOILT {
        let mut case = good();
        spoil(&mut case);
        let verdict = everything("").evaluate(&case, now());
        let mut expected = vec![id.as_str()];
        // Who does not say how a scan was made does not say that secrets were looked for.
        if *id == CheckId::AttFiltered {
            expected.push("secret.count");
        }
        assert_eq!(failures(&verdict), expected, "{verdict:#?}");
        assert_eq!(verdict.decision, Decision::Deny, "{id}");
        assert_eq!(verdict.first_failure().unwrap().id, *id);
    }
}

#[test]
fn the_checks_of_registries_rules_and_scores_refuse_alone() {
    // Two highs and a medium are 11 points, and so is nothing else.
    let score = policy(&rule(
        "",
        "signing = { required = false }\n[[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\nsigners = [\"ci\"]\nmin_score = 90",
    ));
    let scored = |severities: &[&str]| {
        let mut case = good();
        set_findings(&mut case, severities);
        case
    };
    allows(&score, &scored(&["HIGH", "HIGH"]));
    refuses(&score, &scored(&["HIGH", "HIGH", "MEDIUM"]), &["vuln.score"]);
    refuses(&score, &scored(&["CRITICAL"; 11]), &["vuln.score"]);

    let lists = |head: &str| policy(&rule(head, "signing = { required = false }"));
    let mut case = good();
    refuses(&lists("[registries]\nblock = [\"r.io\"]"), &case, &["registry.blocked"]);
    refuses(&lists("[registries]\nblock = [\"*.io\", \"r.io/app\"]"), &case, &["registry.blocked"]);
    refuses(&lists("[registries]\nallow = [\"q.io\"]"), &case, &["registry.not_allowed"]);
    allows(&lists("[registries]\nallow = [\"r.io\"]"), &case);
    case.image.repository = "q.io/app".parse().unwrap();
    refuses(&lists(""), &case, &["policy.no_match"]);

    let mut case = good();
    case.facts = Some(index(&["linux/arm64"]));
    let platforms = policy(&rule("", "signing = { required = true, platforms = \"requested\" }"));
    refuses(&platforms, &case, &["sign.platform"]);
    case.facts = Some(index(&["linux/amd64"]));
    allows(&platforms, &case);
}

#[test]
fn how_large_the_image_is_unpacked_a_report_says() {
    let policy = policy(&rule(
        "",
        "signing = { required = false }\nimage = { max_unpacked_size = \"300MB\" }\n\
         [[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\nsigners = [\"ci\"]",
    ));
    let sized = |size| {
        let mut case = good();
        set_scan(&mut case, &Scan { size, ..Scan::default() });
        case
    };
    allows(&policy, &sized(Some(300_000_000)));
    refuses(&policy, &sized(Some(300_000_001)), &["fact.size"]);
    refuses(&policy, &sized(None), &["fact.size"]);
    let mut case = sized(Some(1));
    case.attestations[0].signer = "mallory".parse().unwrap();
    refuses(&policy, &case, &["att.signer", "fact.size"]);
}

#[test]
fn every_check_was_reached() {
    let mut reached: BTreeSet<CheckId> = SPOILT.iter().map(|(id, _)| *id).collect();
    // In the test above.
    reached.extend([
        CheckId::RegistryBlocked,
        CheckId::RegistryNotAllowed,
        CheckId::PolicyNoMatch,
        CheckId::VulnScore,
        CheckId::SignPlatform,
    ]);
    let all: BTreeSet<CheckId> = CheckId::ALL.iter().copied().collect();
    assert_eq!(all.difference(&reached).collect::<Vec<_>>(), Vec::<&CheckId>::new());
}

fn exception(check: CheckId) -> String {
    format!(
        "\n[[exception]]\nid = \"EX\"\nmatch = [\"r.io/*\"]\nchecks = [\"{check}\"]\n\
         expires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\"\n"
    )
}

#[test]
fn an_exception_takes_back_its_check_and_no_other() {
    for (id, spoil) in SPOILT.iter().filter(|(id, _)| id.can_be_excepted() && *id != CheckId::AttFiltered) {
        let mut case = good();
        spoil(&mut case);
        let policy = everything(&exception(*id));
        let verdict = policy.evaluate(&case, now());
        assert_eq!(outcome(&verdict, *id), Outcome::SkippedByException, "{id}: {verdict:#?}");
        assert!(verdict.exceptions[0].applied);
        // Where nobody vouches for anything, no signer does.
        let is_refused = matches!(case.standing, Standing::Refused { .. });
        assert_eq!(verdict.is_allowed(), !is_refused, "{id}: {verdict:#?}");
        if is_refused {
            assert!(failures(&verdict).contains(&"sign.threshold"));
        }
        // Of another check.
        let other = if *id == CheckId::OsEol { CheckId::VulnLow } else { CheckId::OsEol };
        let verdict = everything(&exception(other)).evaluate(&case, now());
        assert_eq!(outcome(&verdict, *id), Outcome::Fail, "{id}");
        assert!(!verdict.exceptions[0].applied);
    }
}

#[test]
fn what_is_protected_is_refused_in_audit_as_well() {
    let audit = |text: String| {
        text.replace("name = \"all\"", "name = \"all\"\nmode = \"audit\"\naudit_until = 2026-12-01T00:00:00Z")
    };
    let text = rule(HEAD, EVERYTHING)
        .replace("root_threshold = 1\n", "root_threshold = 1\nmetadata_max_age = \"24h\"\n");
    let policy = policy(&audit(text));
    for (id, spoil) in SPOILT {
        let mut case = good();
        spoil(&mut case);
        let verdict = policy.evaluate(&case, now());
        let stops = id.is_protected() || id.is_error();
        assert_eq!(verdict.decision == Decision::Deny, stops, "{id}");
        assert_eq!(verdict.would_deny.first() == Some(id), !stops, "{id}");
    }
    let mut case = good();
    case.image.repository = "bad.io/app".parse().unwrap();
    assert_eq!(policy.evaluate(&case, now()).decision, Decision::Deny);
}

#[test]
fn what_is_no_image_reference_has_a_verdict_as_well() {
    let verdict = everything("").refuse(CheckId::RefInvalid, "not an image reference", now());
    assert_eq!(verdict.decision, Decision::Deny);
    assert_eq!(failures(&verdict), ["ref.invalid"]);
    assert_eq!((verdict.rule, verdict.digest, verdict.valid_until), (None, None, None));
}

#[test]
fn a_value_that_is_required_must_be_that_value() {
    let wants = |value: &str| {
        policy(&rule(
            "",
            &format!(
                "signing = {{ required = false }}\n[[rule.attestation]]\nname = \"b\"\n\
                 predicate = \"https://example.com/attestation/docker-bench/v1\"\nsigners = [\"ci\"]\n\
                 require = {{ \"/result/fail\" = {value} }}"
            ),
        ))
    };
    let with = |value: serde_json::Value| {
        let mut case = good();
        case.attestations = vec![listed("ci", &bench(&value))];
        case
    };
    for (wanted, good) in [("0", json!(0)), ("\"0\"", json!("0")), ("false", json!(false))] {
        allows(&wants(wanted), &with(good));
    }
    for (wanted, bad) in [
        ("0", json!(1)),
        ("0", json!(-1)),
        ("0", json!(0.5)),
        ("0", json!("0")),
        ("0", json!(null)),
        ("0", json!([0])),
        ("0", json!(false)),
        ("false", json!(0)),
    ] {
        refuses(&wants(wanted), &with(bad), &["att.format"]);
    }
}
