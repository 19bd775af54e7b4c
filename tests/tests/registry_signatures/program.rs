//! The program, a trust server, and a registry that does not let it write.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::sigstore::{Attached, FallbackIndex};
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::programs::{Bullad, expect, program};
use bulla_tests::simulator::{Habits, Registry, RegistryFault, Reply};

use super::desk::{IMAGE, LISTING};

#[test]
fn who_may_not_push_learns_what_is_signed_and_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (server, registry) = (Bullad::start(folder.path()), Registry::with(LISTING));
    let http = registry.over_http();
    let name = format!("{}/team/app", http.host());
    let image = registry.push("1.0", IMAGE);
    let admin = server.user();
    for key in ["root", "targets"] {
        expect(&admin, 0, &["key", "generate", key]);
    }
    expect(&admin, 0, &["init", &name]);

    registry.spoil(Some(RegistryFault::Writes(403)));
    let tag = format!("{name}:1.0");
    let refused = expect(&admin, 30, &["sign", &tag]);
    assert_eq!(refused.stdout, "");
    let pinned = format!("{tag}@{}", image.to_oci());
    let command = format!("bulla sign --only-registry --key targets {pinned}");
    for words in ["is signed at the trust server, but not in the registry", "does not let us write", &command]
    {
        assert!(refused.stderr.contains(words), "{words:?}: {}", refused.stderr);
    }
    expect(&admin, 0, &["verify", &tag]);
    expect(&admin, 0, &["sign", &tag, "--no-registry-signature"]);
    let alone = expect(&admin, 30, &["sign", "--only-registry", "--key", "targets", &tag]);
    assert!(alone.stderr.contains("hint: log in as somebody who may push"), "{}", alone.stderr);

    registry.spoil(None);
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let done = expect(&admin, 0, &words);
    assert!(done.stderr.contains("wrote a signature of"), "{}", done.stderr);
    let kept = registry.kept();
    assert!(kept.manifest("", Attached::Signatures.tag(image).as_str()).is_some());
    assert_eq!(kept.referrers("", image).len(), 1);
}

#[test]
fn a_digest_with_its_size_asks_no_registry() {
    let folder = tempfile::tempdir().unwrap();
    let (server, registry) = (Bullad::start(folder.path()), Registry::default());
    let http = registry.over_http();
    let name = format!("{}/team/app", http.host());
    let admin = server.user();
    for key in ["root", "targets"] {
        expect(&admin, 0, &["key", "generate", key]);
    }
    expect(&admin, 0, &["init", &name]);
    let image = format!("{name}:1.0@{}", Sha256Digest::of(IMAGE).to_oci());
    let signed = expect(&admin, 0, &["sign", &image, "--size", &IMAGE.len().to_string(), "--output", "json"]);
    assert_eq!(signed.json()["in_registry"], serde_json::json!([]));
    assert!(registry.asked().is_empty() && registry.written().is_empty());
}

#[test]
fn a_token_is_asked_for_that_lets_us_write() {
    let registry = Registry::with(Habits::default());
    let http = registry.over_http();
    let image = registry.push("1.0", IMAGE);
    let token = Reply::new(200, r#"{"token":"t0ken"}"#.into());
    registry.spoil(Some(RegistryFault::Token(token)));
    let bulla = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_PASSPHRASE", PASSPHRASE);
    expect(&bulla, 0, &["key", "generate", "ci"]);
    let name = format!("{}/team/app", http.host());
    expect(&bulla, 0, &["sign", "--only-registry", "--key", "ci", &format!("{name}:1.0")]);
    let asked = registry.asked();
    for actions in ["pull", "pull%2Cpush"] {
        let scope = format!("scope=repository%3Ateam%2Fapp%3A{actions}&");
        let tokens = asked.iter().filter(|asked| asked.contains(&scope)).count();
        assert_eq!(tokens, 1, "one token for {actions}, and no more: {asked:?}");
    }
    assert!(registry.kept().tags("").contains(&FallbackIndex::tag(image).to_string()));
    assert!(registry.logins().iter().all(|login| login == "Bearer t0ken"));

    // A key that is not here, and a name without an image.
    let unknown = expect(&bulla, 2, &["sign", "--only-registry", "--key", "nobody", &format!("{name}:1.0")]);
    assert!(unknown.stderr.contains("bulla key list"), "{}", unknown.stderr);
    expect(&bulla, 2, &["sign", "--only-registry", &format!("{name}:1.0")]);
    expect(&bulla, 2, &["sign", "--only-registry", "--key", "ci", "--size", "1", &format!("{name}:1.0")]);
    expect(&bulla, 2, &["sign", "--key", "ci", &format!("{name}:1.0")]);
}
