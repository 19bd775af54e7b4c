//! Answers about keys that came from other programs, or go to them.

use bulla_keys_schema::key::{KeyFile, KeyName, Pbkdf2Digest, Protection, Spelling};
use bulla_keys_schema::time::UtcTime;
use serde::Serialize;

use super::keys::{KeyIds, LoadedReport, RoleReport};
use super::line;
use crate::flow::key::export::{ExportFormat, ExportRequest, Exported};
use crate::flow::key::import::Imported;
use crate::flow::key::load::Loaded;
use crate::output::Report;

/// How a file protects the key in it.
#[derive(Clone, Debug, Serialize)]
struct ProtectionReport {
    /// `none`, `md5`, `pbkdf2-sha1`, `pbkdf2-sha256`, `pbkdf2-sha512` or `scrypt`.
    kind: &'static str,
    /// Rounds of PBKDF2, scrypt's N.
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<u32>,
    weak: bool,
}

impl From<Protection> for ProtectionReport {
    fn from(protection: Protection) -> Self {
        let (kind, work) = match protection {
            Protection::None => ("none", None),
            Protection::Md5 => ("md5", Some(1)),
            Protection::Pbkdf2 { digest, iterations } => {
                let kind = match digest {
                    Pbkdf2Digest::Sha1 => "pbkdf2-sha1",
                    Pbkdf2Digest::Sha256 => "pbkdf2-sha256",
                    Pbkdf2Digest::Sha512 => "pbkdf2-sha512",
                };
                (kind, Some(iterations))
            }
            Protection::Scrypt { n } => ("scrypt", Some(n)),
        };
        Self { kind, work, weak: protection.is_weak() }
    }
}

/// A protection in words, with what is to be said about it.
fn words(protection: Protection) -> String {
    match protection {
        Protection::None => "in the clear".to_owned(),
        weak if weak.is_weak() => format!("encrypted weakly, with {weak}"),
        strong => format!("encrypted, with {strong}"),
    }
}

/// Keys that were taken over.
#[derive(Clone, Debug, Serialize)]
pub struct KeyImportReport {
    file: String,
    keys: Vec<ImportedReport>,
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ImportedReport {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labelled_role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labelled_repository: Option<String>,
    was_protected_by: ProtectionReport,
    #[serde(skip)]
    was: String,
}

impl KeyImportReport {
    /// Of what `import` did.
    #[must_use]
    pub fn new(file: &str, imported: &[Imported]) -> Self {
        let keys = imported.iter().map(|one| ImportedReport {
            name: one.key.name.to_string(),
            fingerprint: Some(one.key.public.fingerprint().to_string()),
            algorithm: Some(one.key.public.algorithm().to_string()),
            public_key: Some(one.key.public.to_pem()),
            labelled_role: one.label.as_deref().map(str::to_owned),
            labelled_repository: one.gun.as_deref().map(str::to_owned),
            was_protected_by: one.was.into(),
            was: words(one.was),
        });
        Self { file: file.to_owned(), keys: keys.collect(), dry_run: false }
    }

    /// Of what it would do, as far as that shows without a passphrase.
    #[must_use]
    pub fn planned(file: &str, keys: &[(KeyName, KeyFile)]) -> Self {
        let keys = keys.iter().map(|(name, key)| ImportedReport {
            name: name.to_string(),
            fingerprint: None,
            algorithm: None,
            public_key: None,
            labelled_role: key.role.as_deref().map(str::to_owned),
            labelled_repository: key.gun.as_deref().map(str::to_owned),
            was_protected_by: key.protection.into(),
            was: words(key.protection),
        });
        Self { file: file.to_owned(), keys: keys.collect(), dry_run: true }
    }
}

impl Report for KeyImportReport {
    const SCHEMA: &'static str = "bulla/key-import/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            line(&mut text, format_args!("name:        {}", key.name));
            if let (Some(fingerprint), Some(algorithm)) = (&key.fingerprint, &key.algorithm) {
                line(&mut text, format_args!("fingerprint: {fingerprint}\nalgorithm:   {algorithm}"));
            }
            if let Some(role) = &key.labelled_role {
                let of = key.labelled_repository.as_ref().map(|gun| format!(" of {gun}")).unwrap_or_default();
                line(&mut text, format_args!("labelled:    {role}{of}"));
            }
            line(&mut text, format_args!("was:         {}", key.was));
        }
        text
    }
}

