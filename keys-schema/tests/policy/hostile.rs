//! What is signed by the right people and says less, or of something else, than it seems.

use bulla_keys_schema::attest::Attestation;
use bulla_keys_schema::metadata::ImageFacts;
use bulla_keys_schema::policy::{Case, CheckId, ListedAttestation, Policy};
use serde_json::{Value, json};

use crate::fixture::*;

fn scanned(limits: &str) -> Policy {
    policy(&rule(
        "",
        &format!(
            "signing = {{ required = false }}\n[[rule.attestation]]\nname = \"scan\"\ntype = \"vulns\"\n\
             signers = [\"ci\"]\n{limits}"
        ),
    ))
}

fn attested(attestation: ListedAttestation) -> Case {
    Case { attestations: vec![attestation], ..case("r.io/app:1.0", &[]) }
}

/// A clean scan in a statement about the image, whose report names what `metadata` says.
fn claiming(metadata: &Value) -> ListedAttestation {
    let mut statement = Scan::default().statement(digest("image"));
    statement["predicate"]["scanner"]["result"]["Metadata"] = metadata.clone();
    listed("ci", &statement)
}

fn repo_digest(image: &str) -> String {
    format!("r.io/app@{}", digest(image).to_oci())
}

#[test]
fn a_report_of_another_image_counts_for_no_subject_of_its_statement() {
    let policy = scanned("max_critical = 0");
    let config = |name: &str| digest(name).to_oci();
    for metadata in [
        json!({"RepoDigests": [repo_digest("image")]}),
        json!({"RepoDigests": [repo_digest("elsewhere"), repo_digest("image")]}),
        json!({"ImageID": config("config")}),
        // Only layers, which nobody looked up.
        json!({"DiffIDs": [config("layer")]}),
        json!({}),
    ] {
        allows(&policy, &attested(claiming(&metadata)));
    }
    for metadata in [
        json!({"RepoDigests": [repo_digest("other")]}),
        json!({"RepoDigests": [repo_digest("other")], "DiffIDs": [config("layer")]}),
        json!({"ImageID": config("other")}),
    ] {
        refuses(&policy, &attested(claiming(&metadata)), &["att.subject"]);
    }
    // A list of another image is no list of this one.
    let mut bom = sbom();
    bom["predicate"]["metadata"]["component"] =
        json!({"type": "container", "name": "app", "version": digest("other").to_oci()});
    let text = "signing = { required = false }\n[[rule.attestation]]\nname = \"b\"\ntype = \"sbom\"\nsigners = [\"ci\"]";
    refuses(&crate::fixture::policy(&rule("", text)), &attested(listed("ci", &bom)), &["att.subject"]);
}

#[test]
fn a_scan_of_one_image_of_an_index_is_none_of_the_others() {
    let policy = scanned("max_critical = 0");
    let metadata = json!({"RepoDigests": [repo_digest("image")], "ImageID": digest("config").to_oci()});
    let mut both = attested(claiming(&metadata));
    both.image.platform = None;
    both.facts = Some(index(&["linux/amd64", "linux/arm64"]));
    // The report says which image it looked at, and here it is both.
    allows(&policy, &both);
    let Some(ImageFacts::Index(children)) = &mut both.facts else { panic!("no index") };
    children[1].facts.as_mut().unwrap().config = digest("config of arm64");
    refuses(&policy, &both, &["att.subject"]);
    both.image.platform = Some("linux/amd64".parse().unwrap());
    allows(&policy, &both);
}

#[test]
fn what_grype_leaves_out_stands_in_its_own_report_and_not_in_sarif() {
    let around = |result: Value| {
        let mut statement = Scan { arguments: None, ..Scan::default() }.statement(digest("image"));
        statement["predicate"]["scanner"]["result"] = result;
        attested(listed("ci", &statement))
    };
    let own = json!({
        "matches": [], "source": {"type": "image", "target": {}},
        "descriptor": {"name": "grype", "timestamp": ago(1).to_string()},
    });
    let sarif = json!({
        "version": "2.1.0", "runs": [{"tool": {"driver": {"name": "grype", "rules": []}}, "results": []}],
    });
    let policy = scanned("max_critical = 0");
    allows(&policy, &around(own));
    refuses(&policy, &around(sarif), &["att.filtered"]);
}

#[test]
fn a_statement_in_the_place_of_a_predicate_is_not_read() {
    let clean = Scan::default().statement(digest("image"));
    let bad = Scan::of(&["CRITICAL"]).statement(digest("image"));
    let mut twice = clean.clone();
    twice["predicate"] = clean;
    twice["predicate"]["scanner"] = bad["predicate"]["scanner"].clone();
    assert!(Attestation::read(twice.to_string().as_bytes()).is_err());
}

#[test]
fn an_answer_without_metadata_is_not_kept() {
    let exception = "[[exception]]\nid = \"E\"\nmatch = [\"r.io/**\"]\nchecks = [\"tag.unknown\", \"sign.threshold\"]\n\
        expires = 2026-10-01T00:00:00Z\nreason = \"r\"\napproved_by = \"a\"";
    let excepted = policy(&rule("", &format!("signing = {{ required = true }}\n{exception}")));
    let mut unknown = case("r.io/app:1.0", &[]);
    refused(&mut unknown, CheckId::TagUnknown);
    // The tag can be signed and revoked long before the exception ends.
    assert_eq!(allows(&excepted, &unknown).valid_until, None);
    let audit = "default = \"audit\"\naudit_until = 2026-12-01T00:00:00Z";
    let watched = policy(&rule(audit, "signing = { required = true }"));
    let elsewhere = case("q.io/app:1.0", &["a"]);
    let verdict = watched.evaluate(&elsewhere, now());
    assert_eq!((verdict.is_allowed(), verdict.valid_until), (true, None));
}

#[test]
fn a_judgement_of_a_day_to_come_does_not_outlive_what_is_found_out_before() {
    let policy = scanned("max_high = 0\nvex_signers = [\"judge\"]");
    let judged = |at| {
        let mut said = vex(&[("CVE-0", "fixed"), ("CVE-1", "not_affected")], ago(3));
        said["predicate"]["statements"][1]["timestamp"] = json!(at);
        let mut case = attested(Scan::with(vec![finding("CVE-1", "HIGH")]).listed("ci"));
        case.attestations.push(listed("judge", &said));
        case
    };
    allows(&policy, &judged(ago(2).to_string()));
    refuses(&policy, &judged(ago(-24).to_string()), &["vuln.high"]);
}

#[test]
fn all_images_that_a_runtime_may_choose_are_looked_at() {
    let policy = policy(&rule(
        "",
        "[rule.signing]\nrequired = true\nplatforms = \"requested\"\n[rule.image]\nuser = \"non-root\"",
    ));
    let mut case = case("r.io/app:1.0", &["a"]);
    case.image.platform = Some("linux/arm64/v8".parse().unwrap());
    case.facts = Some(index(&["linux/arm64", "linux/arm64/v8", "linux/amd64"]));
    allows(&policy, &case);
    let Some(ImageFacts::Index(children)) = &mut case.facts else { panic!("no index") };
    children[0].facts.as_mut().unwrap().user = "root".to_owned();
    refuses(&policy, &case, &["fact.user"]);
}
