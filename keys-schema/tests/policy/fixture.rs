//! An image that is as every rule wants it, and ways to spoil it.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::attest::{Attestation, Kind};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{BaseImage, ChildFacts, Facts, ImageFacts, Labels};
use bulla_keys_schema::names::ImageRef;
use bulla_keys_schema::policy::{
    AskedImage, Case, CheckId, Decision, Demands, ListedAttestation, Outcome, Policy, SignedImage, Standing,
    UnusableAttestation, Verdict, Voucher,
};
use bulla_keys_schema::time::UtcTime;
use serde_json::{Value, json};

/// The example of the specification, as it stands there.
pub const EXAMPLE: &str = include_str!("../data/policy/company-images.toml");

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

/// A moment within the life of everything in the example.
pub fn now() -> UtcTime {
    "2026-09-01T00:00:00Z".parse().unwrap()
}

/// So many hours before [`now`].
pub fn ago(hours: i64) -> UtcTime {
    now().plus_seconds(-hours * HOUR)
}

pub fn example() -> Policy {
    policy(EXAMPLE)
}

pub fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A policy of one rule for everything, after `head`, with `rule` behind `match`.
pub fn rule(head: &str, rule: &str) -> String {
    let key = "ab".repeat(32);
    format!(
        "policy = 1\nname = \"test\"\n{head}\n[trust.\"r.io/**\"]\nroot_keys = [\"sha256:{key}\"]\n\
         root_threshold = 1\n[[rule]]\nname = \"all\"\nmatch = [\"r.io/**\"]\n{rule}"
    )
}

pub fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

pub fn key(name: &str) -> Fingerprint {
    digest(name).to_string().parse().unwrap()
}

pub fn voucher(name: &str) -> Voucher {
    Voucher {
        name: name.parse().unwrap(),
        keys: BTreeSet::from([key(name)]),
        signed_at: Some(ago(48)),
        expires: now().plus_seconds(30 * DAY),
    }
}

pub fn facts() -> Facts {
    let labels = ["security.scan", "build.date"].map(|name| (name.to_owned(), "x".to_owned()));
    Facts {
        config: digest("config"),
        platform: Some("linux/amd64".parse().unwrap()),
        user: "1000".to_owned(),
        labels: Labels::Full(BTreeMap::from(labels)),
        size: 100_000_000,
        layers: 10,
        base: Some(BaseImage { name: "alpine:3.20".to_owned(), digest: None }),
    }
}

/// A case of `image`, signed by `signers`, with facts and without attestations.
pub fn case(image: &str, signers: &[&str]) -> Case {
    let image: ImageRef = image.parse().unwrap();
    Case {
        image: AskedImage {
            repository: image.repository().clone(),
            tag: image.tag().cloned(),
            digest: image.digest(),
            platform: Some("linux/amd64".parse().unwrap()),
        },
        standing: Standing::Signed(Box::new(SignedImage {
            tag: image.tag().cloned().unwrap_or_else(|| "1.0".parse().unwrap()),
            digest: digest("image"),
            size: 500,
            signers: signers.iter().map(|name| voucher(name)).collect(),
            demands: Demands::default(),
            fresh_at: Some(ago(1)),
            offline: false,
            valid_until: now().plus_seconds(7 * DAY),
        })),
        facts: Some(ImageFacts::Single(facts())),
        attestations: Vec::new(),
        first_seen: BTreeMap::new(),
    }
}

/// What the trust metadata vouches for.
pub fn signed(case: &mut Case) -> &mut SignedImage {
    match &mut case.standing {
        Standing::Signed(signed) => signed,
        Standing::Refused { .. } => panic!("refused"),
    }
}

pub fn refused(case: &mut Case, check: CheckId) {
    case.standing = Standing::Refused { check, message: "no".to_owned(), digest: None };
}