/// A private key that was written for another program.
#[derive(Clone, Debug, Serialize)]
pub struct KeyExportReport {
    name: String,
    fingerprint: String,
    format: &'static str,
    file: String,
    protected_by: ProtectionReport,
    dry_run: bool,
}

impl KeyExportReport {
    /// Of what `export` did.
    #[must_use]
    pub fn new(request: &ExportRequest, exported: &Exported) -> Self {
        Self {
            name: exported.key.name.to_string(),
            fingerprint: exported.key.public.fingerprint().to_string(),
            format: match request.format {
                ExportFormat::Cosign => "cosign",
                ExportFormat::Pkcs8 => "pkcs8",
                ExportFormat::Docker { .. } => "docker",
            },
            file: request.out.display().to_string(),
            protected_by: exported.protection.into(),
            dry_run: request.dry_run,
        }
    }
}

impl Report for KeyExportReport {
    const SCHEMA: &'static str = "bulla/key-export/v1";

    fn text(&self) -> String {
        format!(
            "name:        {}\nfingerprint: {}\nformat:      {}\nfile:        {}\n",
            self.name, self.fingerprint, self.format, self.file
        )
    }
}

/// A key that was loaded.
#[derive(Clone, Debug, Serialize)]
pub struct KeyLoadReport {
    name: String,
    fingerprint: String,
    key_ids: KeyIds,
    algorithm: String,
    written_as: &'static str,
    protected_by: ProtectionReport,
    may_sign: Vec<RoleReport>,
    may_not_sign_in: Vec<String>,
    loaded: LoadedReport,
    files: Vec<String>,
    private_key_stored: bool,
    dry_run: bool,
    #[serde(skip)]
    ids: Vec<(String, String)>,
    #[serde(skip)]
    how: String,
}

impl KeyLoadReport {
    /// Of what `load` did, at `now`.
    #[must_use]
    pub fn new(loaded: &Loaded, now: UtcTime) -> Self {
        let name = loaded.key.name.to_string();
        let file = |folder: &std::path::PathBuf| {
            ["pub", "json"].map(|kind| folder.join(format!("{name}.{kind}")).display().to_string())
        };
        let spelling = match loaded.spelling {
            Spelling::Pem => "PEM",
            Spelling::Base64Pem => "base64 of PEM",
            Spelling::Base64Der => "base64 of DER",
        };
        Self {
            fingerprint: loaded.key.public.fingerprint().to_string(),
            key_ids: KeyIds::from(&loaded.key.public),
            algorithm: loaded.key.public.algorithm().to_string(),
            written_as: match loaded.spelling {
                Spelling::Pem => "pem",
                Spelling::Base64Pem => "base64-pem",
                Spelling::Base64Der => "base64-der",
            },
            protected_by: loaded.protection.into(),
            may_sign: loaded.duties.iter().map(|duty| RoleReport::current(duty, now)).collect(),
            may_not_sign_in: loaded.without.iter().map(ToString::to_string).collect(),
            loaded: LoadedReport::from(&loaded.note),
            files: loaded.folder.iter().flat_map(file).collect(),
            private_key_stored: false,
            dry_run: loaded.folder.is_none(),
            ids: loaded.key_ids.iter().map(|(of, id)| (of.to_string(), id.clone())).collect(),
            how: format!("{spelling}, {}", words(loaded.protection)),
            name,
        }
    }
}

impl Report for KeyLoadReport {
    const SCHEMA: &'static str = "bulla/key-load/v1";

    fn text(&self) -> String {
        let mut text = format!("name:        {}\nfingerprint: {}\n", self.name, self.fingerprint);
        for (repository, id) in &self.ids {
            line(&mut text, format_args!("key id:      {id} in {repository}"));
        }
        line(&mut text, format_args!("algorithm:   {}", self.algorithm));
        line(&mut text, format_args!("written as:  {}", self.how));
        for role in &self.may_sign {
            line(&mut text, format_args!("may sign:    {}", role.words()));
        }
        line(&mut text, format_args!("loaded from: {}", self.loaded.words()));
        if !self.files.is_empty() {
            line(&mut text, format_args!("on disk:     {}; nothing secret", self.files.join(", ")));
        }
        text
    }
}
