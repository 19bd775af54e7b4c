//! The fuzz targets on a few hundred changed inputs each: a parser that panics, or breaks a
//! promise, on what is close to a good input shows up here, without libFuzzer.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may panic, reads files, says what it skips, and shares a room with another crate"
)]

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use bulla_keys_schema::backup::{Backup, BackupId, BackupKey, KnownRoots, Split, split};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{KeySidecar, PublicKey, SealedKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// Changed inputs per target.
const CASES: u32 = 400;
/// Largest seed, in bytes; larger ones only take longer.
const SEED_BYTES: u64 = 12_000;

/// Pieces on which parsers part ways.
const PIECES: &[&str] = &[
    "null",
    "true",
    "-0",
    "1e3",
    "1.5",
    "9007199254740992",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    ",",
    "\"a\":1,",
    "\"A\":1,",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "\u{feff}",
    "\u{212a}",
    "\u{17f}",
    "\r\n",
    "../",
    "//",
    "%2f",
    "%00",
    "*",
    "**",
    "?",
    ":",
    "@",
    "@sha256:",
    "-----BEGIN ",
    "-----END ",
    "=",
    "Z",
    "+00:00",
    "+02:00",
    "targets/",
    "-x509",
    "==",
    ".5",
];

/// Small inputs that every machine has. The first of each target is one it accepts.
const SEEDS: &[(&str, &str)] = &[
    ("json", r#"{"b":[1,-2,null,true,{}],"a":"x\n\u0001\"\\\ud83d\ude00"}"#),
    ("utc_time", "2030-01-02T03:04:05.5Z"),
    (
        "image_ref",
        "localhost:5000/team/app:v1.2@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("repository_name", "registry.example.com:5000/team/app__x/b--c"),
    ("path_pattern", "v?.*/a*b*\nv1.2/aabab"),
    ("key_ids", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("key_ids", "ecdsa-p256"),
    ("file_name", "12.a%2Fb.json"),
    ("file_name", "timestamp.json"),
    (
        "key_sidecar",
        r#"{"schema_version":1,"name":"a","fingerprint":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","algorithm":"ed25519","created":"2030-01-02T03:04:05Z","roles":[{"repository":"a/b","role":"root"}]}"#,
    ),
    ("envelope", r#"{"signed":{"_type":"x","a":1},"signatures":[{"keyid":"k","sig":"00ff"}]}"#),
    (
        "timestamp",
        r#"{"signed":{"_type":"timestamp","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","meta":{"snapshot.json":{"version":1,"length":2,"hashes":{"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}}},"signatures":[]}"#,
    ),
    (
        "snapshot",
        r#"{"signed":{"_type":"snapshot","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","meta":{"targets.json":{"version":1},"a.json":{"version":7}}},"signatures":[]}"#,
    ),
    (
        "targets",
        r#"{"signed":{"_type":"targets","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","targets":{"v1":{"length":3,"hashes":{"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},"custom":{"x":1}}},"delegations":{"keys":{"k":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}},"roles":[{"name":"a","keyids":["k"],"threshold":1,"paths":["v*"],"terminating":true}]}},"signatures":[]}"#,
    ),
    (
        "root",
        r#"{"signed":{"_type":"root","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","consistent_snapshot":true,"keys":{"k":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}},"roles":{"root":{"keyids":["k"],"threshold":1},"targets":{"keyids":["k"],"threshold":1},"snapshot":{"keyids":["k"],"threshold":1},"timestamp":{"keyids":["k"],"threshold":1}}},"signatures":[]}"#,
    ),
    (
        "notary_envelope",
        r#"{"signed":{"_type":"x","a":"<&>"},"signatures":[{"keyid":"k","method":"ecdsa","sig":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=="},{"keyid":"l","method":"EdDSA","sig":"AQID"},{"keyid":"m","method":"rsapss","sig":"AQ=="},{"keyid":"n","method":"?","sig":"?"}]}"#,
    ),
    (
        "notary_root",
        r#"{"signed":{"_type":"Root","consistent_snapshot":false,"expires":"2030-01-02T03:04:05.123456789+02:00","keys":{"89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224":{"keytype":"ed25519","keyval":{"public":"mlygEy6A9yVw0+YfJ/gAMTuUjhNRQi7QUmNpOIYWJz4=","private":null}}},"roles":{"root":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"snapshot":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"targets":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"timestamp":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"mirrors":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1}},"version":1},"signatures":[]}"#,
    ),
    (
        "notary_targets",
        r#"{"signed":{"_type":"Targets","delegations":{"keys":{"89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224":{"keytype":"ed25519","keyval":{"public":"mlygEy6A9yVw0+YfJ/gAMTuUjhNRQi7QUmNpOIYWJz4=","private":null}}},"roles":[{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"name":"targets/releases","paths":[""],"threshold":1},{"keyids":null,"name":"targets/root","threshold":1}]},"expires":"2030-01-02T03:04:05Z","targets":{"v1":{"custom":{"x":1},"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    (
        "notary_snapshot",
        r#"{"signed":{"_type":"Snapshot","expires":"2030-01-02T03:04:05Z","meta":{"root":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0},"targets":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0},"targets/releases":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    (
        "notary_timestamp",
        r#"{"signed":{"_type":"Timestamp","expires":"2030-01-02T03:04:05Z","meta":{"snapshot":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    ("notary_role", "targets/alice/x\ntargets/targets/root"),
    ("notary_role", "targets/root\nroot"),
    ("notary_time", "2030-01-02T03:04:05.123456789+02:00"),
    (
        "policy",
        r#"{"policy":1,"name":"n","registries":{"block":["q.io"]},"trust":{"r.io/**":{"root_keys":["0101010101010101010101010101010101010101010101010101010101010101"],"root_threshold":1}},"rule":[{"name":"a","match":["r.io/*","localhost:*/**"],"signing":{"required":false}},{"name":"b","match":["r.io/a"],"signing":{"required":true},"attestation":[{"name":"s","type":"vulns","signers":["ci"],"max_age":"7d","max_high":0}]}],"exception":[{"id":"E","match":["r.io/a"],"checks":["vuln.high"],"expires":"2030-01-02T00:00:00Z","reason":"r","approved_by":"a"}]}"#,
    ),
    (
        "policy",
        "policy = 1\nname = \"n\"\ndefault = \"audit\"\naudit_until = 2030-01-02T00:00:00Z\n[[rule]]\nname = \"a\"\nmatch = [\"*.r.io/**\"]\nsigning = { required = false }\n",
    ),
    (
        "database_metadata",
        r#"{"Version":2,"NextUpdate":"2030-01-03T00:00:00Z","UpdatedAt":"2030-01-02T03:04:05Z"}"#,
    ),
    (
        "inventory",
        r#"{"bomFormat":"CycloneDX","metadata":{"timestamp":"2030-01-02T03:04:05Z","component":{"purl":"pkg:oci/a@sha256%3A0707070707070707070707070707070707070707070707070707070707070707"}},"components":[{"name":"a","components":[{"name":"b"}]}]}"#,
    ),
    (
        "inventory",
        r#"{"spdxVersion":"SPDX-2.3","creationInfo":{"created":"2030-01-02T03:04:05Z"},"documentDescribes":["a"],"packages":[{"name":"a","SPDXID":"a","versionInfo":"sha256:0707070707070707070707070707070707070707070707070707070707070707","externalRefs":[{"referenceLocator":"pkg:oci/a@sha256%3A0707070707070707070707070707070707070707070707070707070707070707"}]}]}"#,
    ),
    (
        "inventory",
        r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"CreationInfo","created":"2030-01-02T03:04:05Z"},{"type":"software_Package"}]}"#,
    ),
    (
        "scan_arguments",
        r#"image --severity HIGH,CRITICAL --scanners=vuln,secret --ignore-unfixed=false -f json app"#,
    ),
    ("scan_arguments", r#"image --format json app:1"#),
    (
        "scan_in_toto_vulns",
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"0707070707070707070707070707070707070707070707070707070707070707"}}],"predicateType":"https://in-toto.io/attestation/vulns/v0.1","predicate":{"invocation":{"parameters":["--severity=HIGH"]},"scanner":{"uri":"pkg:github/a/trivy@1","db":{"lastUpdate":"2030-01-02T03:04:05Z"},"result":[{"id":"CVE-1","severity":[{"method":"nvd","score":"high"}]},{"vulnerability":{"id":"CVE-2","severity":[{"method":"cvss","score":7.5}]}}]},"metadata":{"scanFinishedOn":"2030-01-02T03:04:05Z"}}}"#,
    ),
    ("scan_in_toto_vulns", r#"{"scanner":{"uri":"grype","result":[]}}"#),
    (
        "in_toto_statement",
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"n","digest":{"sha256":"0707070707070707070707070707070707070707070707070707070707070707"}}],"predicateType":"https://example.com/t/v1","predicate":{"a":1.50}}"#,
    ),
    (
        "attestation",
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"n","digest":{"sha256":"0707070707070707070707070707070707070707070707070707070707070707"}}],"predicateType":"https://example.com/t/v1","predicate":{"a":1.50}}"#,
    ),
    (
        "dsse_envelope",
        r#"{"payload":"eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbeyJuYW1lIjoibiIsImRpZ2VzdCI6eyJzaGEyNTYiOiIwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3In19XSwicHJlZGljYXRlVHlwZSI6Imh0dHBzOi8vZXhhbXBsZS5jb20vdC92MSIsInByZWRpY2F0ZSI6eyJhIjoxLjUwfX0=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}"#,
    ),
    (
        "vex_document",
        r#"{"@context":"https://openvex.dev/ns/v0.2.0","author":"a","timestamp":"2030-01-02T03:04:05Z","statements":[{"vulnerability":{"name":"CVE-1","aliases":["GHSA-1"]},"products":[{"@id":"pkg:oci/a@sha256%3A0707070707070707070707070707070707070707070707070707070707070707","subcomponents":[{"@id":"pkg:deb/debian/openssl"}]}],"status":"not_affected","justification":"vulnerable_code_not_present"}]}"#,
    ),
    (
        "bundle",
        r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"aA=="},"tlogEntries":[]},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AQ==","keyid":""}]}}"#,
    ),
    (
        "bundle",
        r#"{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.3","verificationMaterial":{"certificate":{"rawBytes":"AA=="}},"messageSignature":{}}"#,
    ),
    (
        "sig_manifest",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"c","digest":"sha256:0707070707070707070707070707070707070707070707070707070707070707","size":2},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"sha256:0707070707070707070707070707070707070707070707070707070707070707","size":1,"annotations":{"dev.cosignproject.cosign/signature":"AQ=="}}],"subject":null,"annotations":{"a":"b"}}"#,
    ),
    (
        "sig_manifest",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"m","digest":"sha256:0707070707070707070707070707070707070707070707070707070707070707","size":1,"artifactType":"x"},{"mediaType":"m","digest":"sha512:00","size":1}]}"#,
    ),
    (
        "simple_signing",
        r#"{"critical":{"identity":{"docker-reference":"localhost:5000/a/b:v1"},"image":{"docker-manifest-digest":"sha256:0707070707070707070707070707070707070707070707070707070707070707"},"type":"cosign container image signature"},"optional":{"creator":"x","timestamp":1700000000,"a":"<&>"}}"#,
    ),
    (
        "scan_cosign_vuln",
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"0707070707070707070707070707070707070707070707070707070707070707"}}],"predicateType":"https://cosign.sigstore.dev/attestation/vuln/v1","predicate":{"invocation":{"parameters":["--severity=HIGH"]},"scanner":{"version":"1","result":{"SchemaVersion":2,"CreatedAt":"2030-01-02T03:04:05Z","ArtifactType":"container_image","Metadata":{"OS":{"EOSL":true},"ImageID":"sha256:0707070707070707070707070707070707070707070707070707070707070707","RepoDigests":["a/b@sha256:0707070707070707070707070707070707070707070707070707070707070707"]},"Results":[{"Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","Severity":"HIGH"}],"Secrets":[{}],"Misconfigurations":[{"Status":"FAIL"}]}]}},"metadata":{"scanStartedOn":"2030-01-02T03:04:05Z","scanFinishedOn":"2030-01-02T03:04:05Z"}}}"#,
    ),
    (
        "scan_cyclonedx",
        r#"{"bomFormat":"CycloneDX","metadata":{"timestamp":"2030-01-02T03:04:05+01:00","tools":{"components":[{"name":"t","version":"1"}]},"component":{"type":"container","version":"1","purl":"pkg:oci/a@sha256%3A0707070707070707070707070707070707070707070707070707070707070707?x=y","properties":[{"name":"aquasecurity:trivy:ImageID","value":"sha256:0707070707070707070707070707070707070707070707070707070707070707"}]}},"vulnerabilities":[{"id":"CVE-1","ratings":[{"severity":"low","method":"CVSSv31","score":8.2}],"affects":[{"ref":"a"}]}]}"#,
    ),
    (
        "scan_grype",
        r#"{"matches":[{"vulnerability":{"id":"CVE-1","severity":"Low"}}],"ignoredMatches":[],"source":{"type":"image","target":{"manifestDigest":"sha256:0707070707070707070707070707070707070707070707070707070707070707","repoDigests":["a/b@sha256:0707070707070707070707070707070707070707070707070707070707070707"],"imageID":""}},"descriptor":{"name":"grype","version":"1","timestamp":"2030-01-02T03:04:05Z","db":{"status":{"built":"2030-01-02T03:04:05Z"}}}}"#,
    ),
    (
        "scan_sarif",
        r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t","rules":[{"id":"C","help":{"text":"x\nSeverity: low\n"},"properties":{"tags":["vulnerability"],"security-severity":"8.2"}}]}},"invocations":[{"executionSuccessful":true,"endTimeUtc":"2030-01-02T03:04:05Z"}],"results":[{"ruleId":"C","ruleIndex":0},{"rule":{"id":"C","index":-1}}],"properties":{"imageID":"sha256:0707070707070707070707070707070707070707070707070707070707070707","repoDigests":[]}}]}"#,
    ),
    (
        "scan_trivy",
        r#"{"SchemaVersion":2,"CreatedAt":"2030-01-02T03:04:05Z","ArtifactType":"container_image","Metadata":{"OS":{"EOSL":true},"ImageID":"sha256:0707070707070707070707070707070707070707070707070707070707070707","RepoDigests":["a/b@sha256:0707070707070707070707070707070707070707070707070707070707070707"]},"Results":[{"Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","Severity":"HIGH"}],"Secrets":[{}],"Misconfigurations":[{"Status":"FAIL"}]}]}"#,
    ),
    (
        "signatures",
        r#"{"schema_version":1,"kind":"signatures","request":"00112233445566778899aabbccddeeff","repository":"a/b","signatures":[{"role":"root","payload_sha256":"0101010101010101010101010101010101010101010101010101010101010101","key":"0202020202020202020202020202020202020202020202020202020202020202","signature":"AAEC"}]}"#,
    ),
    (
        "signing_request",
        r#"{"schema_version":1,"kind":"signing-request","id":"00112233445566778899aabbccddeeff","repository":"a/b","mode":"spec","base":[],"reason":"x","created_by":"y","created_at":"2030-01-02T03:04:05Z","not_after":"2030-01-03T03:04:05Z","documents":[{"role":"root","metadata":"eyJzaWduZWQiOnsiX3R5cGUiOiJyb290Iiwic3BlY192ZXJzaW9uIjoiMS4wLjAiLCJ2ZXJzaW9uIjoxLCJleHBpcmVzIjoiMjAzMS0wMS0wMlQwMzowNDowNVoiLCJjb25zaXN0ZW50X3NuYXBzaG90Ijp0cnVlLCJrZXlzIjp7ImsiOnsia2V5dHlwZSI6ImVkMjU1MTkiLCJzY2hlbWUiOiJlZDI1NTE5Iiwia2V5dmFsIjp7InB1YmxpYyI6ImQ3NWE5ODAxODJiMTBhYjdkNTRiZmVkM2M5NjQwNzNhMGVlMTcyZjNkYWE2MjMyNWFmMDIxYTY4ZjcwNzUxMWEifX0sInMiOnsia2V5dHlwZSI6ImVkMjU1MTkiLCJzY2hlbWUiOiJlZDI1NTE5Iiwia2V5dmFsIjp7InB1YmxpYyI6IjNkNDAxN2MzZTg0Mzg5NWE5MmI3MGFhNzRkMWI3ZWJjOWM5ODJjY2YyZWM0OTY4Y2MwY2Q1NWYxMmFmNDY2MGMifX19LCJyb2xlcyI6eyJyb290Ijp7ImtleWlkcyI6WyJrIl0sInRocmVzaG9sZCI6MX0sInRhcmdldHMiOnsia2V5aWRzIjpbImsiXSwidGhyZXNob2xkIjoxfSwic25hcHNob3QiOnsia2V5aWRzIjpbInMiXSwidGhyZXNob2xkIjoxfSwidGltZXN0YW1wIjp7ImtleWlkcyI6WyJzIl0sInRocmVzaG9sZCI6MX19fSwic2lnbmF0dXJlcyI6W119"},{"role":"targets","metadata":"eyJzaWduZWQiOnsiX3R5cGUiOiJ0YXJnZXRzIiwic3BlY192ZXJzaW9uIjoiMS4wLjAiLCJ2ZXJzaW9uIjoxLCJleHBpcmVzIjoiMjAzMS0wMS0wMlQwMzowNDowNVoiLCJ0YXJnZXRzIjp7fX0sInNpZ25hdHVyZXMiOltdfQ=="}],"files":[],"holders":[{"fingerprint":"0101010101010101010101010101010101010101010101010101010101010101","name":"z"}]}"#,
    ),
    (
        "signing_request_export",
        r#"{"schema_version":1,"kind":"signing-request-export","request":{"schema_version":1,"kind":"signing-request","id":"00112233445566778899aabbccddeeff","repository":"a/b","mode":"spec","base":[],"reason":"x","created_by":"y","created_at":"2030-01-02T03:04:05Z","not_after":"2030-01-03T03:04:05Z","documents":[{"role":"root","metadata":"eyJzaWduZWQiOnsiX3R5cGUiOiJyb290Iiwic3BlY192ZXJzaW9uIjoiMS4wLjAiLCJ2ZXJzaW9uIjoxLCJleHBpcmVzIjoiMjAzMS0wMS0wMlQwMzowNDowNVoiLCJjb25zaXN0ZW50X3NuYXBzaG90Ijp0cnVlLCJrZXlzIjp7ImsiOnsia2V5dHlwZSI6ImVkMjU1MTkiLCJzY2hlbWUiOiJlZDI1NTE5Iiwia2V5dmFsIjp7InB1YmxpYyI6ImQ3NWE5ODAxODJiMTBhYjdkNTRiZmVkM2M5NjQwNzNhMGVlMTcyZjNkYWE2MjMyNWFmMDIxYTY4ZjcwNzUxMWEifX0sInMiOnsia2V5dHlwZSI6ImVkMjU1MTkiLCJzY2hlbWUiOiJlZDI1NTE5Iiwia2V5dmFsIjp7InB1YmxpYyI6IjNkNDAxN2MzZTg0Mzg5NWE5MmI3MGFhNzRkMWI3ZWJjOWM5ODJjY2YyZWM0OTY4Y2MwY2Q1NWYxMmFmNDY2MGMifX19LCJyb2xlcyI6eyJyb290Ijp7ImtleWlkcyI6WyJrIl0sInRocmVzaG9sZCI6MX0sInRhcmdldHMiOnsia2V5aWRzIjpbImsiXSwidGhyZXNob2xkIjoxfSwic25hcHNob3QiOnsia2V5aWRzIjpbInMiXSwidGhyZXNob2xkIjoxfSwidGltZXN0YW1wIjp7ImtleWlkcyI6WyJzIl0sInRocmVzaG9sZCI6MX19fSwic2lnbmF0dXJlcyI6W119"},{"role":"targets","metadata":"eyJzaWduZWQiOnsiX3R5cGUiOiJ0YXJnZXRzIiwic3BlY192ZXJzaW9uIjoiMS4wLjAiLCJ2ZXJzaW9uIjoxLCJleHBpcmVzIjoiMjAzMS0wMS0wMlQwMzowNDowNVoiLCJ0YXJnZXRzIjp7fX0sInNpZ25hdHVyZXMiOltdfQ=="}],"files":[],"holders":[{"fingerprint":"0101010101010101010101010101010101010101010101010101010101010101","name":"z"}]},"roots":["e30="],"documents":[{"role":"root","metadata":"e30="}]}"#,
    ),
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let piece =
            prop_oneof![select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()), vec(any::<u8>(), 1..4)];
        prop_oneof![
            1 => any::<Index>().prop_map(Self::Cut),
            4 => (any::<Index>(), 1..=255u8).prop_map(|(at, mask)| Self::Flip(at, mask)),
            4 => (any::<Index>(), piece).prop_map(|(at, piece)| Self::Insert(at, piece)),
            2 => (any::<Index>(), 1..20usize).prop_map(|(at, count)| Self::Remove(at, count)),
            2 => (any::<Index>(), 1..60usize).prop_map(|(at, count)| Self::Repeat(at, count)),
        ]
    }

    fn apply(&self, data: &mut Vec<u8>) {
        let end = |at: usize, count: usize, data: &[u8]| (at + count).min(data.len());
        match self {
            Self::Cut(at) => data.truncate(at.index(data.len() + 1)),
            Self::Flip(at, mask) => {
                if !data.is_empty() {
                    let at = at.index(data.len());
                    data[at] ^= mask;
                }
            }
            Self::Insert(at, piece) => {
                let at = at.index(data.len() + 1);
                data.splice(at..at, piece.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(data.len() + 1);
                data.drain(at..end(at, *count, data));
            }
            Self::Repeat(at, count) => {
                let at = at.index(data.len() + 1);
                let again = data[at..end(at, *count, data)].to_vec();
                data.splice(at..at, again);
            }
        }
    }
}

