//! Who can open a backup: holders of identities of age, of shares, and `age` itself, which is
//! another program by other people.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use bulla::adapter::backup_file::Identity;
use bulla_keys_schema::backup::Backup;
use bulla_tests::backup_site::{BACKUP_PASSPHRASE, Site, age, refused, text};
use bulla_tests::cli::Cli;
use bulla_tests::programs::expect;

/// An identity in a file of `cli`, and its public key.
fn identity(cli: &Cli, name: &str) -> (PathBuf, String) {
    let (identity, path) = (Identity::generate(), cli.folder.path().join(name));
    fs::write(&path, format!("# kept in a safe\n{}\n", *identity.to_secret())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (path, format!("{:?}", identity.recipient()))
}

#[test]
fn a_backup_for_public_keys_needs_no_secret_to_be_made() {
    let site = Site::new();
    let admin = &site.admin;
    let ((mine, one), (other, two), (wrong, _)) =
        (identity(admin, "a"), identity(admin, "b"), identity(admin, "c"));
    let file = site.backup("keys.backup", &["--recipient", &one, "--recipient", &two]);
    let verify = ["key", "backup", "--verify", text(&file)];
    for path in [&mine, &other] {
        expect(admin, 0, &[&verify[..], &["--identity", text(path)]].concat());
    }
    refused(&admin.run(&[&verify[..], &["--identity", text(&wrong)]].concat()), 2, "made for other keys");
    refused(&admin.run(&verify), 2, "a passphrase does not open it");
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o644)).unwrap();
    refused(
        &admin.run(&[&verify[..], &["--identity", text(&mine)]].concat()),
        3,
        "open to others (mode 0644)",
    );
    let plain = site.backup("plain.backup", &[]);
    let verify = ["key", "backup", "--verify", text(&plain), "--identity", text(&other)];
    refused(&admin.run(&verify), 2, "identities and shares do not open it");
    site.lose();
    expect(admin, 0, &["key", "restore", text(&file), "--identity", text(&other)]);
    site.sign_and_verify(admin, "v1");
    assert_eq!(admin.run(&["key", "backup", "--out", "x", "--recipient", "age1xyz"]).code, 2);
}

#[test]
fn some_of_several_shares_open_a_backup_and_fewer_do_not() {
    let site = Site::new();
    let admin = &site.admin;
    let file = site.backup("keys.backup", &["--shares", "3", "--threshold", "2"]);
    let share = |file: &PathBuf, index: u8| PathBuf::from(format!("{}.share-{index}", file.display()));
    let with = |paths: &[PathBuf]| {
        let mut arguments = vec!["key".to_owned(), "restore".to_owned(), text(&file).to_owned()];
        arguments.extend(paths.iter().flat_map(|path| ["--share".to_owned(), text(path).to_owned()]));
        site.elsewhere().run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let [one, two, three] = [1, 2, 3].map(|index| share(&file, index));
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o7777, 0o600);
    refused(&with(&[]), 2, "a passphrase does not open it");
    refused(&with(std::slice::from_ref(&one)), 12, "1 of 2 needed shares");
    refused(&with(&[one.clone(), one.clone()]), 2, "share 1 is given twice");
    assert_eq!(with(&[three.clone(), one.clone()]).code, 0);
    assert_eq!(with(&[one.clone(), two.clone(), three.clone()]).code, 0);

    let other = site.backup("other.backup", &["--shares", "3", "--threshold", "2"]);
    let mixed = [one.clone(), share(&other, 2)];
    refused(&with(&mixed), 2, "the shares are of different backups");
    refused(&with(&[share(&other, 1), share(&other, 2)]), 2, "and this is another one");
    refused(&with(&[one.clone(), file.clone()]), 2, "cannot read");
    let letter = admin.folder.path().join("letter");
    fs::write(&letter, "hello").unwrap();
    refused(&with(&[one.clone(), letter]), 2, "not a share of a backup");

    let good = fs::read_to_string(&two).unwrap();
    let slip = good.replacen("part: ", "part: 0", 1);
    for damaged in [slip, good.replace("threshold: 2", "threshold: 3"), good[..good.len() - 9].to_owned()] {
        fs::write(&two, damaged).unwrap();
        refused(&with(&[one.clone(), two.clone()]), 2, "the share is damaged");
    }
    // One that was made up has a checksum that fits.
    let parsed = bulla_keys_schema::backup::Share::parse(&good).ok().unwrap();
    let sizes = parsed.split();
    let made_up =
        bulla_keys_schema::backup::split(&[b'x'; 74], parsed.backup(), sizes, &[7; 74 * 4 * 2]).unwrap();
    fs::write(&two, made_up[1].to_text().as_bytes()).unwrap();
    refused(&with(&[one.clone(), two]), 15, "at least one of them was made up");

    let out = admin.folder.path().join("third.backup");
    for (count, threshold) in [("1", "1"), ("3", "1"), ("2", "3"), ("101", "2")] {
        let shares = ["--shares", count, "--threshold", threshold];
        refused(
            &admin.run(&[&["key", "backup", "--out", text(&out)], &shares[..]].concat()),
            2,
            "shares: there must be",
        );
    }
    assert_eq!(admin.run(&["key", "backup", "--out", text(&out), "--shares", "3"]).code, 2);
    fs::write(share(&out, 2), "in the way").unwrap();
    let shares = ["--shares", "3", "--threshold", "2"];
    refused(
        &admin.run(&[&["key", "backup", "--out", text(&out)], &shares[..]].concat()),
        2,
        "share-2 exists already",
    );
    assert!(!out.exists() && !share(&out, 1).exists());
}

