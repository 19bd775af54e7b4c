//! The commands from the outside: their exit codes, and the bytes that they give out.

use std::fs;
use std::time::Duration;

use bulla_tests::cli::{Cli, PASSPHRASE, Ran};
use bulla_tests::server::BEGIN;

use super::*;

async fn run(cli: &Cli, args: &[&str]) -> Ran {
    // The server runs in this process, so it must not be kept from working.
    tokio::task::block_in_place(|| cli.run(args))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_report_to_its_bytes_again() {
    let server = TestServer::start().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    server.clock.advance(i64::try_from(now).unwrap() - BEGIN);
    let cli = Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
        .with("BULLA_PASSPHRASE", PASSPHRASE)
        .with("BULLA_SERVER", &server.url(""));
    for key in ["root", "targets", "trivy"] {
        run(&cli, &["key", "generate", key]).await.ok();
    }
    run(&cli, &["init", NAME]).await.ok();
    let digest = Sha256Digest::of(b"one");
    let (tagged, pinned) = (format!("{NAME}:1@{}", digest.to_oci()), format!("{NAME}@{}", digest.to_oci()));
    run(&cli, &["sign", &tagged, "--size", "3"]).await.ok();
    let write = |name: &str, content: &[u8]| {
        let path = cli.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = serde_json::to_string_pretty(&trivy(digest, 2)).unwrap();
    let report = write("report.json", text.as_bytes());
    let attest = |file: &str, more: &[&str]| {
        let args = ["attest", &pinned, file, "--size", "3"].map(str::to_owned);
        args.into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect::<Vec<_>>()
    };
    let ask = async |args: Vec<String>| run(&cli, &args.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let ran = ask(attest(&report, &[])).await;
    assert_eq!(ran.code, 12, "nobody may attest: {}", ran.stderr);
    assert!(ran.stderr.contains("bulla signer add"), "{}", ran.stderr);
    let key = cli.home("keys/trivy.pub");
    let key = key.to_str().unwrap();
    run(&cli, &["signer", "add", NAME, "ci-trivy", "--key", key, "--tags", "att/**"]).await.ok();
    assert_eq!(ask(attest(&report, &["--dry-run"])).await.code, 0);
    assert_eq!(run(&cli, &["attestation", "show", &tagged]).await.code, 21, "nothing was changed");
    ask(attest(&report, &["--type", "trivy"])).await.ok();

    let suppressed = text.replace(
        "\"Class\": \"os-pkgs\"",
        r#""Class":"os-pkgs","ExperimentalModifiedFindings":[{"Type":"vulnerability","Status":"ignored","Finding":{"VulnerabilityID":"CVE-2030-9"}}]"#,
    );
    assert_ne!(suppressed, text);
    let filtered = write("filtered.json", suppressed.as_bytes());
    for (file, more, code, hint) in [
        (write("empty.json", b""), &[][..], 21, "hint:"),
        (write("odd.json", b"{}"), &[], 21, "hint:"),
        (
            write("cluster.json", text.replace("\"ArtifactType\"", "\"ClusterName\"").as_bytes()),
            &[],
            21,
            "hint:",
        ),
        (
            write("other.json", trivy(Sha256Digest::of(b"two"), 0).to_string().as_bytes()),
            &[],
            21,
            "scan this very image",
        ),
        (write("none.json", text.replace("RepoDigests", "RepoTags").as_bytes()), &[], 21, "--unbound"),
        (filtered.clone(), &[], 21, "--scan-args"),
        (write("large.json", &vec![b' '; 16 * 1024 * 1024 + 1]), &[], 21, "16777217 bytes"),
        ("/nowhere/report.json".to_owned(), &[], 21, "hint:"),
        (report.clone(), &["--type", "grype"], 21, "hint:"),
        (report.clone(), &["--predicate-type", "https://example.com/t"], 2, "--type custom"),
        (report.clone(), &["--type", "custom", "--scan-args", "x"], 2, "hint:"),
        (report.clone(), &["--as", "nobody"], 2, "hint:"),
        (
            report.clone(),
            &["--type", "custom", "--predicate-type", "https://sigstore.dev/cosign/sign/v1"],
            2,
            "--predicate-type",
        ),
    ] {
        let ran = ask(attest(&file, more)).await;
        assert_eq!(ran.code, code, "{file} {more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(hint), "{file} {more:?}: {}", ran.stderr);
    }
    // What is newer is told by whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ask(attest(&filtered, &["--scan-args", "image --ignorefile .trivyignore"])).await.ok();

    let listed = run(&cli, &["attestation", "list", &tagged, "--output", "json"]).await.json();
    assert_eq!(listed["attestations"].as_array().unwrap().len(), 2, "{listed:#}");
    assert_eq!(listed["attestations"][0]["says"]["arguments"][1], "--ignorefile");
    assert!(listed["attestations"][0]["says"]["filtered"].is_string());
    assert_eq!(listed["attestations"][1]["says"]["counts"]["high"], 2);
    let people = run(&cli, &["attestation", "list", &tagged]).await.ok();
    assert!(people.contains("ci-trivy") && people.contains("filtered"), "{people}");
    let shown = run(&cli, &["attestation", "show", &tagged, "vulns", "--output", "json"]).await.json();
    assert_eq!(shown["findings"][0]["id"], "CVE-2030-0");
    run(&cli, &["attestation", "show", &tagged, "2"]).await.ok();
    assert_eq!(run(&cli, &["attestation", "show", &tagged, "sbom"]).await.code, 21);

    let out = run(&cli, &["attestation", "download", &tagged, "2", "--report"]).await.ok();
    assert_eq!(out, text, "byte for byte");
    let predicate = run(&cli, &["attestation", "download", &tagged, "2", "--predicate"]).await.json();
    assert_eq!(predicate["scanner"]["result"], trivy(digest, 2));
    let file = cli.folder.path().join("envelope.json");
    let prefix = listed["attestations"][1]["envelope"].as_str().unwrap()[..16].to_owned();
    let args = ["attestation", "download", &tagged, &prefix, "--out", file.to_str().unwrap()];
    run(&cli, &args).await.ok();
    let envelope = fs::read(&file).unwrap();
    assert_eq!(Sha256Digest::of(&envelope).to_oci(), listed["attestations"][1]["envelope"]);
    assert_eq!(run(&cli, &args).await.code, 2, "a file is not overwritten");
}
