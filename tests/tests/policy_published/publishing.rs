//! Publishing: what is taken, as whom, and what is printed.

use super::*;

#[test]
fn what_is_published_is_what_everybody_reads() {
    let site = Site::begin();
    let (text, file) = (site.text(3, ALICE), site.file(3, ALICE));
    let planned = site.publish(0, &file, &["--dry-run", "--output", "json"]).json();
    assert_eq!((&planned["dry_run"], &planned["role"]), (&true.into(), &"targets".into()));
    assert!(!site.judged.admin.home("policies.toml").exists(), "a dry run notes nothing");
    expect(&site.judged.admin, 3, &["policy", "show", &site.repo]);

    let published = site.publish(0, &file, &["--output", "json"]).json();
    assert_eq!((&published["version"], &published["policy"]), (&3.into(), &"company".into()));
    let again = site.publish(0, &file, &["--output", "json"]).json();
    assert_eq!((&again["unchanged"], again.get("documents")), (&true.into(), None));
    let user = site.consumer();
    assert_eq!(expect(&user, 0, &["policy", "show", &site.repo]).stdout, text, "byte for byte");
    let shown = expect(&user, 0, &["policy", "show", &site.repo, "--output", "json"]).json();
    assert_eq!((&shown["text"], &shown["version"]), (&text.as_str().into(), &3.into()));
    assert_eq!(shown["digest"], Sha256Digest::of(text.as_bytes()).to_oci());
    assert!(shown["signed_at"].is_string());
    // Another name is another policy.
    expect(&user, 3, &["policy", "show", &site.repo, "--name", "prod"]);
    site.publish(0, &site.file(1, BOB), &["--name", "prod"]);
    expect(&user, 0, &["policy", "show", &site.repo, "--name", "prod"]);
}

#[test]
fn versions_rise() {
    let site = Site::begin();
    site.say(3, ALICE);
    for (version, rules) in [(2, ALICE), (2, BOB), (3, BOB)] {
        let file = site.file(version, rules);
        let refused = site.publish(2, &file, &[]);
        assert!(refused.stderr.contains("hint: raise it in the file: version = 4"), "{}", refused.stderr);
        // A home that published nothing yet reads what is published.
        let forgot = site.judged.admin.home("policies.toml");
        let known = std::fs::read(&forgot).unwrap();
        std::fs::remove_file(&forgot).unwrap();
        site.publish(2, &file, &[]);
        std::fs::write(&forgot, known).unwrap();
    }
    // What this home used counts as well, where the server was put back.
    site.rewrite("targets", vec![], &|targets| targets.clear());
    site.publish(2, &site.file(2, ALICE), &[]);
    expect(&site.consumer(), 3, &["policy", "show", &site.repo]);
    site.publish(0, &site.file(3, ALICE), &[]);
    site.publish(0, &site.file(4, BOB), &[]);
}

#[test]
fn what_nobody_could_use_is_not_published() {
    let site = Site::begin();
    let text = site.text(1, ALICE);
    for (name, odd) in [
        ("format.toml", text.replace("policy = 1\n", "policy = 2\n")),
        ("key.toml", format!("surprise = 1\n{text}")),
        ("none.toml", text.replace("version = 1\n", "")),
        ("huge.toml", text.replace("version = 1\n", "version = 9007199254740992\n")),
        ("long.toml", format!("{text}{}", "# \n".repeat(400_000))),
    ] {
        let refused = site.publish(3, &site.judged.file(name, &odd), &[]);
        assert!(refused.stderr.contains("hint: "), "{name}: {}", refused.stderr);
    }
    site.publish(3, "/nowhere/policy.toml", &[]);
    assert!(!site.judged.admin.home("policies.toml").exists());
}