/// What is in a report of Trivy.
#[derive(Clone)]
pub struct Scan {
    pub findings: Vec<Value>,
    pub secrets: usize,
    pub end_of_life: bool,
    pub arguments: Option<Vec<String>>,
    pub at: Option<UtcTime>,
    pub database_at: Option<UtcTime>,
    pub size: Option<u64>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            secrets: 0,
            end_of_life: false,
            arguments: Some(vec!["image --scanners vuln,secret".to_owned()]),
            at: Some(ago(2)),
            database_at: Some(ago(6)),
            size: None,
        }
    }
}

impl Scan {
    pub fn of(severities: &[&str]) -> Self {
        let findings =
            severities.iter().enumerate().map(|(n, severity)| finding(&format!("CVE-2030-{n}"), severity));
        Self { findings: findings.collect(), ..Self::default() }
    }

    pub fn with(findings: Vec<Value>) -> Self {
        Self { findings, ..Self::default() }
    }

    /// Cosign's predicate around Trivy's report, in a statement about the image.
    pub fn statement(&self, subject: Sha256Digest) -> Value {
        let time = |at: &Option<UtcTime>| at.map(|at| at.to_string());
        let secret = json!({"RuleID": "key", "Severity": "HIGH", "Title": "a key"});
        let report = json!({
            "SchemaVersion": 2,
            "ArtifactType": "container_image",
            "ArtifactName": "app",
            "Metadata": {"OS": {"Family": "alpine", "EOSL": self.end_of_life}, "Size": self.size},
            "Results": [
                {"Target": "app", "Class": "os-pkgs", "Vulnerabilities": self.findings},
                {"Target": "/key", "Class": "secret", "Secrets": vec![secret; self.secrets]},
            ],
        });
        // Without a secret, a report has no such result.
        let mut report = report;
        if self.secrets == 0 {
            report["Results"].as_array_mut().unwrap().pop();
        }
        let predicate = json!({
            "invocation": {"parameters": self.arguments},
            "scanner": {
                "uri": "pkg:trivy", "version": "0.50",
                "db": {"lastUpdate": time(&self.database_at)},
                "result": report,
            },
            "metadata": {"scanStartedOn": time(&self.at), "scanFinishedOn": time(&self.at)},
        });
        statement("https://cosign.sigstore.dev/attestation/vuln/v1", subject, &predicate)
    }

    pub fn listed(&self, signer: &str) -> ListedAttestation {
        listed(signer, &self.statement(digest("image")))
    }
}

pub fn finding(id: &str, severity: &str) -> Value {
    json!({"VulnerabilityID": id, "PkgName": "pkg", "Severity": severity})
}

/// A finding that a newer version mends, made public at `published`.
pub fn mended(id: &str, severity: &str, published: Option<UtcTime>) -> Value {
    json!({
        "VulnerabilityID": id, "PkgName": "pkg", "Severity": severity, "FixedVersion": "2",
        "PublishedDate": published.map(|at| at.to_string()),
    })
}

pub fn statement(predicate_type: &str, subject: Sha256Digest, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {"sha256": subject.to_string()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

pub fn listed(signer: &str, statement: &Value) -> ListedAttestation {
    let bytes = statement.to_string();
    let content = Attestation::read(bytes.as_bytes()).unwrap_or_else(|error| panic!("{error}: {bytes}"));
    ListedAttestation {
        signer: signer.parse().unwrap(),
        digest: digest(&bytes),
        signed_at: Some(ago(1)),
        expires: now().plus_seconds(14 * DAY),
        content: Ok(content),
    }
}

pub fn unusable(signer: &str, kind: Kind, check: CheckId) -> ListedAttestation {
    let content = Err(UnusableAttestation { kind, check, message: "it is broken".to_owned() });
    ListedAttestation { content, ..listed(signer, &sbom()) }
}

pub fn sbom() -> Value {
    let document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5",
        "metadata": {"timestamp": ago(24).to_string()},
        "components": [{"type": "library", "name": "zlib", "version": "1"}],
    });
    statement("https://cyclonedx.org/bom", digest("image"), &document)
}