/// An input that is shown as text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    (select(seeds), vec(Change::any(), 0..5)).prop_map(|(mut data, changes)| {
        changes.iter().for_each(|change| change.apply(&mut data));
        Input(data)
    })
}

fn read_folder(folder: &Path, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(read_folder(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension)
            && fs::metadata(&path).unwrap().len() <= SEED_BYTES
        {
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    files
}

/// Good inputs for one target: those above, the key files beside, and metadata of others.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds: Vec<Vec<u8>> = SEEDS
        .iter()
        .filter(|(target, _)| *target == name)
        .map(|(_, seed)| seed.as_bytes().to_vec())
        .collect();
    let keys = read_folder(&here.join("tests/data/keys"), "pem").into_iter().map(|(_, text)| text);
    let texts = |folder: &str, extension: &str| {
        read_folder(&here.join(folder), extension).into_iter().map(|(_, text)| text)
    };
    let der = |text: Vec<u8>| pem_rfc7468::decode_vec(&text).unwrap().1;
    match name {
        "public_key_pem" | "sealed_key" => seeds.extend(keys),
        "public_key_spki" | "secret_key_pkcs8" => seeds.extend(keys.map(der)),
        // The point lies at the end of the structure.
        "public_key_raw" => seeds.extend(
            keys.map(der)
                .flat_map(|der| [32, 33, 65].map(|length| der[der.len().saturating_sub(length)..].to_vec())),
        ),
        "policy" => seeds.extend(texts("tests/data/policy", "toml")),
        "backup" => seeds.push(backup()),
        "backup_share" => seeds.extend(shares()),
        "certificate" => seeds.extend(texts("tests/data/certificates", "pem")),
        "key_file" => {
            seeds.extend(keys);
            seeds.extend(texts("tests/data/notary-keys", "pem"));
            seeds.extend(texts("../../shared/data/notary-v1", "key"));
        }
        "notary_envelope" | "notary_root" | "notary_targets" | "notary_snapshot" | "notary_timestamp" => {
            let files = read_folder(&here.join("../../shared/data/notary-v1"), "json");
            if files.is_empty() {
                eprintln!("SKIPPED: no ../shared/data; hint: {name} starts from built-in documents alone");
            }
            let role = name.strip_prefix("notary_").unwrap();
            let fits = |path: &Path| {
                // Roles below targets lie in a folder of that name.
                role == "envelope" || path.to_string_lossy().contains(&format!("/{role}"))
            };
            seeds.extend(files.into_iter().filter(|(path, _)| fits(path)).map(|(_, text)| text));
        }
        "json" | "envelope" | "root" | "targets" | "snapshot" | "timestamp" => {
            let files = read_folder(&here.join("../../shared/data/tuf"), "json");
            if files.is_empty() {
                eprintln!("SKIPPED: no ../shared/data; hint: {name} starts from built-in documents alone");
            }
            let fits = |path: &Path| {
                matches!(name, "json" | "envelope")
                    || path.file_name().is_some_and(|file| file.to_string_lossy().contains(name))
            };
            seeds.extend(files.into_iter().filter(|(path, _)| fits(path)).map(|(_, text)| text));
        }
        _ => {}
    }
    seeds
}

fn backup() -> Vec<u8> {
    let text = |name: &str| {
        fs::read_to_string(format!("{}/tests/data/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let public = PublicKey::from_pem(&text("ed25519")).unwrap();
    let sidecar = KeySidecar {
        name: "alice".parse().unwrap(),
        fingerprint: public.fingerprint(),
        algorithm: public.algorithm(),
        created: "2030-01-02T03:04:05Z".parse().unwrap(),
        roles: vec![],
        loaded: None,
    };
    let sealed = SealedKey::parse(&text("ed25519-sealed")).unwrap();
    let roots = KnownRoots {
        repository: "registry.example.com/app".parse().unwrap(),
        dialect: Dialect::Tuf1,
        roots: vec![b"{}".to_vec().into()],
    };
    let backup = Backup {
        id: BackupId([7; 16]),
        created: "2030-01-02T03:04:05Z".parse().unwrap(),
        keys: vec![BackupKey { sidecar, public, sealed }],
        pins: "version = 1\n".to_owned(),
        repositories: vec![roots],
    };
    backup.to_bytes().unwrap()
}

/// One share, and two that fit together.
fn shares() -> Vec<Vec<u8>> {
    let shares = split(b"a secret", BackupId([7; 16]), Split::new(3, 2).unwrap(), &[9; 64]).unwrap();
    let texts: Vec<String> = shares.iter().map(|share| share.to_text().to_string()).collect();
    vec![texts[0].clone().into_bytes(), format!("{}\n{}", texts[1], texts[2]).into_bytes()]
}

#[test]
fn no_parser_panics_or_breaks_a_promise() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        let accepted = seeds.iter().filter(|seed| target(seed)).count();
        assert!(accepted > 0, "{name} accepts none of its {} seeds: it is tested on nothing", seeds.len());

        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        // The same inputs in every run: whoever broke a parser sees it, and nobody else. To look
        // for what nobody saw is libFuzzer's part.
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let result = TestRunner::new_with_rng(config, random).run(&changed(seeds), |input| {
            target(&input.0);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn every_target_is_a_program_for_libfuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is in no manifest");
        let program = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::{name}(data)")), "{name}.rs runs something else");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets::ALL.len());
}