#[test]
fn a_role_for_policies_publishes_them_and_nobody_else() {
    let site = Site::begin();
    site.add_role("scanner", &["att/**"]);
    site.add_role("alice", &["*"]);
    site.add_role("wide", &["*/*"]);
    site.add_role("mixed", &["policy/*", "att/**"]);
    let file = site.file(1, ALICE);
    for role in ["scanner", "alice", "wide", "mixed"] {
        let refused = site.publish(12, &file, &["--as", role]);
        assert!(refused.stderr.contains("--tags 'policy/*'"), "{role}: {}", refused.stderr);
    }
    site.publish(2, &file, &["--as", "nobody"]);
    site.add_role("rules", &["policy/*"]);
    site.add_role("prod", &["policy/prod.toml"]);
    site.publish(12, &file, &["--as", "prod"]);
    let published = site.publish(0, &file, &["--output", "json"]).json();
    assert_eq!(published["role"], "rules", "not as the admin, where somebody has the task");
    let refused = site.publish(2, &file, &["--name", "prod"]);
    assert!(refused.stderr.contains("choose one: --as SIGNER"), "{}", refused.stderr);
    site.publish(0, &file, &["--name", "prod", "--as", "prod"]);
    // Who lists it goes on.
    site.publish(0, &site.file(2, ALICE), &["--name", "prod"]);
    let refused = site.publish(2, &site.file(3, ALICE), &["--name", "prod", "--as", "rules"]);
    assert!(refused.stderr.contains("prod lists this policy already"), "{}", refused.stderr);
    let user = site.consumer();
    let shown =
        expect(&user, 0, &["policy", "show", &site.repo, "--name", "prod", "--output", "json"]).json();
    assert_eq!((&shown["role"], &shown["version"]), (&"prod".into(), &2.into()));

    // None of them is taken for a signer of tags, or for one who attests.
    let tag = format!("{}:v1", site.repo);
    let image = format!("{tag}@{}", Sha256Digest::of(b"x").to_oci());
    expect(&site.judged.admin, 12, &["sign", &image, "--size", "1", "--as", "rules"]);
    expect(&site.judged.admin, 0, &["sign", &image, "--size", "1", "--as", "alice"]);
    let pinned = image.replace(":v1@", "@");
    let listed = expect(&user, 0, &["attestation", "list", &pinned, "--output", "json"]).json();
    assert_eq!(listed["silent"], serde_json::json!([]));
}

#[test]
fn a_first_signer_takes_over_tags_and_leaves_policies() {
    let site = Site::begin();
    site.say(1, ALICE);
    let image = format!("{}:v1@{}", site.repo, Sha256Digest::of(b"x").to_oci());
    expect(&site.judged.admin, 0, &["sign", &image, "--size", "1"]);
    let tags = |shown: &Value| {
        let tags = shown["tags"].as_array().unwrap().iter();
        tags.map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(tags(&expect(&site.judged.admin, 0, &["inspect", &site.repo]).json()), ["v1"]);
    site.add_role("alice", &["*"]);
    let user = site.consumer();
    expect(&user, 0, &["policy", "show", &site.repo]);
    expect(&user, 0, &["verify", &image]);
    assert_eq!(tags(&expect(&user, 0, &["inspect", &site.repo]).json()), ["v1"]);
    site.say(2, ALICE);
    expect(&user, 0, &["policy", "show", &site.repo]);
}

#[test]
fn legacy_repositories_keep_no_policies() {
    let site = Site::begin();
    let legacy = format!("{}/old", site.repo);
    expect(&site.judged.admin, 0, &["init", &legacy, "--mode", "legacy"]);
    let file = site.file(1, ALICE);
    let refused = expect(&site.judged.admin, 2, &["policy", "publish", &legacy, &file]);
    assert!(refused.stderr.contains("TUF 1.0"), "{}", refused.stderr);
    let refused = expect(&site.judged.admin, 3, &["policy", "show", &legacy]);
    assert!(refused.stderr.contains("TUF 1.0"), "{}", refused.stderr);
    let asked = ["verify", &site.image, "--policy-from", &legacy, "--output", "json"];
    assert_eq!(failed(&expect(&site.judged.admin, 3, &asked).json()), "policy.error");
}
