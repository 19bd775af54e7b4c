//! What holds whatever the numbers are.

use bulla_keys_schema::metadata::{ChildFacts, ImageFacts};
use bulla_keys_schema::policy::{Case, CheckId, Policy};
use proptest::prelude::*;
use serde_json::Value;

use crate::fixture::*;

const SEVERITIES: [&str; 7] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "NEGLIGIBLE", "UNKNOWN", "odd"];

/// Findings of few names and all severities, with and without a fix, old and new.
fn findings() -> impl Strategy<Value = Vec<Value>> {
    let one = (0..6_u32, 0..SEVERITIES.len(), any::<bool>(), proptest::option::of(-2..60_i64));
    let finding = one.prop_map(|(name, severity, has_fix, days)| {
        let (id, severity) = (format!("CVE-2030-{name}"), SEVERITIES[severity]);
        if has_fix { mended(&id, severity, days.map(|days| ago(24 * days))) } else { finding(&id, severity) }
    });
    proptest::collection::vec(finding, 0..12)
}

/// Limits of every sort, each or not.
fn limits() -> impl Strategy<Value = String> {
    let limit = |name: &'static str, most: u64| {
        proptest::option::of(0..=most)
            .prop_map(move |limit| limit.map(|limit| format!("{name} = {limit}\n")).unwrap_or_default())
    };
    let words = [
        "",
        "count_by = \"cve\"\n",
        "unknown_as = \"low\"\n",
        "fix_within = { high = \"30d\", low = \"7d\" }\n",
    ];
    (
        limit("max_critical", 3),
        limit("max_high", 4),
        limit("max_medium", 4),
        limit("max_low", 4),
        limit("max_total", 8),
        limit("min_score", 100),
        proptest::sample::subsequence(words.to_vec(), 0..=words.len()),
    )
        .prop_map(|(a, b, c, d, e, f, words)| [a, b, c, d, e, f, words.concat()].concat())
}

fn scanned(limits: &str, more: &str) -> Policy {
    policy(&rule(
        "",
        &format!(
            "signing = {{ required = true }}\n[[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\n\
             signers = [\"ci\"]\n{limits}{more}"
        ),
    ))
}

fn with(findings: Vec<Value>) -> Case {
    let mut case = case("r.io/app:1.0", &["alice"]);
    case.attestations = vec![Scan::with(findings).listed("ci")];
    case
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_further_finding_never_lets_an_image_pass(
        findings in findings(), more in findings(), limits in limits(), excepted in 0..8_u32,
    ) {
        let exception = format!(
            "[[exception]]\nid = \"E\"\nmatch = [\"r.io/**\"]\nchecks = [\"vuln.high\", \"vuln.total\"]\n\
             vulnerabilities = [\"CVE-2030-{excepted}\"]\nexpires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\""
        );
        let policy = scanned(&limits, &exception);
        let all = [findings.clone(), more].concat();
        let (before, after) = (policy.evaluate(&with(findings), now()), policy.evaluate(&with(all), now()));
        prop_assert!(before.is_allowed() || !after.is_allowed(), "{before:#?}\n{after:#?}");
    }

    #[test]
    fn a_stricter_limit_never_lets_an_image_pass(findings in findings(), limit in 0..10_u64) {
        let case = with(findings);
        for name in ["max_critical", "max_high", "max_medium", "max_low", "max_total"] {
            let judge = |limit| scanned(&format!("{name} = {limit}\n"), "").evaluate(&case, now()).is_allowed();
            prop_assert!(judge(limit + 1) || !judge(limit), "{name}");
        }
    }

    #[test]
    fn exceptions_do_not_reach_what_is_protected(
        standing in proptest::sample::select(CheckId::ALL.to_vec()),
        excepted in proptest::sample::subsequence(
            CheckId::ALL.iter().copied().filter(|id| id.can_be_excepted()).collect::<Vec<_>>(), 1..20,
        ),
    ) {
        let checks: Vec<String> = excepted.iter().map(|id| format!("\"{id}\"")).collect();
        let exception = format!(
            "[[exception]]\nid = \"E\"\nmatch = [\"r.io/**\"]\nchecks = [{}]\n\
             expires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\"",
            checks.join(", ")
        );
        let mut case = with(Vec::new());
        refused(&mut case, standing);
        let verdict = scanned("", &exception).evaluate(&case, now());
        if standing.is_protected() || standing.is_error() {
            prop_assert!(!verdict.is_allowed(), "{standing}");
            prop_assert!(failures(&verdict).contains(&standing.as_str()));
        }
        // And the other way round: what is not excepted refuses.
        if !excepted.contains(&standing) {
            prop_assert!(!verdict.is_allowed(), "{standing}");
        }
    }

    #[test]
    fn more_signers_never_hurt_and_fewer_never_help(
        signers in proptest::collection::vec((0..4_usize, 0..4_usize, 0..60_i64), 0..6),
        threshold in 1..4_usize,
    ) {
        let policy = policy(&rule(
            "",
            &format!("signing = {{ required = true, threshold = {threshold}, max_signature_age = \"30d\" }}"),
        ));
        let allowed = |signers: &[(usize, usize, i64)]| {
            let mut case = with(Vec::new());
            signed(&mut case).signers = signers
                .iter()
                .map(|(name, own, days)| bulla_keys_schema::policy::Voucher {
                    keys: [key(&format!("k{own}"))].into(),
                    signed_at: Some(ago(24 * days)),
                    ..voucher(&format!("s{name}"))
                })
                .collect();
            policy.evaluate(&case, now()).is_allowed()
        };
        // With one key each, names and keys that are all different are what is counted.
        let fresh: Vec<_> = signers.iter().filter(|(_, _, days)| *days <= 30).copied().collect();
        let names: std::collections::BTreeSet<_> = fresh.iter().map(|(name, _, _)| name).collect();
        let keys: std::collections::BTreeSet<_> = fresh.iter().map(|(_, own, _)| own).collect();
        if allowed(&signers) {
            prop_assert!(names.len() >= threshold && keys.len() >= threshold);
        }
        let apart = names.len() == fresh.len() && keys.len() == fresh.len();
        if apart && fresh.len() == signers.len() {
            prop_assert_eq!(allowed(&signers), fresh.len() >= threshold);
        }
    }

    #[test]
    fn whatever_is_unknown_about_an_image_refuses(
        rules in proptest::sample::subsequence(
            vec!["user = \"non-root\"", "required_labels = [\"a\"]", "max_size = \"1GB\"", "max_layers = 5"], 1..4,
        ),
        index in any::<bool>(),
    ) {
        let policy = policy(&rule(
            "", &format!("signing = {{ required = true }}\n[rule.image]\n{}", rules.join("\n")),
        ));
        let mut case = with(Vec::new());
        case.facts = None;
        if index {
            let platform = "linux/amd64".parse().unwrap();
            let child = ChildFacts { platform, digest: digest("child"), facts: None };
            case.facts = Some(ImageFacts::Index(vec![child]));
        }
        prop_assert_eq!(failures(&policy.evaluate(&case, now())).len(), rules.len());
    }
}
