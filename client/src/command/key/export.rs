//! `bulla key export`

use std::path::PathBuf;

use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use clap::ValueEnum;

use super::super::{Context, repository, say_dry_run};
use crate::flow::key::certificate::certify;
use crate::flow::key::export::{ExportFormat, ExportRequest, export};
use crate::report::{CertificateReport, KeyExportReport, KeyReport};

/// Print a public key, or write a private one for another program
///
/// Without --format, the public key as PEM. With it, the private key, encrypted with the passphrase
/// that it has here, in a new file that only you can read.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// Its name
    name: KeyName,
    /// For which program
    #[arg(long, value_enum, requires = "out")]
    format: Option<Format>,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE", requires = "format")]
    out: Option<PathBuf>,
    /// For docker: the role it signs for, root, targets, snapshot or a signer's name [default: as noted here]
    #[arg(long, value_parser = role, requires = "format")]
    role: Option<RoleName>,
    /// For docker: the repository of a targets or snapshot key [default: as noted here]
    #[arg(long, value_parser = repository, requires = "format")]
    repository: Option<RepositoryName>,
    /// File with a passphrase for the new file [default: that of the key]
    #[arg(long, value_name = "FILE", requires = "format")]
    new_passphrase_file: Option<PathBuf>,
    /// Print a certificate of the key for this legacy repository, to be named there with
    /// `bulla init --root-key FILE.crt`
    #[arg(long, value_name = "REPOSITORY", value_parser = repository, conflicts_with = "format")]
    certificate: Option<RepositoryName>,
    /// Write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Forms of private key files.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For cosign, and for other homes of bulla
    Cosign,
    /// For openssl and whatever else reads encrypted PKCS#8
    Pkcs8,
    /// For docker trust key load and notary key import; a weak protection, but all that they read
    Docker,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let output = context.output;
        let new_passphrase = self.new_passphrase_file.is_some();
        let local = context.settings.local(self.new_passphrase_file);
        if let Some(repository) = &self.certificate {
            let certificate = certify(local.ports(), &self.name, repository)?;
            return Ok(output.answer(&CertificateReport::new(&self.name, repository, &certificate))?);
        }
        let (Some(format), Some(out)) = (self.format, self.out) else {
            let key = local.ports().keys.find(&self.name)?;
            if output.is_json() {
                return Ok(output.answer(&KeyReport::from(&key))?);
            }
            return Ok(output.raw(key.public.to_pem().as_bytes())?);
        };
        let format = match format {
            Format::Cosign => ExportFormat::Cosign,
            Format::Pkcs8 => ExportFormat::Pkcs8,
            Format::Docker => ExportFormat::Docker { role: self.role, repository: self.repository },
        };
        let request = ExportRequest { name: self.name, format, out, new_passphrase, dry_run: self.dry_run };
        let exported = export(local.ports(), &request)?;
        output.answer(&KeyExportReport::new(&request, &exported))?;
        say_dry_run(output, self.dry_run);
        let file = request.out.display();
        match &request.format {
            ExportFormat::Cosign => output.say(&format!("use it: cosign sign --key {file} IMAGE")),
            ExportFormat::Pkcs8 => output.say(&format!("use it: openssl pkey -in {file}")),
            ExportFormat::Docker { .. } => {
                output.say(&format!("use it: docker trust key load {file}, or notary key import {file}"));
                output.warn(&format!(
                    "{file} protects the key weakly ({}), as docker and notary read nothing better; remove it after",
                    exported.protection
                ));
            }
        }
        Ok(())
    }
}

fn role(text: &str) -> Result<RoleName, String> {
    text.parse::<RoleName>().map_err(|error| error.to_string())
}
