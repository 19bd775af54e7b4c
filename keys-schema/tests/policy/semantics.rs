//! The rows of the specification's table of semantics that are not about loading.

use bulla_keys_schema::attest::Kind;
use bulla_keys_schema::policy::{Case, CheckId, Decision, Outcome, Policy};
use serde_json::json;

use crate::fixture::*;

const UNSIGNED: &str = "signing = { required = false }";

/// A rule with one entry for scans, and `limits` in it.
fn scanned(limits: &str) -> Policy {
    policy(&rule(
        "",
        &format!(
            "{UNSIGNED}\n[[rule.attestation]]\nname = \"scan\"\ntype = \"vulns\"\nsigners = [\"ci\", \"cd\"]\n{limits}"
        ),
    ))
}

fn good() -> Case {
    case("r.io/app:1.0", &["alice"])
}

fn attested(attestations: Vec<bulla_keys_schema::policy::ListedAttestation>) -> Case {
    Case { attestations, ..good() }
}

#[test]
fn the_narrowest_rule_is_the_one() {
    let rules = "signing = { required = false }\n\
        [[rule]]\nname = \"team\"\nmatch = [\"r.io/team/**\"]\nsigning = { required = false }\n\
        [[rule]]\nname = \"one part\"\nmatch = [\"r.io/team/a*\"]\nsigning = { required = false }\n\
        [[rule]]\nname = \"any of two\"\nmatch = [\"r.io/*/*\"]\nsigning = { required = false }\n\
        [[rule]]\nname = \"app\"\nmatch = [\"r.io/team/app\", \"q.io/x\"]\nsigning = { required = false }";
    let policy = policy(&rule("", rules));
    for (name, rule) in [
        ("r.io/team/app", Some("app")),
        ("q.io/x", Some("app")),
        ("r.io/team/abc", Some("one part")),
        ("r.io/team/xyz", Some("team")),
        ("r.io/team/x/y", Some("team")),
        ("r.io/other/x", Some("all")),
        ("r.io/x", Some("all")),
        ("q.io/y", None),
    ] {
        let found = policy.rule(&name.parse().unwrap()).map(|rule| rule.name().to_owned());
        assert_eq!(found.as_deref(), rule, "{name}");
    }
}

#[test]
fn the_default_is_to_refuse_or_to_watch_until_a_day() {
    let mut case = good();
    case.image.repository = "q.io/app".parse().unwrap();
    refuses(&policy(&rule("", UNSIGNED)), &case, &["policy.no_match"]);
    refuses(&policy(&rule("default = \"deny\"", UNSIGNED)), &case, &["policy.no_match"]);
    let audit = policy(&rule("default = \"audit\"\naudit_until = 2026-12-01T00:00:00Z", UNSIGNED));
    let verdict = audit.evaluate(&case, now());
    assert_eq!((verdict.decision, verdict.would_deny), (Decision::Allow, vec![CheckId::PolicyNoMatch]));
    assert_eq!(audit.evaluate(&case, "2026-12-01T00:00:00Z".parse().unwrap()).decision, Decision::Deny);
    refused(&mut case, CheckId::RevokedDigest);
    assert_eq!(audit.evaluate(&case, now()).decision, Decision::Deny);
}

#[test]
fn the_first_failure_in_order_decides() {
    let text = "deny_tags = [\"*\"]\nsigning = { required = true }\n[rule.image]\nmax_layers = 1";
    let policy = policy(&rule("[registries]\nblock = [\"r.io\"]\nallow = [\"q.io\"]", text));
    let mut case = good();
    refused(&mut case, CheckId::RevokedDigest);
    refuses(
        &policy,
        &case,
        &["registry.blocked", "revoked.digest", "registry.not_allowed", "ref.tag_denied"],
    );
    let mut case = good();
    signed(&mut case).signers.clear();
    refuses(
        &policy,
        &case,
        &["registry.blocked", "registry.not_allowed", "ref.tag_denied", "sign.threshold", "fact.layers"],
    );
    let order: Vec<CheckId> = policy.evaluate(&case, now()).checks.iter().map(|check| check.id).collect();
    assert!(order.is_sorted() && CheckId::ALL.iter().all(|id| order.contains(id)));
}

