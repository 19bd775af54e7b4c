//! The pipelines in `examples/ci`, from build to pull: the very steps of their files, with a real registry and a
//! real trust server. There is no engine and no scanner here: `docker` and `trivy` are stand-ins that push an image
//! which the test made, and write a report which the test made.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::peers::absent;
use bulla_tests::pipeline::{Runner, Variables, example, filled};
use bulla_tests::programs::{Bullad, expect};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::reports::trivy;
use jiff::SignedDuration;
use saphyr::{LoadableYamlNode as _, Yaml};

/// A stage of a pipeline: scripts, each for a shell of its own.
#[derive(Debug, Default)]
struct Job {
    name: String,
    variables: Variables,
    steps: Vec<String>,
    /// Run whatever happened.
    last: Vec<String>,
}

/// The repository that the pipelines work in, and what their owners were given.
struct Site {
    registry: ImageRegistry,
    server: Bullad,
    admin: Cli,
    repository: String,
    root_sha256: String,
    policy: String,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Option<Self> {
        if Command::new("skopeo").arg("--version").output().is_err() {
            absent("skopeo", "bash .ci/peers installs it");
            return None;
        }
        let registry = ImageRegistry::start()?;
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user();
        let repository = registry.repository("team/app");
        for key in ["root", "targets", "ci", "ci-trivy"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        let begun = expect(&admin, 0, &["init", &repository, "--output", "json"]).json();
        let public = |name: &str| admin.home(&format!("keys/{name}.pub")).to_str().unwrap().to_owned();
        expect(&admin, 0, &["signer", "add", &repository, "ci", "--key", &public("ci")]);
        let scanner = ["signer", "add", &repository, "ci-trivy", "--key", &public("ci-trivy")];
        expect(&admin, 0, &[&scanner[..], &["--tags", "att/**"]].concat());
        let root = expect(&admin, 0, &["key", "show", "root", "--output", "json"]).json();
        let policy = policy(&repository, &server.url, root["fingerprint"].as_str().unwrap());
        Some(Self {
            root_sha256: begun["root_sha256"].as_str().unwrap().to_owned(),
            registry,
            server,
            admin,
            repository,
            policy,
            _folder: folder,
        })
    }

    /// The key of that name as base64 of its file, which is what the pipelines are given.
    fn key(&self, name: &str) -> String {
        STANDARD.encode(fs::read_to_string(self.admin.home(&format!("keys/{name}.key"))).unwrap())
    }

    /// A machine with the sources checked out, whose build makes `prepared`, with so many critical findings.
    fn runner(&self, prepared: &Image, critical: usize) -> Runner {
        let runner = Runner::new(&self.server);
        let work = runner.folder.path();
        fs::write(work.join("policy.toml"), &self.policy).unwrap();
        let report = work.join("report-of-the-stand-in.json");
        fs::write(&report, trivy(prepared, critical, SignedDuration::from_secs(5)).to_string()).unwrap();
        runner.stand_in("docker", &docker(prepared));
        let trivy = "#!/bin/sh\n# Stands in for trivy.\n\
            [ \"$1 $2 $3 $4\" = 'image --format json --output' ] && cp REPORT \"$5\"\n";
        runner.stand_in("trivy", &trivy.replace("REPORT", report.to_str().unwrap()));
        runner
    }

    /// What a pipeline is told from outside, under the names that are the same for all of them.
    fn given(&self, sha: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("repository", self.repository.clone()),
            ("sha", sha.to_owned()),
            ("server", self.server.url.clone()),
            ("root", self.root_sha256.clone()),
            ("scanner-key", self.key("ci-trivy")),
            ("signing-key", self.key("ci")),
            ("key-passphrase", PASSPHRASE.to_owned()),
            ("bulla-token", String::new()),
        ])
    }
}

