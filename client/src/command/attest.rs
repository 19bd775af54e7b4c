//! `bulla attest`

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bulla_keys_schema::attest::{
    Attestation, Declared, InvalidPredicate, InvalidReport, Predicate, ReportFormat, UnknownFormat,
    database_made_at,
};
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::limits::REPORT_BYTES;
use bulla_keys_schema::names::{ImageRef, SignerName};

use super::asking::{self, Asking};
use super::sign::say_written;
use super::{Context, say_dry_run, warn_expired};
use crate::flow::attest::{Request, attest, only};
use crate::report::AttestReport;

/// Say under a signature what a scanner found, what an image consists of, or anything else of it
///
/// The report has to say itself that it is of this image. It is wrapped unchanged, so that whoever
/// reads it counts for himself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// The report, as the tool wrote it, in JSON
    file: PathBuf,
    /// What it is: trivy, grype, cosign-vuln, in-toto-vulns, sarif, cyclonedx, spdx, openvex or custom
    /// [default: what the content says]
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    /// Attest as this attester, where keys of several are here
    #[arg(long = "as", value_name = "SIGNER")]
    signer: Option<SignerName>,
    /// What the scanner was run with, like `image --severity HIGH,CRITICAL`; it is signed along
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    scan_args: Option<String>,
    /// The file `metadata.json` beside Trivy's database, whose age Trivy's reports do not tell
    #[arg(long, value_name = "FILE")]
    db_metadata: Option<PathBuf>,
    /// The URI of the type of a custom file, which is a JSON object then
    #[arg(long, value_name = "URI")]
    predicate_type: Option<String>,
    /// Take a report that names no image; it is marked
    #[arg(long)]
    unbound: bool,
    /// List the newest N of this kind and type for the image, and no older ones
    #[arg(long, value_name = "N", default_value = "3")]
    keep: NonZeroUsize,
    /// Size of the manifest in bytes; with it and a digest no registry is asked
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    #[command(flatten)]
    in_registry: InRegistry,
    #[command(flatten)]
    asking: Asking,
}

/// Attestations for cosign, which looks for them in the registry.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Attestations in the registry")]
struct InRegistry {
    /// Write nothing for cosign to the registry
    #[arg(long, conflicts_with = "only_registry")]
    no_registry_signature: bool,
    /// Write nothing but that: no trust server, and nothing that says when, or takes it back
    #[arg(long, requires = "key", conflicts_with_all = ["signer", "size", "keep", "request"])]
    only_registry: bool,
    /// The key to sign with, by its name
    #[arg(long, value_name = "NAME", requires = "only_registry")]
    key: Option<KeyName>,
}

