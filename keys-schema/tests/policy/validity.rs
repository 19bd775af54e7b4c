//! How long a verdict lasts: until the first of all the moments that it hangs on.

use bulla_keys_schema::policy::Case;
use bulla_keys_schema::time::UtcTime;

use crate::fixture::*;

fn later(hours: i64) -> UtcTime {
    ago(-hours)
}

#[test]
fn the_first_end_of_all_is_the_end_of_the_verdict() {
    let text = rule(
        "",
        "[rule.signing]\nrequired = true\nthreshold = 2\nmax_signature_age = \"30d\"\n\
         [[rule.attestation]]\nname = \"s\"\ntype = \"vulns\"\nsigners = [\"ci\"]\nmax_age = \"7d\"\ndb_max_age = \"8d\"\n\
         max_high = 0\nfix_within = { high = \"6d\" }\nvex_signers = [\"judge\"]\n[rule.image]\nmax_layers = 10\n\
         [[exception]]\nid = \"E\"\nmatch = [\"r.io/app\"]\nchecks = [\"fact.layers\"]\n\
         expires = 2026-09-01T03:00:00Z\nreason = \"r\"\napproved_by = \"a\"",
    );
    let policy =
        policy(&text.replace("root_threshold = 1\n", "root_threshold = 1\nmetadata_max_age = \"10d\"\n"));
    let good = || {
        let mut case = case("r.io/app:1", &["a", "b", "c"]);
        case.attestations =
            vec![Scan { at: Some(now()), database_at: Some(now()), ..Scan::default() }.listed("ci")];
        case.attestations[0].signed_at = Some(now());
        signed(&mut case).fresh_at = Some(now());
        case
    };
    let one = |at: UtcTime| at.plus_seconds(1);
    let until = |spoil: &dyn Fn(&mut Case)| {
        let mut case = good();
        spoil(&mut case);
        allows(&policy, &case).valid_until.unwrap()
    };
    // Of what is good, the scan is the first to be too old.
    assert_eq!(until(&|_| {}), later(7 * 24).min(one(later(7 * 24))));
    assert_eq!(until(&|case| signed(case).valid_until = later(5)), later(5));
    assert_eq!(until(&|case| signed(case).fresh_at = Some(ago(9 * 24))), one(later(24)));
    assert_eq!(until(&|case| case.attestations[0].expires = later(4)), later(4));
    assert_eq!(until(&|case| case.attestations[0].signed_at = Some(ago(6 * 24))), one(later(24)));
    assert_eq!(
        until(&|case| {
            let scan = Scan { at: Some(now()), database_at: Some(ago(7 * 24)), ..Scan::default() };
            case.attestations = vec![scan.listed("ci")];
        }),
        one(later(24))
    );
    assert_eq!(
        until(&|case| {
            let finding = mended("CVE-1", "HIGH", Some(ago(5 * 24)));
            case.attestations = vec![Scan { at: Some(now()), ..Scan::with(vec![finding]) }.listed("ci")];
        }),
        later(24)
    );
    assert_eq!(
        until(&|case| {
            case.attestations.push(listed("judge", &vex(&[("CVE-1", "fixed")], ago(1))));
            case.attestations[1].expires = later(2);
        }),
        later(2)
    );
    // Two of three signers are enough, so that the second to go takes the verdict with him.
    assert_eq!(until(&|case| signed(case).signers[0].expires = later(1)), later(7 * 24));
    let two = until(&|case| {
        signed(case).signers[0].expires = later(1);
        signed(case).signers[1].signed_at = Some(ago(29 * 24));
    });
    assert_eq!(two, one(later(24)));
    // An exception that is not needed does not shorten anything, and one that is does.
    assert_eq!(
        until(&|case| {
            let Some(bulla_keys_schema::metadata::ImageFacts::Single(facts)) = &mut case.facts else {
                panic!()
            };
            facts.layers = 11;
        }),
        later(3)
    );
}

#[test]
fn an_audit_ends_and_so_does_a_refusal() {
    let policy = policy(&rule(
        "",
        "mode = \"audit\"\naudit_until = 2026-09-01T05:00:00Z\nsigning = { required = true, threshold = 2 }",
    ));
    let case = case("r.io/app:1", &["a"]);
    assert_eq!(policy.evaluate(&case, now()).valid_until, Some(later(5)));
    let mut gone = case;
    refused(&mut gone, bulla_keys_schema::policy::CheckId::RevokedDigest);
    assert_eq!(policy.evaluate(&gone, later(6)).valid_until, None);
}

#[test]
fn at_its_end_the_answer_is_another() {
    for good in [myapp(), production()] {
        let policy = example();
        let until = allows(&policy, &good).valid_until.unwrap();
        assert!(policy.evaluate(&good, until.plus_seconds(-1)).is_allowed());
        assert!(!policy.evaluate(&good, until).is_allowed());
    }
}