/// The example's policy, with this site's names.
fn policy(repository: &str, server: &str, root_key: &str) -> String {
    let host = repository.split_once('/').unwrap().0;
    let mut policy = example("policy.toml");
    let example_key = policy.split("root_keys").nth(1).unwrap().split('"').nth(1).unwrap().to_owned();
    for (name, ours) in
        [("registry.example.com", host), ("https://trust.example.com", server), (&example_key, root_key)]
    {
        assert!(policy.contains(name), "{name}");
        policy = policy.replace(name, ours);
    }
    policy
}

fn docker(prepared: &Image) -> String {
    let script = r#"#!/bin/sh
# Stands in for docker.
copy="skopeo copy --quiet --insecure-policy --preserve-digests --src-tls-verify=false"
case "$1" in
    build) [ "$2 $4" = "-t ." ] && echo "$3" >built ;;
    push) [ "$(cat built)" = "$2" ] && $copy --dest-tls-verify=false "docker://PREPARED" "docker://$2" ;;
    pull) $copy "docker://$2" oci:pulled:it && echo "$2" >pull ;;
    *) exit 64 ;;
esac
"#;
    script.replace("PREPARED", &prepared.pinned())
}

fn text<'a>(yaml: &'a Yaml<'_>) -> &'a str {
    yaml.as_str().unwrap_or_else(|| panic!("not a text: {yaml:?}"))
}

fn variables(pairs: &[(&str, &String)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect()
}

/// GitLab: all lines of a job are one script, and every job has the variables of the project.
fn gitlab(given: &BTreeMap<&str, String>) -> Vec<Job> {
    let source = example("gitlab-pipeline.yml");
    let file = &Yaml::load_from_str(&source).unwrap()[0];
    assert!(file["variables"]["BULLA_SERVER"].as_str().is_some());
    let variables = variables(&[
        ("CI_REGISTRY_IMAGE", &given["repository"]),
        ("CI_COMMIT_SHA", &given["sha"]),
        ("BULLA_SERVER", &given["server"]),
        ("BULLA_ROOT_SHA256", &given["root"]),
        ("SCANNER_KEY", &given["scanner-key"]),
        ("SIGNING_KEY", &given["signing-key"]),
        ("BULLA_PASSPHRASE", &given["key-passphrase"]),
        ("BULLA_TOKEN", &given["bulla-token"]),
    ]);
    let script = |yaml: &Yaml<'_>| {
        let lines: Vec<&str> = yaml.as_sequence().into_iter().flatten().map(text).collect();
        (!lines.is_empty()).then(|| lines.join("\n")).into_iter().collect()
    };
    let stages = file["stages"].as_sequence().unwrap().iter().map(text);
    let jobs = stages.map(|name| Job {
        name: name.to_owned(),
        variables: variables.clone(),
        steps: script(&file[name]["script"]),
        last: file[name].as_mapping_get("after_script").map(script).unwrap_or_default(),
    });
    jobs.collect()
}

/// GitHub: each step is a shell of its own, and a job has what its `env` names.
fn github(given: &BTreeMap<&str, String>) -> Vec<Job> {
    let source = example("github-pipeline.yml");
    let file = &Yaml::load_from_str(&source).unwrap()[0];
    let expressions: BTreeMap<&str, &str> = [
        ("vars.IMAGE", "repository"),
        ("vars.BULLA_SERVER", "server"),
        ("vars.BULLA_ROOT_SHA256", "root"),
        ("github.sha", "sha"),
        ("secrets.SCANNER_KEY", "scanner-key"),
        ("secrets.SIGNING_KEY", "signing-key"),
        ("secrets.KEY_PASSPHRASE", "key-passphrase"),
        ("secrets.BULLA_TOKEN", "bulla-token"),
    ]
    .into_iter()
    .map(|(expression, name)| (expression, given[name].as_str()))
    .collect();
    let env = |yaml: Option<&Yaml<'_>>| -> Variables {
        let pairs = yaml.and_then(Yaml::as_mapping).into_iter().flatten();
        pairs.map(|(name, value)| (text(name).to_owned(), filled(text(value), &expressions))).collect()
    };
    let mut jobs = Vec::new();
    for (name, job) in file["jobs"].as_mapping().unwrap() {
        let mut variables = env(file.as_mapping_get("env"));
        variables.extend(env(job.as_mapping_get("env")));
        let mut read = Job { name: text(name).to_owned(), variables, ..Job::default() };
        for step in job["steps"].as_sequence().unwrap() {
            let Some(run) = step.as_mapping_get("run") else { continue };
            let always = step.as_mapping_get("if").is_some_and(|when| text(when) == "always()");
            if always { &mut read.last } else { &mut read.steps }.push(filled(text(run), &expressions));
        }
        jobs.push(read);
    }
    jobs
}