#[test]
fn thresholds_count_people() {
    let policy = |signing: &str| policy(&rule("", &format!("[rule.signing]\nrequired = true\n{signing}")));
    let two = "threshold = 2";
    let with = |signers: &[(&str, &[&str])]| {
        let mut case = good();
        signed(&mut case).signers = signers
            .iter()
            .map(|(name, keys)| bulla_keys_schema::policy::Voucher {
                keys: keys.iter().map(|name| key(name)).collect(),
                ..voucher(name)
            })
            .collect();
        case
    };
    allows(&policy(two), &with(&[("a", &["1"]), ("b", &["2"])]));
    // One person with two keys, one key with two names, two names and a third that ties them together.
    refuses(&policy(two), &with(&[("a", &["1", "2"])]), &["sign.threshold"]);
    refuses(&policy(two), &with(&[("a", &["1"]), ("a", &["2"])]), &["sign.threshold"]);
    refuses(&policy(two), &with(&[("a", &["1"]), ("b", &["1"])]), &["sign.threshold"]);
    refuses(&policy(two), &with(&[("a", &["1"]), ("b", &["2"]), ("c", &["1", "2"])]), &["sign.threshold"]);
    refuses(&policy(two), &with(&[("a", &["1"]), ("b", &[])]), &["sign.threshold"]);
    refuses(&policy(""), &with(&[]), &["sign.threshold"]);
    allows(&policy(""), &with(&[("whoever", &["1"])]));
    // Who is mandatory and shares the key of another does not make it two.
    let named = "signers = [\"a\", \"b\"]\nthreshold = 2\nmust_include = [\"b\"]";
    refuses(&policy(named), &with(&[("a", &["1"]), ("b", &["1"])]), &["sign.threshold"]);
    refuses(&policy(named), &with(&[("a", &["1"]), ("c", &["3"])]), &["sign.threshold", "sign.must_include"]);
    allows(&policy(named), &with(&[("a", &["1"]), ("b", &["2"])]));
}

#[test]
fn an_old_signature_counts_where_enough_others_are_new() {
    let policy =
        policy(&rule("", "[rule.signing]\nrequired = true\nthreshold = 2\nmax_signature_age = \"30d\""));
    let mut case = case("r.io/app:1", &["a", "b", "c"]);
    signed(&mut case).signers[0].signed_at = Some(ago(40 * 24));
    allows(&policy, &case);
    signed(&mut case).signers[1].signed_at = None;
    refuses(&policy, &case, &["sign.expired"]);
    // At the very end of its time it still counts, and so does one that is a little ahead.
    signed(&mut case).signers[1].signed_at = Some(ago(30 * 24));
    signed(&mut case).signers[2].signed_at = Some(now().plus_seconds(300));
    allows(&policy, &case);
}

#[test]
fn signed_metadata_demands_more_and_no_policy_less() {
    let lax = policy(&rule(
        "",
        "[rule.signing]\nrequired = true\n[[exception]]\nid = \"E\"\nmatch = [\"r.io/**\"]\n\
         checks = [\"sign.threshold\"]\nexpires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\"",
    ));
    let mut case = good();
    signed(&mut case).demands.threshold = 2;
    refuses(&lax, &case, &["meta.threshold"]);
    signed(&mut case).signers.push(voucher("bob"));
    allows(&lax, &case);
    signed(&mut case).signers[1].keys = [key("alice")].into();
    refuses(&lax, &case, &["meta.threshold"]);
}