pub fn bench(fail: &Value) -> Value {
    statement(
        "https://example.com/attestation/docker-bench/v1",
        digest("image"),
        &json!({"result": {"fail": fail}}),
    )
}

/// An `OpenVEX` document about the image: for each name, its status.
pub fn vex(said: &[(&str, &str)], at: UtcTime) -> Value {
    let image = format!("pkg:oci/app@sha256%3A{}", digest("image"));
    let statements: Vec<Value> = said
        .iter()
        .map(|(name, status)| {
            json!({
                "vulnerability": {"name": name}, "products": [{"@id": image}], "status": status,
                "justification": (*status == "not_affected").then_some("vulnerable_code_not_present"),
            })
        })
        .collect();
    let document = json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "security",
        "timestamp": at.to_string(), "version": 1, "statements": statements,
    });
    statement("https://openvex.dev/ns/v0.2.0", digest("image"), &document)
}

/// An index of images for these platforms, each with facts.
pub fn index(platforms: &[&str]) -> ImageFacts {
    let child = |platform: &&str| ChildFacts {
        platform: platform.parse().unwrap(),
        digest: digest(platform),
        facts: (*platform != "unknown/unknown").then(facts),
    };
    ImageFacts::Index(platforms.iter().map(child).collect())
}

/// The good image of rule *myapp* in the example.
pub fn myapp() -> Case {
    let mut case = case("registry.example.com/myapp/api:1.0", &["myapp-signer"]);
    case.attestations.push(Scan::default().listed("ci-trivy"));
    case
}

/// The good image of rule *production*.
pub fn production() -> Case {
    let image = format!("registry.example.com/prod/web:1.0@sha256:{}", digest("image"));
    let mut case = case(&image, &["myapp-signer", "security-lead"]);
    case.attestations.extend([
        Scan::default().listed("nightly-grype"),
        listed("myapp-signer", &sbom()),
        listed("security-lead", &bench(&json!(0))),
    ]);
    case
}

/// The good image of rule *upstream*.
pub fn upstream() -> Case {
    let mut case = case("alpine:3.20", &["security-lead"]);
    case.attestations.push(Scan::default().listed("ci-trivy"));
    case
}

/// The checks that fail.
pub fn failures(verdict: &Verdict) -> Vec<&'static str> {
    let failed = verdict.checks.iter().filter(|check| check.result == Outcome::Fail);
    let mut names: Vec<&str> = failed.map(|check| check.id.as_str()).collect();
    names.dedup();
    names
}

/// Says no, for this reason and no other.
#[track_caller]
pub fn refuses(policy: &Policy, case: &Case, checks: &[&str]) {
    let verdict = policy.evaluate(case, now());
    assert_eq!(failures(&verdict), checks, "{verdict:#?}");
    assert_eq!(verdict.decision, Decision::Deny);
    assert_eq!(verdict.first_failure().unwrap().id.as_str(), checks[0]);
}

#[track_caller]
pub fn allows(policy: &Policy, case: &Case) -> Verdict {
    let verdict = policy.evaluate(case, now());
    assert_eq!(failures(&verdict), Vec::<&str>::new(), "{verdict:#?}");
    assert_eq!(verdict.decision, Decision::Allow);
    verdict
}

/// The outcome of one check.
pub fn outcome(verdict: &Verdict, id: CheckId) -> Outcome {
    let outcomes = verdict.checks.iter().filter(|check| check.id == id).map(|check| check.result);
    // The worst of several.
    let rank = |outcome: &Outcome| match outcome {
        Outcome::NotApplicable => 0,
        Outcome::Pass => 1,
        Outcome::SkippedByException => 2,
        Outcome::Fail => 3,
    };
    outcomes.max_by_key(rank).unwrap()
}