/// Jenkins: each `sh` is a shell of its own. Only what the example uses of the language is read here.
fn jenkins(given: &BTreeMap<&str, String>) -> Vec<Job> {
    let file = example("Jenkinsfile");
    let (common, stages) = file.split_once("    stages {").unwrap();
    let (stages, post) = stages.split_once("    post {").unwrap();
    let environment = |part: &str| -> Variables {
        let assignments = part.lines().filter_map(|line| line.trim().split_once(" = "));
        let value = |value: &str| match value.split('\'').nth(1) {
            Some(id) if value.starts_with("credentials(") => given[id].clone(),
            Some(literal) => literal.to_owned(),
            None => value.trim_matches('"').replace("${WORKSPACE_TMP}", "tmp"),
        };
        assignments.map(|(name, assigned)| (name.to_owned(), value(assigned))).collect()
    };
    let shells = |part: &str| -> Vec<String> {
        let calls = part.split("sh '").skip(1).map(|call| match call.strip_prefix("''") {
            Some(lines) => lines.split("'''").next(),
            None => call.split('\'').next(),
        });
        calls.map(|shell| shell.unwrap().to_owned()).collect()
    };
    let mut variables = environment(common);
    for (name, value) in [
        ("REPOSITORY", "repository"),
        ("BULLA_SERVER", "server"),
        ("BULLA_ROOT_SHA256", "root"),
        ("GIT_COMMIT", "sha"),
    ] {
        let before = variables.insert(name.to_owned(), given[value].clone());
        assert_eq!(before.is_none(), name == "GIT_COMMIT", "{name}");
    }
    let mut jobs = Vec::new();
    for stage in stages.split("        stage('").skip(1) {
        let (name, body) = stage.split_once("')").unwrap();
        let head = body.split("steps {").next().unwrap();
        let mut own = variables.clone();
        own.extend(environment(head));
        jobs.push(Job { name: name.to_owned(), variables: own, steps: shells(body), last: Vec::new() });
    }
    jobs.push(Job { name: "post".to_owned(), variables, steps: Vec::new(), last: shells(post) });
    jobs
}

/// How a pipeline went.
#[derive(Debug)]
struct Run {
    /// The job that failed, and its exit code.
    failed: Option<(String, i32)>,
    /// What was run, and what it said.
    log: String,
    /// What the last machine pulled.
    pulled: Option<String>,
}