#[test]
fn the_newest_valid_report_counts() {
    let at = |hours, severities: &[&str], signer: &str| {
        Scan { at: Some(ago(hours)), ..Scan::of(severities) }.listed(signer)
    };
    let policy = scanned("max_critical = 0");
    let (good, bad) = (&[][..], &["CRITICAL"][..]);
    // An older, better report does not come back, whichever place it stands at.
    refuses(&policy, &attested(vec![at(5, good, "ci"), at(2, bad, "ci")]), &["vuln.critical"]);
    refuses(&policy, &attested(vec![at(2, bad, "cd"), at(5, good, "ci")]), &["vuln.critical"]);
    allows(&policy, &attested(vec![at(2, good, "ci"), at(5, bad, "ci")]));
    // Nor does it by being attested again: the scan is as old as it is.
    let mut again = at(5, good, "ci");
    again.signed_at = Some(now());
    refuses(&policy, &attested(vec![again, at(2, bad, "ci")]), &["vuln.critical"]);
    // A newer one that is invalid does not erase the older one, and is reported.
    for broken in [
        unusable("ci", Kind::Vulns, CheckId::AttFormat),
        at(1, bad, "mallory"),
        at(-1, good, "ci"),
        listed("ci", &Scan::of(bad).statement(digest("another"))),
    ] {
        let ahead = broken.signer.as_str() == "ci"
            && broken.content.as_ref().is_ok_and(|said| said.scanned_at > Some(now()));
        let broken = if ahead {
            bulla_keys_schema::policy::ListedAttestation { signed_at: Some(ago(-1)), ..broken }
        } else {
            broken
        };
        let verdict = allows(&policy, &attested(vec![at(5, good, "ci"), broken]));
        let check = verdict.checks.iter().find(|check| check.id == CheckId::AttMissing).unwrap();
        assert!(check.detail.contains("not used"), "{check:?}");
    }
}

#[test]
fn an_index_is_attested_as_a_whole_or_image_by_image() {
    let clean = |subject: &str| listed("ci", &Scan::default().statement(digest(subject)));
    let bad = |subject: &str| listed("ci", &Scan::of(&["CRITICAL"]).statement(digest(subject)));
    let (amd, arm) = ("linux/amd64", "linux/arm64");
    let with = |attestations: Vec<_>| {
        let mut case = attested(attestations);
        case.facts = Some(index(&[amd, arm, "unknown/unknown"]));
        case
    };
    let policy = |platforms: &str| {
        policy(&rule(
            "",
            &format!(
                "signing = {{ required = true{platforms} }}\n[[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\n\
                 signers = [\"ci\"]\nmax_critical = 0"
            ),
        ))
    };
    let (requested, all) = (", platforms = \"requested\"", ", platforms = \"all\"");
    for scope in ["", requested, all] {
        allows(&policy(scope), &with(vec![clean("image")]));
        allows(&policy(scope), &with(vec![clean(amd), clean(arm)]));
        refuses(&policy(scope), &with(vec![clean("unknown/unknown")]), &["att.subject"]);
        refuses(&policy(scope), &with(vec![bad(amd), clean(arm)]), &["vuln.critical"]);
    }
    for scope in ["", requested] {
        allows(&policy(scope), &with(vec![clean(amd)]));
        allows(&policy(scope), &with(vec![clean(amd), bad(arm)]));
    }
    refuses(&policy(all), &with(vec![clean(amd)]), &["att.subject"]);
    refuses(&policy(all), &with(vec![clean(amd), bad(arm)]), &["vuln.critical"]);
    // Where nobody says which platform it will be, it may be any.
    let mut unsure = with(vec![clean(amd)]);
    unsure.image.platform = None;
    refuses(&policy(""), &unsure, &["att.subject"]);
    refuses(&policy(requested), &unsure, &["sign.platform", "att.subject"]);
    // Where nobody says what is in the index, only the whole can be attested.
    let mut blind = with(vec![clean(amd), clean(arm)]);
    blind.facts = None;
    refuses(&policy(""), &blind, &["att.subject"]);
    refuses(&policy(all), &blind, &["sign.platform", "att.subject"]);
    blind.attestations = vec![clean("image")];
    allows(&policy(""), &blind);
    refuses(&policy(requested), &blind, &["sign.platform"]);
}

