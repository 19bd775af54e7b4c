//! The jobs in `examples/ci`: their commands, in order, against a real server and a real registry.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::pipeline::{Runner, Variables, example, filled};
use bulla_tests::programs::{Bullad, DockerRegistry, expect};
use saphyr::{LoadableYamlNode as _, Yaml};

const SHA: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A repository with one signer, whose key is a secret of the pipeline, and an image to sign.
struct Site {
    _folder: tempfile::TempDir,
    _registry: DockerRegistry,
    server: Bullad,
    admin: Cli,
    repository: String,
    root_sha256: String,
    token: String,
}

impl Site {
    async fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let registry = DockerRegistry::start(folder.path())?;
        let server = Bullad::start(folder.path());
        let admin = server.user();
        let repository = format!("{}/team/app", registry.host);
        for key in ["root", "targets", "alice"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        let begun = expect(&admin, 0, &["init", &repository, "--output", "json"]).json();
        let public = admin.home("keys/alice.pub");
        expect(&admin, 0, &["signer", "add", &repository, "alice", "--key", public.to_str().unwrap()]);
        push(&registry.host, SHA).await;
        Some(Self {
            _folder: folder,
            _registry: registry,
            server,
            admin,
            repository,
            root_sha256: begun["root_sha256"].as_str().unwrap().to_owned(),
            token: String::new(),
        })
    }

    /// The signer's key, as `bulla key export` writes it.
    fn key(&self, format: &str) -> String {
        let out = self.admin.folder.path().join(format);
        expect(
            &self.admin,
            0,
            &["key", "export", "alice", "--format", format, "--out", out.to_str().unwrap()],
        );
        let text = fs::read_to_string(&out).unwrap();
        fs::remove_file(out).unwrap();
        text
    }

    fn image(&self) -> String {
        format!("{}:{SHA}", self.repository)
    }
}

/// Pushes an index that lists nothing: an image as far as signing goes.
async fn push(host: &str, tag: &str) {
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    let url = format!("http://{host}/v2/team/app/manifests/{tag}");
    let put = reqwest::Client::new().put(url).header("content-type", INDEX).body(index);
    let answer = put.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

fn text<'a>(yaml: &'a Yaml<'_>) -> &'a str {
    yaml.as_str().unwrap_or_else(|| panic!("not a text: {yaml:?}"))
}

fn lines(yaml: &Yaml<'_>) -> String {
    let lines: Vec<&str> = yaml.as_sequence().expect("a list").iter().map(text).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_gitlab_signs() {
    let Some(site) = Site::new().await else { return };
    let source = example("gitlab-ci.yml");
    let job = &Yaml::load_from_str(&source).unwrap()[0]["sign"];
    let (docker, cosign) = (site.key("docker"), site.key("cosign"));
    for key in [STANDARD.encode(&docker), docker.clone(), cosign.clone(), STANDARD.encode(&cosign)] {
        let runner = Runner::new(&site.server);
        let given = [
            ("CI_REGISTRY_IMAGE", site.repository.as_str()),
            ("CI_COMMIT_SHA", SHA),
            ("DOCKER_TRUST_PRIVATE_KEY", &key),
            ("BULLA_PASSPHRASE", PASSPHRASE),
            ("BULLA_TOKEN", &site.token),
            ("BULLA_ROOT_SHA256", &site.root_sha256),
        ];
        let mut variables: Variables =
            given.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let own = job["variables"].as_mapping().unwrap();
        assert!(own.iter().any(|(name, _)| text(name) == "BULLA_SERVER"));
        variables.insert("BULLA_SERVER".to_owned(), site.server.url.clone());
        let script = [lines(&job["before_script"]), lines(&job["script"])].join("\n");
        let said = runner.ok(&script, &variables);
        assert!(said.contains(&format!("may sign:    alice of {}", site.repository)), "{said}");
        assert!(said.contains("loaded from: the variable DOCKER_TRUST_PRIVATE_KEY"), "{said}");
        runner.keeps_nothing(&[
            &key,
            docker.lines().nth(5).unwrap(),
            cosign.lines().nth(2).unwrap(),
            PASSPHRASE,
        ]);
        expect(&site.admin, 0, &["verify", &site.image()]);
        let _said = runner.ok(&lines(&job["after_script"]), &variables);
        assert_eq!(fs::read_dir(runner.folder.path().join(".bulla/keys")).unwrap().count(), 0);

        // A key that the pipeline did not get, or a wrong one, ends the job before it signs.
        for (wrong, code) in [(String::new(), 2), (STANDARD.encode("garbage"), 2)] {
            let runner = Runner::new(&site.server);
            variables.insert("DOCKER_TRUST_PRIVATE_KEY".to_owned(), wrong);
            assert_eq!(runner.run(&script, &variables).status.code(), Some(code));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workflow_of_github_signs() {
    let Some(site) = Site::new().await else { return };
    let source = example("github-workflow.yml");
    let job = &Yaml::load_from_str(&source).unwrap()[0]["jobs"]["sign"];
    let key = STANDARD.encode(site.key("docker"));
    let given = BTreeMap::from([
        ("secrets.SIGNING_KEY", key.as_str()),
        ("secrets.SIGNING_PASSPHRASE", PASSPHRASE),
        ("secrets.BULLA_TOKEN", &site.token),
        ("vars.BULLA_SERVER", &site.server.url),
        ("vars.BULLA_ROOT_SHA256", &site.root_sha256),
        ("vars.IMAGE", &site.repository),
        ("github.sha", SHA),
    ]);
    let variables: Variables = job["env"]
        .as_mapping()
        .unwrap()
        .iter()
        .map(|(name, value)| (text(name).to_owned(), filled(text(value), &given)))
        .collect();
    let runner = Runner::new(&site.server);
    let steps = job["steps"].as_sequence().unwrap();
    let mut said = String::new();
    for (at, step) in steps.iter().enumerate() {
        // Each step is a shell of its own.
        said += &runner.ok(&filled(text(&step["run"]), &given), &variables);
        if at + 2 == steps.len() {
            runner.keeps_nothing(&[&key, PASSPHRASE]);
            expect(&site.admin, 0, &["verify", &site.image()]);
        }
    }
    assert!(said.contains(&format!("may sign:    alice of {}", site.repository)), "{said}");
    assert_eq!(fs::read_dir(runner.folder.path().join(".bulla/keys")).unwrap().count(), 0);
}

/// What people copy must not show a key to whoever lists processes or reads logs.
#[test]
fn secrets_stand_in_no_command() {
    let files =
        ["gitlab-ci.yml", "github-workflow.yml", "gitlab-pipeline.yml", "github-pipeline.yml", "Jenkinsfile"];
    for name in files {
        let commands = example(name);
        let commands = commands.lines().filter(|line| !line.trim_start().starts_with(['#', '/']));
        for line in commands.filter(|line| line.contains("bulla ")) {
            for secret in
                ["$DOCKER_TRUST", "$SIGNING", "$SCANNER", "secrets.", "$BULLA_TOKEN", "$BULLA_PASSPHRASE"]
            {
                assert!(!line.contains(secret), "{name}: {line}");
            }
        }
    }
}
