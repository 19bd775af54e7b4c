//! Judging by a published policy: alone, together with a file, and where the machine says so.

use super::*;

#[test]
fn images_are_judged_by_what_is_published() {
    let site = Site::begin();
    site.say(1, ALICE);
    let user = site.consumer();
    let allowed = site.verify(&user, 0, &[]);
    assert_eq!((&allowed["policy"]["name"], &allowed["policy"]["version"]), (&"company".into(), &1.into()));
    assert!(allowed["reference"].is_string() && allowed["valid_until"].is_string());
    site.say(2, BOB);
    let refused = site.verify(&user, 12, &[]);
    assert_eq!((failed(&refused), &refused["policy"]["version"]), ("sign.threshold", &2.into()));
    let named = format!("{}#default", site.repo);
    expect(&user, 12, &["resolve", &site.image, "--policy-from", &named]);
    let explained = expect(&user, 0, &["policy", "explain", &site.image, "--policy-from", &named]);
    assert!(explained.stdout.contains("company (version 2)"), "{}", explained.stdout);
    expect(&user, 2, &["policy", "explain", &site.image]);
    expect(&user, 2, &["verify", &site.image, "--policy-from", "a#b#c"]);
    expect(&user, 2, &["verify", &site.image, "--platform", "linux/amd64"]);
}

#[test]
fn of_two_policies_both_decide() {
    let site = Site::begin();
    let user = site.consumer();
    let (alice, bob) = (site.judged.policy(ALICE), site.judged.policy(BOB));
    site.say(1, ALICE);
    let allowed = site.verify(&user, 0, &["--policy", &alice]);
    assert_eq!(
        (&allowed["policy"]["name"], &allowed["also"][0]["policy"]["name"]),
        (&"company".into(), &"tested".into())
    );
    let until = |verdict: &Value| verdict["valid_until"].as_str().unwrap().to_owned();
    assert!(until(&allowed) <= until(&allowed["also"][0]), "{allowed:#}");
    let refused = site.verify(&user, 12, &["--policy", &bob]);
    assert_eq!((&refused["policy"]["name"], &refused["reference"]), (&"tested".into(), &Value::Null));
    site.say(2, BOB);
    let refused = site.verify(&user, 12, &["--policy", &alice]);
    assert_eq!(refused["policy"]["name"], "company");
    for form in ["junit", "sarif"] {
        site.say(if form == "junit" { 3 } else { 4 }, ALICE);
        let args = ["verify", &site.image, "--policy-from", &site.repo, "--policy", &bob, "--output", form];
        assert!(expect(&user, 12, &args).stdout.contains("sign.threshold"), "{form}");
    }
}

#[test]
fn nothing_is_signed_that_a_published_policy_would_refuse() {
    let site = Site::begin();
    let admin = &site.judged.admin;
    let _ = site.judged.push("v2", "1000");
    let image = site.judged.image("v2");
    let sign =
        ["sign", &image, "--as", "alice", "--no-registry-signature", "--require-policy-from", &site.repo];
    expect(admin, 3, &sign);
    site.say(1, BOB);
    expect(admin, 12, &sign);
    site.say(2, ALICE);
    let bob = site.judged.policy(BOB);
    expect(admin, 12, &[&sign[..], &["--require-policy", &bob]].concat());
    expect(admin, 0, &[&sign[..], &["--platform", "linux/amd64"]].concat());
}

#[test]
fn the_machine_has_a_policy() {
    let site = Site::begin();
    site.say(1, BOB);
    let user = site.consumer();
    expect(&user, 0, &["verify", &site.image]);
    let configure = |more: &str| {
        let text = format!("registry-signature = false\n[policy]\nrepository = '{}'\n{more}", site.repo);
        std::fs::write(user.home("config.toml"), text).unwrap();
    };
    let (alice, bob) = (site.judged.policy(ALICE), site.judged.policy(BOB));
    configure("");
    let ask = |code: i32, args: &[&str]| expect(&user, code, &[args, &[site.image.as_str()]].concat());
    ask(12, &["verify"]);
    ask(12, &["resolve"]);
    ask(12, &["verify", "--policy", &alice]);
    assert!(ask(12, &["verify", "--output", "sarif"]).stdout.contains("sign.threshold"));
    ask(0, &["policy", "explain"]);
    let key = site.judged.admin.home("keys/alice.pub");
    let refused = ask(2, &["verify", "--key", key.to_str().unwrap()]);
    assert!(refused.stderr.contains("local_override"), "{}", refused.stderr);

    site.say(2, ALICE);
    ask(0, &["verify"]);
    let both = ask(12, &["verify", "--policy", &bob, "--output", "json"]).json();
    assert_eq!(both["policy"]["name"], "tested");

    site.say(3, BOB);
    configure("local_override = true\n");
    ask(12, &["verify"]);
    ask(0, &["verify", "--policy", &alice]);
    ask(12, &["verify", "--policy", &alice, "--policy-from", &site.repo]);
    // The registry has no such signature; that is what is looked for.
    ask(10, &["verify", "--key", key.to_str().unwrap()]);

    configure("name = 'prod'\n");
    let refused = ask(3, &["verify", "--output", "json"]).json();
    assert_eq!(failed(&refused), "policy.error");
    configure("local-override = true\n");
    ask(3, &["verify"]);
}

#[test]
fn a_policy_serves_while_its_server_is_away_and_no_longer() {
    let site = Site::begin();
    site.say(1, ALICE);
    let user = site.consumer();
    let args = ["resolve", &site.image, "--policy-from", &site.repo, "--server", "https://localhost:1"];
    let refused = expect(&user, 10, &args);
    assert!(refused.stderr.contains("trust.no_data"), "never seen, never used: {refused:?}");
    expect(&user, 0, &["resolve", &site.image, "--policy-from", &site.repo]);
    let ran = expect(&user, 0, &args);
    assert!(ran.stderr.contains("using version 1 of the policy"), "{}", ran.stderr);
}