#[test]
fn absent_is_not_zero() {
    let policy = scanned("max_critical = 0");
    refuses(&policy, &attested(vec![]), &["att.missing"]);
    refuses(&policy, &attested(vec![unusable("ci", Kind::Vulns, CheckId::AttFormat)]), &["att.format"]);
    refuses(&policy, &attested(vec![listed("ci", &sbom())]), &["att.missing"]);
    refuses(&policy, &attested(vec![listed("ci", &bench(&json!(0)))]), &["att.missing"]);
}

#[test]
fn a_filtered_report_serves_the_limits_that_it_is_whole_for() {
    let filtered = |words: &str| {
        let arguments = Some(vec![words.to_owned()]);
        attested(vec![Scan { arguments, ..Scan::of(&["HIGH"]) }.listed("ci")])
    };
    let severe = filtered("image --severity HIGH,CRITICAL");
    allows(&scanned("max_critical = 0\nmax_high = 1"), &severe);
    refuses(&scanned("max_high = 0"), &severe, &["vuln.high"]);
    for limit in ["max_medium = 9", "max_low = 9", "max_total = 9", "min_score = 1"] {
        refuses(&scanned(limit), &severe, &["att.filtered"]);
    }
    let verdict = scanned("max_medium = 9").evaluate(&severe, now());
    assert_eq!(outcome(&verdict, CheckId::VulnMedium), Outcome::NotApplicable);
    for words in ["image --ignore-unfixed", "image --ignorefile x", "image --some-new-option"] {
        refuses(&scanned("max_high = 9"), &filtered(words), &["att.filtered"]);
    }
    // A filter does not hide that there is too much of what it leaves.
    refuses(&scanned("max_total = 0"), &severe, &["att.filtered", "vuln.total"]);
    // Where no limit counts, none is affected.
    allows(&scanned("max_age = \"24h\""), &filtered("image --ignore-unfixed"));
}

#[test]
fn unknown_counts_as_the_rule_says_and_negligible_as_low() {
    let with = |severity: &str| attested(vec![Scan::of(&[severity]).listed("ci")]);
    refuses(&scanned("max_high = 0"), &with("UNKNOWN"), &["vuln.high"]);
    refuses(&scanned("max_high = 0"), &with(""), &["vuln.high"]);
    for (word, limit, check) in [
        ("critical", "max_critical", "vuln.critical"),
        ("high", "max_high", "vuln.high"),
        ("medium", "max_medium", "vuln.medium"),
        ("low", "max_low", "vuln.low"),
    ] {
        let text = format!("unknown_as = \"{word}\"\n{limit} = 0");
        refuses(&scanned(&text), &with("who knows"), &[check]);
    }
    refuses(&scanned("max_low = 0"), &with("NEGLIGIBLE"), &["vuln.low"]);
}

#[test]
fn findings_or_vulnerabilities_are_counted() {
    let twice = attested(vec![
        Scan::with(vec![finding("CVE-1", "HIGH"), finding("CVE-1", "HIGH"), finding("CVE-2", "LOW")])
            .listed("ci"),
    ]);
    refuses(&scanned("max_high = 1"), &twice, &["vuln.high"]);
    refuses(&scanned("max_high = 1\ncount_by = \"finding\""), &twice, &["vuln.high"]);
    allows(&scanned("max_high = 1\nmax_total = 2\nmin_score = 95\ncount_by = \"cve\""), &twice);
    // At two severities it counts at both, so that no count falls when another place is found.
    let mixed =
        attested(vec![Scan::with(vec![finding("CVE-1", "HIGH"), finding("CVE-1", "MEDIUM")]).listed("ci")]);
    refuses(
        &scanned("max_high = 1\nmax_medium = 0\nmax_total = 1\ncount_by = \"cve\""),
        &mixed,
        &["vuln.medium"],
    );
}