#[test]
fn age_opens_our_backups_and_we_open_what_age_made() {
    let (Some(mut keygen), Some(mut decrypt), Some(mut encrypt)) =
        (age("age-keygen"), age("age"), age("age"))
    else {
        return;
    };
    let site = Site::new();
    let admin = &site.admin;
    let key = admin.folder.path().join("age.key");
    assert!(keygen.args(["-o", text(&key)]).stderr(Stdio::null()).status().unwrap().success());
    let made = fs::read_to_string(&key).unwrap();
    let recipient = made.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let ours = site.backup("ours.backup", &["--recipient", recipient]);

    let output = decrypt.args(["--decrypt", "-i", text(&key), text(&ours)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let backup = Backup::parse(&output.stdout).unwrap();
    let names: Vec<&str> = backup.keys.iter().map(|key| key.sidecar.name.as_str()).collect();
    assert_eq!(names, ["alice", "root", "targets"]);
    assert_eq!(backup.pins, fs::read_to_string(admin.home("trust.toml")).unwrap());
    assert_eq!(backup.repositories[0].roots.len(), 1);

    let theirs = admin.folder.path().join("theirs.backup");
    let mut child =
        encrypt.args(["-r", recipient, "-o", text(&theirs)]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    assert!(child.wait().unwrap().success());
    expect(&site.elsewhere(), 0, &["key", "restore", text(&theirs), "--identity", text(&key)]);
}

#[test]
fn age_opens_our_passphrase_and_nobody_elses() {
    let Some(mut version) = age("age") else { return };
    assert!(version.arg("--version").output().unwrap().status.success());
    let site = Site::new();
    let file = site.backup("keys.backup", &[]);
    let out = site.admin.folder.path().join("document.json");
    // age asks on a terminal only; `script` is one.
    let decrypt = |passphrase: &str| {
        let command = format!("age --decrypt -o '{}' '{}'", text(&out), text(&file));
        let mut child = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{passphrase}\n").as_bytes()).unwrap();
        child.wait().unwrap().success()
    };
    assert!(!decrypt("battery stable"));
    assert!(decrypt(BACKUP_PASSPHRASE));
    let backup = Backup::parse(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(backup.keys.len(), 3);
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../keys-schema/schema/backup.schema.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}