/// A pipeline whose machines are made by `runner`: a fresh one for each job, or one for all of them.
fn run(jobs: Vec<Job>, fresh: bool, runner: impl Fn() -> Runner) -> Run {
    let mut machine = runner();
    let mut run = Run { failed: None, log: String::new(), pulled: None };
    for job in jobs {
        if run.failed.is_some() && job.name != "post" {
            continue;
        }
        if fresh {
            let built = fs::read(machine.folder.path().join("built")).ok();
            machine = runner();
            // What the stand-in built is what its registry has.
            built
                .into_iter()
                .for_each(|built| fs::write(machine.folder.path().join("built"), built).unwrap());
        }
        for step in &job.steps {
            let output = machine.run(step, &job.variables);
            run.log += &logged(&job.name, step, &output);
            if !output.status.success() {
                run.failed = Some((job.name.clone(), output.status.code().unwrap_or(-1)));
                break;
            }
        }
        for step in &job.last {
            run.log += &logged(&job.name, step, &machine.run(step, &job.variables));
        }
        let secrets = ["SCANNER_KEY", "SIGNING_KEY", "BULLA_PASSPHRASE"].map(|name| job.variables.get(name));
        let secrets: Vec<&str> = secrets.into_iter().flatten().map(String::as_str).collect();
        if !job.last.is_empty() && !secrets.is_empty() {
            machine.keeps_nothing(&secrets);
        }
        let pulled = fs::read_to_string(machine.folder.path().join("pull")).ok();
        run.pulled = pulled.map(|pulled| pulled.trim().to_owned());
    }
    run
}

fn logged(job: &str, step: &str, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{job}: {step}\n{}{}{:?}\n", text(&output.stdout), text(&output.stderr), output.status)
}

/// A good image goes all the way; one with critical findings is not signed; one without a scan neither; and one
/// that turned out bad later is not pulled.
fn pipeline(jobs: fn(&BTreeMap<&str, String>) -> Vec<Job>, fresh: bool) {
    let Some(site) = Site::new() else { return };
    let sha = |content: &str| format!("{:0>40}", content.len());
    let mut names: Vec<String> = jobs(&site.given("0")).into_iter().map(|job| job.name).collect();
    names.retain(|name| name != "trust" && name != "post");
    assert_eq!(names, ["build", "scan", "sign", "deploy"]);

    let good = site.registry.push("team/app", "good", "a good image");
    let passed = run(jobs(&site.given(&sha("good"))), fresh, || site.runner(&good, 0));
    assert_eq!(passed.failed, None, "{}", passed.log);
    assert_eq!(passed.pulled, Some(good.pinned()), "{}", passed.log);
    expect(&site.admin, 0, &["verify", &good.with_tag(&sha("good")).tagged()]);

    let bad = site.registry.push("team/app", "bad", "an image with holes");
    let stopped = run(jobs(&site.given(&sha("an image"))), fresh, || site.runner(&bad, 2));
    assert_eq!(stopped.failed, Some(("sign".to_owned(), 20)), "{}", stopped.log);
    assert_eq!(stopped.pulled, None, "{}", stopped.log);
    let unsigned = site.admin.run(&["verify", &bad.with_tag(&sha("an image")).tagged()]);
    assert_eq!(unsigned.code, 12, "it was not signed: {unsigned:?}");

    let mut unscanned = jobs(&site.given(&sha("never scanned")));
    unscanned.retain(|job| job.name != "scan");
    let unseen = site.registry.push("team/app", "unseen", "an image that nobody looked into");
    let stopped = run(unscanned, fresh, || site.runner(&unseen, 0));
    assert_eq!(stopped.failed, Some(("sign".to_owned(), 21)), "{}", stopped.log);

    // Scanned again on another day, and now two holes are known.
    let again = |wanted: &str| -> Vec<Job> {
        let all = jobs(&site.given(&sha("good"))).into_iter();
        all.filter(|job| [wanted, "trust"].contains(&job.name.as_str())).collect()
    };
    let scanned = run(again("scan"), fresh, || site.runner(&good, 2));
    assert_eq!(scanned.failed, None, "{}", scanned.log);
    let refused = run(again("deploy"), fresh, || site.runner(&good, 2));
    assert_eq!(refused.failed, Some(("deploy".to_owned(), 20)), "{}", refused.log);
    assert_eq!(refused.pulled, None, "{}", refused.log);
}

#[test]
fn the_pipeline_of_gitlab() {
    pipeline(gitlab, true);
}

#[test]
fn the_pipeline_of_github() {
    pipeline(github, true);
}

#[test]
fn the_pipeline_of_jenkins() {
    pipeline(jenkins, false);
}