#[test]
fn a_fix_is_waited_for_from_the_first_sight_on() {
    let policy = scanned("max_high = 0\nfix_within = { high = \"7d\" }");
    let with = |published, seen: Option<i64>| {
        let mut case = attested(vec![Scan::with(vec![mended("CVE-1", "HIGH", published)]).listed("ci")]);
        case.first_seen.extend(seen.map(|days| ("CVE-1".to_owned(), ago(24 * days))));
        case
    };
    let days = |days: i64| Some(ago(24 * days));
    allows(&policy, &with(days(6), None));
    allows(&policy, &with(None, Some(6)));
    allows(&policy, &with(days(6), Some(5)));
    refuses(&policy, &with(days(7), None), &["vuln.high"]);
    refuses(&policy, &with(days(6), Some(7)), &["vuln.high"]);
    refuses(&policy, &with(days(8), Some(1)), &["vuln.high"]);
    refuses(&policy, &with(None, None), &["vuln.high"]);
    // A moment that is still to come would put it off for ever.
    refuses(&policy, &with(days(-30), None), &["vuln.high"]);
    // Without a fix there is nothing to wait for, and other severities have no time.
    let mut unfixed = good();
    unfixed.attestations = vec![Scan::with(vec![finding("CVE-1", "HIGH")]).listed("ci")];
    refuses(&policy, &unfixed, &["vuln.high"]);
    unfixed.attestations = vec![Scan::with(vec![mended("CVE-1", "CRITICAL", days(1))]).listed("ci")];
    refuses(&scanned("max_critical = 0\nfix_within = { high = \"7d\" }"), &unfixed, &["vuln.critical"]);
}

#[test]
fn only_those_who_are_named_judge_findings_away() {
    let text = "max_high = 0\nvex_signers = [\"judge\"]";
    let with = |signer: &str, said: &[(&str, &str)]| {
        attested(vec![
            Scan::with(vec![finding("CVE-1", "HIGH")]).listed("ci"),
            listed(signer, &vex(said, ago(3))),
        ])
    };
    allows(&scanned(text), &with("judge", &[("CVE-1", "not_affected")]));
    allows(&scanned(text), &with("judge", &[("CVE-1", "fixed")]));
    refuses(&scanned(text), &with("judge", &[("CVE-1", "affected")]), &["vuln.high"]);
    refuses(&scanned(text), &with("judge", &[("CVE-2", "not_affected")]), &["vuln.high"]);
    refuses(&scanned(text), &with("ci", &[("CVE-1", "not_affected")]), &["vuln.high"]);
    refuses(&scanned("max_high = 0"), &with("judge", &[("CVE-1", "not_affected")]), &["vuln.high"]);
    // The newest word counts, of whichever document.
    let mut changed = with("judge", &[("CVE-1", "not_affected")]);
    changed.attestations.push(listed("judge", &vex(&[("CVE-1", "affected")], ago(2))));
    refuses(&scanned(text), &changed, &["vuln.high"]);
    let mut over = with("judge", &[("CVE-1", "not_affected")]);
    over.attestations[1].expires = now();
    refuses(&scanned(text), &over, &["vuln.high"]);
}

