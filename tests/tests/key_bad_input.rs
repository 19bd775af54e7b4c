//! What is no key that can be used, given to `bulla key import` and `bulla key load`: each has an error
//! of its own, and nothing is written.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::cli::{Cli, PASSPHRASE, Ran, private_file};

fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_bulla-cli")).with("BULLA_PASSPHRASE", PASSPHRASE)
}

fn sample(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/tests/data");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Runs what must fail with `code` and say `words`, and write nothing.
#[track_caller]
fn refuses(cli: &Cli, args: &[&str], code: i32, words: &str) -> Ran {
    let ran = cli.run(args);
    assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(words), "{args:?}: {ran:?}");
    assert!(ran.stderr.contains("\nhint: "), "{args:?}: {ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(!cli.home("keys").exists(), "{args:?} wrote keys");
    ran
}

/// Texts that are no usable keys, and what is said about each.
fn bad_texts() -> Vec<(&'static str, String, &'static str)> {
    let notary = sample("notary-keys/notary-targets.pem");
    let sealed = sample("keys/p256-sealed-65536-sigstore.pem");
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    vec![
        ("truncated-pbes2", cut(&notary), "cut off: the end of its PEM block is missing"),
        ("truncated-cosign", cut(&sealed), "cut off: the end of its PEM block is missing"),
        ("truncated-base64", cut(&STANDARD.encode(&sealed)), "cut off"),
        ("damaged", notary.replacen("MIH", "MIX", 1), "damaged"),
        ("nothing", String::new(), "empty"),
        ("blank", "\n \n".to_owned(), "empty"),
        ("public", sample("keys/p256.pem"), "it is a public key"),
        ("certificate", notary.replace("ENCRYPTED PRIVATE KEY", "CERTIFICATE"), "it is a certificate"),
        ("openssh", notary.replace("ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"), "a key of OpenSSH"),
        ("label", notary.replace("ENCRYPTED PRIVATE KEY", "SECRET"), "labelled `SECRET`"),
        (
            "rsa-1024",
            sample("notary-keys/openssl-rsa-1024.pem"),
            "1024 bit RSA keys cannot sign here, and one this short is safe nowhere",
        ),
        ("rsa-2048", sample("keys/rsa-2048-secret.pem"), "2048 bit RSA keys cannot sign here"),
        ("pkcs1", sample("notary-keys/openssl-rsa.pem"), "PKCS#1 holds RSA keys"),
        ("p384", sample("notary-keys/openssl-sec1-p384.pem"), "ECDSA P-384 keys cannot sign here"),
        ("des3", sample("notary-keys/openssl-pbes2-des3.pem"), "encrypted with triple DES"),
        ("base64-garbage", STANDARD.encode("garbage, and more of it"), "it is base64, but not of a key"),
        ("garbage", "garbage, and more of it".to_owned(), "neither PEM nor base64"),
    ]
}

#[test]
fn bad_files_and_variables_are_told_apart() {
    for (name, text, words) in bad_texts() {
        let cli = cli().with("BAD_KEY", &text);
        let file = cli.folder.path().join(name);
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        refuses(&cli, &["key", "import", name], 2, words);
        refuses(&cli, &["key", "import", name, "--dry-run"], 2, words);
        refuses(&cli, &["key", "load", name], 2, words);
        let ran = refuses(&cli, &["key", "load", "--from-env", "BAD_KEY"], 2, words);
        assert!(ran.stderr.contains("the variable BAD_KEY"), "{}", ran.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "the file stays as it is");
    }
}

#[test]
fn a_wrong_passphrase_is_said_to_be_one() {
    let cli = cli().with("BULLA_PASSPHRASE", "wrong horse");
    for (name, text) in [
        ("notary", sample("notary-keys/notary-targets.pem")),
        ("legacy", sample("notary-keys/openssl-sec1-aes256.pem")),
        ("cosign", sample("keys/p256-sealed-65536-sigstore.pem")),
    ] {
        let cli = cli.folder.path().join(name);
        fs::write(&cli, text).unwrap();
        fs::set_permissions(&cli, Permissions::from_mode(0o600)).unwrap();
    }
    let new = cli.folder.path().join("new");
    private_file(&new, "battery staple");
    for name in ["notary", "legacy", "cosign"] {
        refuses(&cli, &["key", "import", name, "--new-passphrase-file", "new"], 2, "wrong passphrase");
        refuses(&cli, &["key", "load", name], 2, "wrong passphrase");
    }
    // A key that only the passphrase shows to be of no use.
    let cli = self::cli();
    let file = cli.folder.path().join("p384");
    fs::write(&file, sample("notary-keys/openssl-pbes2-p384.pem")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    refuses(&cli, &["key", "load", "p384"], 3, "the passphrase is right, but the key inside cannot be used");
}

#[test]
fn files_of_other_kinds_and_sizes_are_not_read() {
    let cli = cli();
    let path = |name: &str| cli.folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let large = File::create(path("large")).unwrap();
    // Not sparse: what is read of it must still be little.
    large.set_len(100 * 1024 * 1024).unwrap();
    large.set_permissions(Permissions::from_mode(0o600)).unwrap();
    fs::write(path("open"), sample("notary-keys/notary-targets.pem")).unwrap();
    fs::set_permissions(path("open"), Permissions::from_mode(0o644)).unwrap();
    fs::write(path("binary"), [0xff, 0xfe, 0x30]).unwrap();
    fs::set_permissions(path("binary"), Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
    for verb in ["import", "load"] {
        for (name, code, words) in [
            ("folder", 2, "it is a folder, not a file"),
            ("pipe", 2, "it is a named pipe, not a file"),
            ("/dev/zero", 2, "it is a device, not a file"),
            ("large", 2, "larger than 262144 bytes"),
            ("open", 3, "is open to others (mode 0644)"),
            ("binary", 2, "it is not text"),
            ("absent", 2, "cannot read $DIR/absent: No such file"),
            ("link", 2, "No such file"),
        ] {
            refuses(&cli, &["key", verb, name], code, words);
        }
    }
}

/// A limit of the whole process's memory, far below the file: it is not read whole.
#[test]
fn a_large_file_takes_no_memory() {
    let cli = cli();
    let file = cli.folder.path().join("large");
    fs::write(&file, vec![b'A'; 100 * 1024 * 1024]).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let mut command = std::process::Command::new("bash");
    command.args(["-c", "ulimit -v $((96 * 1024)) && exec \"$0\" key import large"]);
    command.arg(env!("CARGO_BIN_EXE_bulla-cli")).current_dir(cli.folder.path());
    let output = command.env("BULLA_HOME", cli.home("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("larger than 262144 bytes"), "{output:?}");
}

#[test]
fn variables_that_are_missing_or_empty_are_named() {
    let cli = cli().with("EMPTY", "").with("BLANK", " \n");
    refuses(&cli, &["key", "load", "--from-env", "ABSENT"], 2, "the variable ABSENT is not set");
    refuses(&cli, &["key", "load", "--from-env", "EMPTY"], 2, "the variable EMPTY is empty");
    refuses(&cli, &["key", "load", "--from-env", "BLANK"], 2, "the variable BLANK is empty");
    // Somebody who wrote $KEY in place of KEY must not see the key in an error.
    let ran =
        refuses(&cli, &["key", "load", "--from-env", "c2VjcmV0IGtleQ=="], 2, "not the name of a variable");
    assert!(!ran.stderr.contains("c2VjcmV0"), "{ran:?}");
}

#[test]
fn a_key_in_place_of_its_name_is_in_no_error() {
    let cli = cli();
    let open = sample("keys/ed25519-secret.pem");
    let sealed = sample("keys/p256-sealed-65536-sigstore.pem");
    let body: String = open.lines().filter(|line| !line.starts_with('-')).collect();
    for key in [&open, &STANDARD.encode(&open), &body, &sealed, &STANDARD.encode(&sealed)] {
        let secret = key.lines().find(|line| !line.starts_with('-')).unwrap();
        let joined = format!("--from-env={key}");
        for args in [
            &["key", "load", "--from-env", key][..],
            &["key", "load", &joined],
            &["key", "load", key],
            &["key", "import", key],
            &["key", "import", "--", key],
        ] {
            let ran = refuses(&cli, args, 2, "an argument is a private key");
            assert!(!ran.stderr.contains(secret), "{ran:?}");
        }
    }
    let age = "AGE-SECRET-KEY-1QQQQQQQQ";
    let ran = refuses(&cli, &["key", "backup", "--out", "x", "--recipient", age], 2, "a private key");
    assert!(!ran.stderr.contains(age), "{ran:?}");
}

#[test]
fn keys_without_a_passphrase_to_ask_for_are_not_loaded() {
    let cli = cli().without("BULLA_PASSPHRASE").with("CI_KEY", &sample("notary-keys/notary-targets.pem"));
    let ran = refuses(&cli, &["key", "load", "--from-env", "CI_KEY"], 2, "no terminal to ask on");
    assert!(ran.stderr.contains("BULLA_PASSPHRASE_CI_KEY"), "{}", ran.stderr);
}

#[test]
fn one_bad_key_of_a_bundle_keeps_all_of_them_out() {
    let good = sample("notary-keys/notary-root-exported.pem");
    let cli = cli();
    let write = |name: &str, text: &str| {
        let file = cli.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    };
    write("rsa", &format!("{good}{}", sample("notary-keys/openssl-rsa.pem")));
    refuses(&cli, &["key", "import", "rsa"], 2, "key 2 of 2: PKCS#1 holds RSA keys");
    write("p384", &format!("{good}{}", sample("notary-keys/openssl-pbes2-p384.pem")));
    private_file(&cli.folder.path().join("new"), "battery staple");
    let import = ["key", "import", "p384", "--new-passphrase-file", "new"];
    refuses(&cli, &import, 3, "key key: the passphrase is right");
    write("two", &format!("{good}{good}"));
    refuses(&cli, &["key", "load", "two"], 2, "it holds 2 keys");
}
