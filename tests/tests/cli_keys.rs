//! `bulla key` with real files: what is written, with which permissions, and what never is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use bulla_keys_schema::key::{Passphrase, SealedKey};
use bulla_tests::cli::{Cli, PASSPHRASE, Ran, private_file};

fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli"))
}

fn with_passphrase() -> Cli {
    cli().with("BULLA_PASSPHRASE", PASSPHRASE)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(cli: &Cli) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cli.home("keys")) else { return vec![] };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

fn opens(cli: &Cli, name: &str, passphrase: &str) -> bool {
    let text = fs::read_to_string(cli.home(&format!("keys/{name}.key"))).unwrap();
    SealedKey::parse(&text).unwrap().open(&Passphrase::new(passphrase.to_owned())).is_ok()
}

#[test]
fn a_key_is_three_files_closed_to_others() {
    let cli = with_passphrase();
    let ran = cli.run(&["key", "generate", "alice"]);
    let shown = ran.ok();
    assert_eq!(files(&cli), ["alice.json", "alice.key", "alice.pub"]);
    assert_eq!(mode(&cli.home("keys")), 0o700);
    assert_eq!(mode(&cli.home("")), 0o700);
    assert_eq!(mode(&cli.home("keys/alice.key")), 0o600);
    assert_eq!(mode(&cli.home("keys/alice.pub")), 0o644);
    assert!(opens(&cli, "alice", PASSPHRASE));
    assert_eq!(cli.run(&["key", "show", "alice"]).ok(), shown);
    let exported = cli.run(&["key", "export", "alice"]).ok();
    assert_eq!(exported, fs::read_to_string(cli.home("keys/alice.pub")).unwrap());
    let json = cli.run(&["key", "show", "alice", "--output", "json"]).json();
    assert_eq!(json["schema"], "bulla/key/v1");
    assert_eq!(json["public_key"], exported.as_str());
    assert_eq!(json["algorithm"], "ecdsa-p256");
    cli.run(&["key", "generate", "bob", "--algorithm", "ed25519"]).ok();
    let list = cli.run(&["key", "list", "--output", "json"]).json();
    assert_eq!(list["keys"][0]["name"], "alice");
    assert_eq!(list["keys"][1]["algorithm"], "ed25519");
}

#[test]
fn a_key_is_never_overwritten() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    let before = fs::read(cli.home("keys/alice.key")).unwrap();
    refused(&cli.run(&["key", "generate", "alice"]), 2, "key alice exists already");
    assert_eq!(fs::read(cli.home("keys/alice.key")).unwrap(), before);
    // Nor is somebody's public key, which may be the only copy.
    fs::write(cli.home("keys/carol.pub"), "precious").unwrap();
    refused(&cli.run(&["key", "generate", "carol"]), 2, "carol.pub");
    assert_eq!(fs::read_to_string(cli.home("keys/carol.pub")).unwrap(), "precious");
    assert!(!cli.home("keys/carol.key").exists());
}

