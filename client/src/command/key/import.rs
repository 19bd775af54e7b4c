//! `bulla key import`

use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{KeyFile, KeyName, Protection};

use super::super::{Context, say_dry_run};
use super::load::source_at;
use crate::flow::key::import::{import, names_in_bundle};
use crate::flow::key::require_free;
use crate::report::KeyImportReport;

/// Take over keys of docker, notary, cosign or openssl, under new passphrases
///
/// Reads PKCS#8, SEC 1 and cosign's key files as PEM, encrypted or not, one or several in a file,
/// or as base64. The file stays as it is. All of its keys are taken over, or none.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The key file; only its owner may be able to read it
    file: PathBuf,
    /// Its name in this home [default: as the file is named, or the role in it]; of several keys, how
    /// all their names begin
    #[arg(long)]
    name: Option<KeyName>,
    /// File with the new passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Only read the file, and check that the names are free
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let output = context.output;
        let local = context.settings.local(self.new_passphrase_file);
        let text = local.sources().read(&source_at(&self.file)?)?;
        let names = names(&self.file, self.name, &text.keys).ok_or_else(|| NoName::of(&self.file))?;
        let files: Vec<(KeyName, KeyFile)> = names.into_iter().zip(text.keys).collect();
        let shown = self.file.display().to_string();
        let weak: Vec<Protection> =
            files.iter().map(|(_, file)| file.protection).filter(|found| found.is_weak()).collect();
        if self.dry_run {
            for (name, _) in &files {
                require_free(local.ports().keys, name)?;
            }
            say_dry_run(output, true);
            output.answer(&KeyImportReport::planned(&shown, &files))?;
        } else {
            let imported = import(local.ports(), files)?;
            output.answer(&KeyImportReport::new(&shown, &imported))?;
        }
        if let Some(weakest) = weak.first() {
            output.warn(&format!(
                "{shown} {}; remove it where nothing else needs it, and replace the key if others had the file",
                weakness(*weakest)
            ));
        }
        Ok(())
    }
}

fn weakness(protection: Protection) -> String {
    match protection {
        Protection::None => "holds the key in the clear".to_owned(),
        weak => format!("protects the key weakly ({weak})"),
    }
}

fn names(path: &Path, chosen: Option<KeyName>, files: &[KeyFile]) -> Option<Vec<KeyName>> {
    match files {
        [only] => Some(vec![chosen.or_else(|| name_for(path, only))?]),
        several => names_in_bundle(chosen.as_ref(), several),
    }
}

/// The name of the file, but where docker and notary keep keys that is an id: there, the role.
fn name_for(path: &Path, file: &KeyFile) -> Option<KeyName> {
    let stem = path.file_stem()?.to_str()?;
    let is_id = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_id { file.role.as_deref()? } else { stem };
    name.parse().ok()
}

/// Nothing says what to call the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} says no name that a key can have", path.display())]
pub(in crate::command) struct NoName {
    /// The file.
    path: PathBuf,
}

impl NoName {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::key::Pbkdf2Digest;

    use super::*;

    const SEC1: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem");
    const CAROL: &str = include_str!("../../../../keys-schema/tests/data/notary-keys/docker-carol.pem");

    #[test]
    fn keys_are_named_after_their_files_but_not_after_ids() {
        let id = "f9b8d0308a3079ae5ce92b7ba59a715bec24f04460082d0ff08a9d5c0cb20b8c";
        let [plain, carol] = [SEC1, CAROL].map(|text| KeyFile::parse(text).unwrap());
        for (path, file, name) in [
            ("/a/b/release-key.pem", &plain, Some("release-key")),
            ("cosign.key", &plain, Some("cosign")),
            ("dave.key", &carol, Some("dave")),
            (&format!("private/{id}.key"), &carol, Some("carol")),
            (&format!("private/{id}.key"), &plain, None),
            ("my key.pem", &plain, None),
            ("..", &plain, None),
        ] {
            let expected = name.map(|name| name.parse().unwrap());
            assert_eq!(name_for(Path::new(path), file), expected, "{path}");
        }
    }

    #[test]
    fn says_what_was_weak() {
        let sha1 = Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha1, iterations: 2048 };
        for (protection, words) in [
            (Protection::None, "in the clear"),
            (Protection::Md5, "one round of MD5"),
            (sha1, "PBKDF2 with 2048 rounds of SHA-1"),
            (Protection::Scrypt { n: 32_768 }, "scrypt with N=32768"),
        ] {
            assert!(weakness(protection).contains(words), "{words}");
        }
    }
}