impl InRegistry {
    /// The key, where nothing but the registry is written to.
    fn only(&self) -> Option<KeyName> {
        self.key.clone().filter(|_| self.only_registry)
    }
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(key) = self.in_registry.only() {
            return self.run_in_registry(context, key).await;
        }
        let world = context.settings.world(self.image.repository())?;
        let request = Request {
            predicate: self.predicate(world.ports().clock.now())?,
            image: self.image,
            size: self.size,
            unbound: self.unbound,
            signer: self.signer,
            keep: self.keep,
            in_registry: !self.in_registry.no_registry_signature && context.settings.signs_in_registry(),
            how: self.asking.how(),
        };
        let busy = context.output.busy("attesting");
        let result = attest(world.ports(), &request).await;
        drop(busy);
        let attested = result?;
        warn_expired(context.output, &attested.published);
        warn_unbound(context, &attested.attestation);
        if attested.attestation.is_undeclared() {
            let how = "say what the scanner was run with, like --scan-args 'image --scanners vuln'";
            context.output.warn(&format!("policies will not count this report as whole: {how}"));
        }
        say_dry_run(context.output, self.asking.is_dry_run());
        say_written(context, &attested.in_registry);
        context.output.answer(&AttestReport::new(request.image.repository(), &attested))?;
        asking::end(context, request.image.repository(), &attested.published)
    }

    async fn run_in_registry(self, context: &Context, key: KeyName) -> anyhow::Result<()> {
        let world = context.settings.world_offline(self.image.repository())?;
        let request = only::Request {
            predicate: self.predicate(world.ports().clock.now())?,
            image: self.image,
            unbound: self.unbound,
            key,
            dry_run: self.asking.is_dry_run(),
        };
        let busy = context.output.busy("attesting");
        let result = only::attest(world.ports(), &request).await;
        drop(busy);
        let attested = result?;
        warn_unbound(context, &attested.attestation);
        say_dry_run(context.output, request.dry_run);
        say_written(context, &attested.written);
        Ok(context.output.answer(&AttestReport::in_registry(&request, &attested))?)
    }

    fn predicate(&self, now: bulla_keys_schema::time::UtcTime) -> Result<Predicate, UnfitFile> {
        let bytes = read(&self.file)?;
        let unfit = |reason: InvalidPredicate| UnfitFile::Predicate { path: self.file.clone(), reason };
        let is_custom = self.kind == Some(Type::Custom);
        if self.predicate_type.is_some() && !is_custom {
            return Err(UnfitFile::TypeOfNone);
        }
        if is_custom {
            if self.scan_args.is_some() || self.db_metadata.is_some() {
                return Err(UnfitFile::NothingScanned);
            }
            return Predicate::custom(&bytes, self.predicate_type.as_deref(), now).map_err(unfit);
        }
        let database_at = self.db_metadata.as_deref().map(|path| {
            let invalid = |reason| UnfitFile::Database { path: path.to_owned(), reason };
            database_made_at(&read(path)?).map_err(invalid)
        });
        let declared = Declared { arguments: self.scan_args.clone(), database_at: database_at.transpose()? };
        let format = match self.kind {
            Some(Type::Report(format)) => Some(format),
            Some(Type::Custom) | None => None,
        };
        Predicate::of_report(&bytes, format, &declared).map_err(unfit)
    }
}

fn warn_unbound(context: &Context, attestation: &Attestation) {
    if attestation.is_unbound() {
        context.output.warn("the report names no image: only this signature says which one it is of");
    }
}

/// A type of what is attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Report(ReportFormat),
    Custom,
}

impl FromStr for Type {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        match text {
            "custom" => Ok(Self::Custom),
            text => text.parse().map(Self::Report).map_err(|UnknownFormat| UnknownType),
        }
    }
}

/// The text names no type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a type: trivy, grype, cosign-vuln, in-toto-vulns, sarif, cyclonedx, spdx, openvex or custom")]
struct UnknownType;

/// A file, unless it is larger than any report may be: then its size is told at once.
fn read(path: &Path) -> Result<Vec<u8>, UnfitFile> {
    let failed = |error: std::io::Error| UnfitFile::File { path: path.to_owned(), reason: error.to_string() };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let too_large = |bytes| UnfitFile::TooLarge { path: path.to_owned(), bytes };
    if length > REPORT_BYTES as u64 {
        return Err(too_large(length));
    }
    let mut bytes = Vec::new();
    file.take(REPORT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > REPORT_BYTES { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// A file is not attested.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnfitFile {
    /// Not what lies beside a database.
    #[error("{}: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: InvalidReport,
    },
    /// The system refuses.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Options for scans, and something else.
    #[error("a custom file is no scan, so nothing can be said of its scanner")]
    NothingScanned,
    /// Not what can be attested.
    #[error("{}: {reason}", path.display())]
    Predicate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: InvalidPredicate,
    },
    /// Larger than a report may be.
    #[error("{} has {bytes} bytes, more than {REPORT_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many it has.
        bytes: u64,
    },
    /// A type that only custom files choose.
    #[error("the type of a report is given by its format")]
    TypeOfNone,
}