#[test]
fn two_at_once_make_one_key() {
    let cli = with_passphrase();
    let start = |_| {
        let mut command = cli.command(&["key", "generate", "alice"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let running: Vec<_> = (0..4).map(start).collect();
    let ended: Vec<_> = running.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    assert_eq!(ended.iter().filter(|code| **code == 0).count(), 1, "{ended:?}");
    assert_eq!(files(&cli), ["alice.json", "alice.key", "alice.pub"]);
    cli.run(&["key", "show", "alice"]).ok();
}

#[test]
fn a_failed_write_leaves_nothing() {
    let cli = with_passphrase();
    fs::create_dir_all(cli.home("keys")).unwrap();
    // A folder stands where the description goes: public file written, description refused.
    fs::create_dir(cli.home("keys/alice.json")).unwrap();
    let ran = cli.run(&["key", "generate", "alice"]);
    assert_ne!(ran.code, 0);
    assert_eq!(files(&cli), ["alice.json"]);
}

#[test]
fn a_killed_program_leaves_no_half_key() {
    let cli = with_passphrase();
    for delay in [0, 20, 60, 100, 140, 180] {
        let mut child = cli.command(&["key", "generate", "alice"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        if cli.home("keys/alice.key").exists() {
            assert!(opens(&cli, "alice", PASSPHRASE));
        }
    }
}

#[test]
fn nobody_to_ask_is_an_error_that_names_the_variable() {
    let cli = cli();
    let ran = cli.run(&["key", "generate", "ci.key-1"]);
    refused(&ran, 2, "there is no terminal to ask on");
    assert!(ran.stderr.contains("BULLA_PASSPHRASE_CI_KEY_1"), "{}", ran.stderr);
    assert_eq!(files(&cli), [""; 0]);
    refused(&cli.with("BULLA_PASSPHRASE", "").run(&["key", "generate", "a"]), 2, "is empty");
}

#[test]
fn a_passphrase_is_changed_with_the_old_one_only() {
    let cli = cli().with("BULLA_PASSPHRASE_ALICE", PASSPHRASE);
    cli.run(&["key", "generate", "alice"]).ok();
    let new = cli.folder.path().join("new");
    private_file(&new, "battery staple\n");
    let args = ["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()];
    refused(&cli.run(&["key", "passwd", "alice"]), 2, "needs a new passphrase");
    let cli = cli.with("BULLA_PASSPHRASE_ALICE", "wrong");
    refused(&cli.run(&args), 2, "wrong passphrase");
    assert!(opens(&cli, "alice", PASSPHRASE));
    let cli = cli.with("BULLA_PASSPHRASE_ALICE", PASSPHRASE);
    cli.run(&args).ok();
    assert!(opens(&cli, "alice", "battery staple") && !opens(&cli, "alice", PASSPHRASE));
    assert_eq!(mode(&cli.home("keys/alice.key")), 0o600);
}

/// The old file or the new one, each whole, at whatever step the program is killed.
#[test]
fn a_passphrase_change_that_is_killed_leaves_one_whole_file() {
    if std::process::Command::new("strace").arg("--version").output().is_err() {
        return bulla_tests::peers::absent("strace", "apt-get install strace");
    }
    for (calls, which, is_new) in
        [("fsync,fdatasync", 1, false), ("rename,renameat,renameat2", 1, false), ("fsync,fdatasync", 2, true)]
    {
        let cli = with_passphrase();
        cli.run(&["key", "generate", "alice"]).ok();
        private_file(&cli.folder.path().join("new"), "battery staple");
        let passwd = cli.command(&["key", "passwd", "alice", "--new-passphrase-file", "new"]);
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={which}")]);
        // Without what gives it a session of its own, which would be killed in its place.
        strace.args(passwd.get_args().skip(1)).current_dir(cli.folder.path());
        strace.env_clear().envs(passwd.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = strace.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(!ended.success(), "{calls} {which}: it was to be killed");
        let passphrase = if is_new { "battery staple" } else { PASSPHRASE };
        assert!(opens(&cli, "alice", passphrase), "{calls} {which}");
        assert_eq!(mode(&cli.home("keys/alice.key")), 0o600);
        cli.run(&["key", "show", "alice"]).ok();
        let again = cli.with("BULLA_PASSPHRASE", passphrase);
        again.run(&["key", "passwd", "alice", "--new-passphrase-file", "new"]).ok();
        assert!(opens(&again, "alice", "battery staple"));
    }
}

#[test]
fn a_passphrase_change_raises_what_a_guess_costs() {
    let old = cosign_sample(32_768);
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    // As a home that keeps an old file of cosign has it.
    fs::write(cli.home("keys/alice.key"), &old).unwrap();
    let key = SealedKey::parse(&old).unwrap().open(&Passphrase::new(PASSPHRASE.to_owned())).unwrap();
    fs::write(cli.home("keys/alice.pub"), key.public_key().to_pem()).unwrap();
    let sidecar = fs::read_to_string(cli.home("keys/alice.json")).unwrap();
    let before = sidecar.split("\"fingerprint\": \"").nth(1).unwrap()[..64].to_owned();
    let after = sidecar.replace(&before, &key.public_key().fingerprint().to_string());
    fs::write(cli.home("keys/alice.json"), after).unwrap();
    private_file(&cli.folder.path().join("new"), "battery staple");
    let ran = cli.run(&["key", "passwd", "alice", "--new-passphrase-file", "new"]);
    assert!(ran.stderr.contains("scrypt N=32768 to 65536"), "{}", ran.stderr);
    ran.ok();
    assert!(fs::read_to_string(cli.home("keys/alice.key")).unwrap() != old);
    assert!(opens(&cli, "alice", "battery staple") && !opens(&cli, "alice", PASSPHRASE));
}

fn cosign_sample(n: u32) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/tests/data/keys");
    fs::read_to_string(folder.join(format!("p256-sealed-{n}-cosign.pem"))).unwrap()
}

#[test]
fn weak_encryption_is_named_and_not_kept() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/tests/data");
    let cli = with_passphrase();
    private_file(&cli.folder.path().join("new"), "battery staple");
    for (name, file, kind, work, words) in [
        ("docker", "notary-keys/docker-carol.pem", "pbkdf2-sha1", Some(2048), "2048 rounds of SHA-1"),
        ("legacy", "notary-keys/openssl-sec1-aes256.pem", "md5", Some(1), "one round of MD5"),
        ("openssl", "notary-keys/openssl-pbes2-sha256-aes192.pem", "pbkdf2-sha256", Some(2048), "SHA-256"),
        ("sec1", "notary-keys/openssl-sec1.pem", "none", None, "in the clear"),
        ("cosign", "keys/p256-sealed-32768-sigstore.pem", "scrypt", Some(32_768), "scrypt with N=32768"),
        ("strong", "keys/p256-sealed-131072-cosign.pem", "scrypt", Some(131_072), ""),
        ("pbkdf2", "notary-keys/openssl-pbes2-sha512-aes128.pem", "pbkdf2-sha512", Some(210_000), ""),
    ] {
        let path = cli.folder.path().join(format!("{name}.pem"));
        fs::copy(samples.join(file), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let path = path.to_str().unwrap();
        let planned = cli.run(&["key", "import", path, "--dry-run", "--output", "json"]).json();
        assert_eq!(planned["keys"][0]["was_protected_by"]["kind"], kind);
        let import = ["key", "import", path, "--new-passphrase-file", "new", "--output", "json"];
        let ran = cli.run(&import);
        let was = &ran.json()["keys"][0]["was_protected_by"];
        assert_eq!((&was["kind"], was["work"].as_u64()), (&kind.into(), work), "{name}");
        assert_eq!(was["weak"].as_bool(), Some(!words.is_empty()), "{name}");
        assert_eq!(ran.stderr.contains("warning: "), !words.is_empty(), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        let passphrase = if kind == "none" { PASSPHRASE } else { "battery staple" };
        assert!(opens(&cli, name, passphrase), "{name}");
        let kept = fs::read_to_string(cli.home(&format!("keys/{name}.key"))).unwrap();
        assert_eq!(SealedKey::parse(&kept).unwrap().scrypt_n(), 65_536, "{name}");
        let shown = cli.run(&["key", "show", name]).ok();
        assert!(shown.contains("algorithm:   ecdsa-p256"), "{shown}");
    }
    let taken = cli.run(&["key", "import", "docker.pem", "--new-passphrase-file", "new"]);
    refused(&taken, 2, "key docker exists already");
}

#[test]
fn exported_files_are_closed_and_never_replaced() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    for (format, role) in [("cosign", &[][..]), ("pkcs8", &[]), ("docker", &["--role", "alice"])] {
        let args = [&["key", "export", "alice", "--format", format, "--out", format], role].concat();
        cli.run(&[&args[..], &["--dry-run"]].concat()).ok();
        let file = cli.folder.path().join(format);
        assert!(!file.exists());
        let answer = cli.run(&[&args[..], &["--output", "json"]].concat()).json();
        assert_eq!((&answer["format"], &answer["file"]), (&format.into(), &format.into()));
        assert_eq!(answer["protected_by"]["weak"], format == "docker");
        assert_eq!(mode(&file), 0o600);
        let before = fs::read(&file).unwrap();
        refused(&cli.run(&args), 2, &format!("{format} exists already"));
        assert_eq!(fs::read(&file).unwrap(), before);
        let wrong = cli.command(&args).env("BULLA_PASSPHRASE", "wrong").output().unwrap();
        assert_eq!(wrong.status.code(), Some(2));
    }
    let export = ["key", "export", "alice", "--format"];
    refused(
        &cli.run(&[&export[..], &["docker", "--out", "x"]].concat()),
        2,
        "for which role key alice signs",
    );
    let targets = ["docker", "--out", "x", "--role", "targets"];
    refused(&cli.run(&[&export[..], &targets].concat()), 2, "for which repository");
    refused(&cli.run(&[&export[..], &["pkcs8", "--out", "no/such/x"]].concat()), 2, "cannot write no/such/x");
    assert_eq!(cli.run(&[&export[..], &["pkcs8"]].concat()).code, 2, "--out is needed");
    let wrong = cli
        .command(&[&export[..], &["cosign", "--out", "y"]].concat())
        .env("BULLA_PASSPHRASE", "no")
        .output();
    assert_eq!(wrong.unwrap().status.code(), Some(2));
    assert!(!cli.folder.path().join("x").exists() && !cli.folder.path().join("y").exists());
}

#[test]
fn private_files_open_to_others_are_refused() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    let new = cli.folder.path().join("new");
    private_file(&new, "x");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(cli.home("keys/alice.key"), fs::Permissions::from_mode(mode)).unwrap();
        let ran = cli.run(&["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()]);
        refused(&ran, 3, "open to others");
        assert!(ran.stderr.contains("chmod 600"), "{}", ran.stderr);
    }
    fs::set_permissions(cli.home("keys/alice.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let passwd = ["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()];
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        let ran = cli.run(&passwd);
        refused(&ran, 3, &format!("is open to others (mode {mode:04o})"));
        assert!(ran.stderr.contains("chmod 600 $DIR/new"), "{}", ran.stderr);
    }
    private_file(&new, "x");
    cli.run(&passwd).ok();
}

#[test]
fn folders_in_which_others_can_write_are_refused() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    for folder in ["keys", ""] {
        for mode in [0o720, 0o702, 0o777, 0o1777] {
            let path = cli.home(folder);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            for verb in [&["list"][..], &["show", "alice"], &["generate", "bob"], &["remove", "alice"]] {
                let ran = cli.run(&[&["key"], verb].concat());
                refused(&ran, 3, &format!("can be written by others (mode {mode:04o})"));
                assert!(ran.stderr.contains("chmod go-w"), "{}", ran.stderr);
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            cli.run(&["key", "show", "alice"]).ok();
        }
    }
    assert_eq!(files(&cli), ["alice.json", "alice.key", "alice.pub"]);
}

#[test]
fn what_a_killed_program_left_can_be_removed() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    let part = |kind: &str| cli.home(&format!("keys/bob.{kind}"));
    for kinds in [&["pub"][..], &["json"], &["pub", "json"]] {
        for kind in kinds {
            fs::copy(cli.home(&format!("keys/alice.{kind}")), part(kind)).unwrap();
        }
        refused(&cli.run(&["key", "generate", "bob"]), 2, "key bob exists already");
        cli.run(&["key", "remove", "bob", "--dry-run"]).ok();
        let answer = cli.run(&["key", "remove", "bob", "--output", "json"]).json();
        assert_eq!((&answer["schema"], &answer["dry_run"]), (&"bulla/key-remains/v1".into(), &false.into()));
        assert_eq!(answer["files"].as_array().unwrap().len(), kinds.len(), "{answer}");
        refused(&cli.run(&["key", "remove", "bob"]), 2, "no key named bob");
    }
    cli.run(&["key", "generate", "bob"]).ok();
    // A private half is never taken for remains.
    fs::remove_file(part("pub")).unwrap();
    assert_ne!(cli.run(&["key", "remove", "bob"]).code, 0);
    assert!(part("key").exists());
}

#[test]
fn swapped_public_files_are_noticed() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice"]).ok();
    cli.run(&["key", "generate", "mallory"]).ok();
    fs::copy(cli.home("keys/mallory.pub"), cli.home("keys/alice.pub")).unwrap();
    refused(&cli.run(&["key", "show", "alice"]), 3, "another key");
    let sidecar = fs::read_to_string(cli.home("keys/mallory.json")).unwrap().replace("mallory", "alice");
    fs::write(cli.home("keys/alice.json"), sidecar).unwrap();
    let new = cli.folder.path().join("new");
    private_file(&new, "x");
    let ran = cli.run(&["key", "passwd", "alice", "--new-passphrase-file", new.to_str().unwrap()]);
    refused(&ran, 3, "does not belong to its private file");
}

#[test]
fn dry_runs_change_nothing() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "alice", "--dry-run"]).ok();
    assert_eq!(files(&cli), [""; 0]);
    cli.run(&["key", "generate", "alice"]).ok();
    cli.run(&["key", "remove", "alice", "--dry-run"]).ok();
    assert_eq!(files(&cli).len(), 3);
    cli.run(&["key", "remove", "alice"]).ok();
    assert_eq!(files(&cli), [""; 0]);
    refused(&cli.run(&["key", "remove", "alice"]), 2, "no key named alice");
}

#[test]
fn pins_are_kept_and_never_replaced_by_the_way() {
    let cli = with_passphrase();
    cli.run(&["key", "generate", "root"]).ok();
    let key = cli.home("keys/root.pub");
    let key = key.to_str().unwrap();
    cli.run(&["trust", "add", "reg.example.com/team/**", "--root-key", key]).ok();
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    cli.run(&["trust", "add", "reg.example.com/team/app", "--root-sha256", &one]).ok();
    let ran = cli.run(&["trust", "add", "reg.example.com/team/app", "--root-sha256", &two]);
    refused(&ran, 3, "is pinned already");
    let list = cli.run(&["trust", "list", "--output", "json"]).json();
    assert_eq!(list["schema"], "bulla/pins/v1");
    assert_eq!(list["pins"][0]["scope"], "reg.example.com/team/**");
    assert_eq!(list["pins"][0]["root_threshold"], 1);
    assert_eq!(list["pins"][1]["root_sha256"], one);
    assert_eq!(mode(&cli.home("trust.toml")), 0o600);
    cli.run(&["trust", "remove", "reg.example.com/team/app"]).ok();
    fs::write(cli.home("trust.toml"), "version = 1\npins = []\n").unwrap();
    refused(&cli.run(&["trust", "list"]), 3, "invalid pins");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let cli = with_passphrase();
    let mut child = cli.command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn manual_pages_are_written() {
    let cli = cli();
    let folder = cli.folder.path().join("man");
    fs::create_dir(&folder).unwrap();
    cli.run(&["man", folder.to_str().unwrap()]).ok();
    assert!(folder.join("bulla-key-generate.1").exists());
    refused(&cli.run(&["man", "/no/such/folder"]), 2, "cannot write manual pages");
}