#[test]
fn exceptions_are_dated() {
    let with = |dates: &str, max: &str| {
        policy(&rule(
            max,
            &format!(
                "{UNSIGNED}\n[rule.image]\nmax_layers = 1\n[[exception]]\nid = \"E\"\nmatch = [\"r.io/app\"]\n\
                 checks = [\"fact.layers\"]\n{dates}\nreason = \"r\"\napproved_by = \"a\""
            ),
        ))
    };
    for (dates, max, holds) in [
        ("expires = 2026-09-01T00:00:01Z", "", true),
        ("expires = 2026-11-30T00:00:00Z", "", true),
        ("expires = 2026-11-30T00:00:01Z", "", false),
        ("expires = 2026-09-01T00:00:00Z", "", false),
        ("expires = 2026-08-31T00:00:00Z", "", false),
        ("expires = 2026-12-31T00:00:00Z", "exception_max = \"180d\"", true),
        ("expires = 2026-10-01T00:00:00Z", "exception_max = \"7d\"", false),
        ("created = 2026-08-30T00:00:00Z\nexpires = 2026-11-27T00:00:00Z", "", true),
        ("created = 2026-09-02T00:00:00Z\nexpires = 2026-11-27T00:00:00Z", "", false),
    ] {
        let verdict = with(dates, max).evaluate(&good(), now());
        assert_eq!(verdict.is_allowed(), holds, "{dates} {max}");
        let [exception] = verdict.exceptions.as_slice() else { panic!("{:?}", verdict.exceptions) };
        assert_eq!((exception.applied, exception.void.is_none()), (holds, holds), "{dates}");
    }
    let mut elsewhere = good();
    elsewhere.image.repository = "r.io/other".parse().unwrap();
    let verdict = with("expires = 2026-10-01T00:00:00Z", "").evaluate(&elsewhere, now());
    assert!(!verdict.is_allowed() && verdict.exceptions.is_empty());
}

#[test]
fn excepted_vulnerabilities_leave_the_named_counts_alone() {
    let with = |checks: &str, names: &str| {
        policy(&rule(
            "",
            &format!(
                "{UNSIGNED}\n[[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\nsigners = [\"ci\"]\nmax_high = 0\n\
                 max_total = 0\n[[exception]]\nid = \"E\"\nmatch = [\"r.io/**\"]\nchecks = [{checks}]\n\
                 vulnerabilities = [{names}]\nexpires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\""
            ),
        ))
    };
    let case =
        attested(vec![Scan::with(vec![finding("CVE-1", "HIGH"), finding("CVE-2", "HIGH")]).listed("ci")]);
    allows(&with("\"vuln.high\", \"vuln.total\"", "\"CVE-1\", \"cve-2\""), &case);
    refuses(&with("\"vuln.high\"", "\"CVE-1\", \"CVE-2\""), &case, &["vuln.total"]);
    refuses(&with("\"vuln.high\", \"vuln.total\"", "\"CVE-1\""), &case, &["vuln.high", "vuln.total"]);
}

#[test]
fn a_server_that_is_away_gives_some_grace() {
    let text = rule("", "signing = { required = true }").replace(
        "root_threshold = 1\n",
        "root_threshold = 1\nmetadata_max_age = \"24h\"\noffline_grace = \"2h\"\n",
    );
    let policy = policy(&text);
    for (hours, offline, holds) in
        [(24, false, true), (25, false, false), (25, true, true), (26, true, true), (27, true, false)]
    {
        let mut case = good();
        (signed(&mut case).fresh_at, signed(&mut case).offline) = (Some(ago(hours)), offline);
        assert_eq!(policy.evaluate(&case, now()).is_allowed(), holds, "{hours} {offline}");
    }
}

#[test]
fn what_needs_no_signature_is_refused_all_the_same_when_it_was_revoked() {
    let policy = policy(&rule("", UNSIGNED));
    for check in CheckId::ALL {
        let mut case = good();
        refused(&mut case, *check);
        let stops = check.is_protected() || check.is_error() || *check == CheckId::Quarantined;
        assert_eq!(!policy.evaluate(&case, now()).is_allowed(), stops, "{check}");
    }
}

#[test]
fn by_digest_alone_the_tag_that_was_signed_is_denied() {
    let policy = policy(&rule("", "deny_tags = [\"*-unsafe\"]\nsigning = { required = true }"));
    let mut case = case(&format!("r.io/app@sha256:{}", digest("image")), &["alice"]);
    allows(&policy, &case);
    signed(&mut case).tag = "1.0-unsafe".parse().unwrap();
    refuses(&policy, &case, &["ref.tag_denied"]);
}
