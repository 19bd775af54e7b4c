//! `bulla request`

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{RequestExport, RequestId, SignatureFile};
use clap::Subcommand;

use super::{Answered, Context, Exit, say_dry_run};
use crate::flow::request::{self as flow, Judged, SignedImage};
use crate::pins::Mode;
use crate::report::{RequestReport, RequestsReport, SignaturesReport};
use crate::wiring::{World, ask};

/// Sign together what one person cannot sign alone
///
/// A change that needs more signatures than this home has goes to the others with --request.
/// Ends with 0 once a request is complete, with 41 while it waits for more signatures, and with
/// 40 if it is too late for it.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the open requests of a repository
    List {
        /// The repository
        #[arg(value_parser = super::repository)]
        repository: RepositoryName,
    },
    /// Show what a request would change, as this home sees it, and who has signed
    Show(Which),
    /// Look at a request, and sign it with the keys of this home
    Sign(SignArgs),
    /// Hand in signatures that were made on another machine
    Submit(SubmitArgs),
    /// Write a request into a file, with all that a machine without network needs to judge it
    Export(ExportArgs),
    /// Close a request
    Cancel(CancelArgs),
}

/// A request of a server, or in a file.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The repository
    #[arg(value_parser = super::repository, required_unless_present = "file", requires = "id")]
    repository: Option<RepositoryName>,
    /// The request, as listed
    #[arg(value_name = "ID")]
    id: Option<RequestId>,
    /// A file from `bulla request export`; no server is asked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repository", "id"])]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    which: Which,
    /// With --file: where to write the signatures; it must not exist
    #[arg(long, value_name = "SIGFILE", requires = "file")]
    out: Option<PathBuf>,
    /// Sign only if the request has this digest, and do not ask
    #[arg(long, value_name = "HEX", value_parser = digest)]
    expect_digest: Option<Sha256Digest>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would be signed, sign nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    /// The file of signatures
    #[arg(value_name = "SIGFILE")]
    file: PathBuf,
    /// Check the signatures, send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The request, as listed
    id: RequestId,
    /// Where to write it; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The request, as listed
    id: RequestId,
    /// Change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List { repository } => {
                let world = context.settings.world(&repository)?;
                let requests = flow::list(world.ports(), &repository).await?;
                Ok(context.output.answer(&RequestsReport::new(&repository, requests))?)
            }
            Self::Show(which) => {
                let (_, judged) = which.judge(context).await?;
                context.output.answer(&RequestReport::new(&judged))?;
                end(judged.open.is_complete())
            }
            Self::Sign(args) => args.run(context).await,
            Self::Submit(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::Cancel(args) => args.run(context).await,
        }
    }
}

impl Which {
    async fn judge(&self, context: &Context) -> anyhow::Result<(World, Judged)> {
        if let Some(path) = &self.file {
            let export = RequestExport::parse(&read(path, limits::EXPORT_BYTES)?)?;
            let world = context.settings.world(&export.request.repository)?;
            let judged = flow::from_file(world.ports(), export).await?;
            return in_its_mode(context, world, judged);
        }
        let (Some(repository), Some(id)) = (&self.repository, self.id) else {
            return Err(NothingNamed.into());
        };
        let world = context.settings.world(repository)?;
        let judged = flow::from_server(world.ports(), repository, id).await?;
        in_its_mode(context, world, judged)
    }
}

/// Before the first root there is no pin that tells the mode, but the request does.
fn in_its_mode(context: &Context, world: World, judged: Judged) -> anyhow::Result<(World, Judged)> {
    let request = judged.open.request();
    let mode = Mode::from(request.dialect);
    if context.settings.mode(&request.repository)? == mode {
        return Ok((world, judged));
    }
    Ok((context.settings.world_in(&request.repository, mode)?, judged))
}

impl SignArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(out) = self.out.as_deref().filter(|out| out.exists()) {
            return Err(failed("write", out, "it exists already").into());
        }
        if self.which.file.is_some() && self.out.is_none() && !self.dry_run {
            return Err(NoOut.into());
        }
        let (world, mut judged) = self.which.judge(context).await?;
        if let Some(expected) = self.expect_digest {
            flow::require_digest(&judged, expected)?;
        }
        let keys = flow::able(world.ports(), &judged)?;
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let shown = RequestReport::new(&judged);
        if self.dry_run {
            context.output.say(&format!("would sign with {}", keys.join(", ")));
            say_dry_run(context.output, true);
            context.output.answer(&shown)?;
            return end(judged.open.is_complete());
        }
        context.output.show(&shown);
        if !self.yes && self.expect_digest.is_none() {
            let question = format!("Sign this with {}? [y/N] ", keys.join(", "));
            if !ask(&question)? {
                return Err(Declined.into());
            }
        }
        let file = flow::sign(world.ports(), &judged)?;
        let Some(out) = &self.out else {
            return send(context, &world, judged, &file).await;
        };
        write_new(out, &file.to_bytes())?;
        judged.open.merge(&file)?;
        context.output.say("bring this file to a machine with network, and there:");
        context.output.say(&format!("  bulla request submit {}", out.display()));
        context.output.answer(&SignaturesReport::new(&out.display().to_string(), &file, &judged))?;
        end(judged.open.is_complete())
    }
}

impl SubmitArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let file = SignatureFile::parse(&read(&self.file, limits::SIGNATURE_FILE_BYTES)?)?;
        let world = context.settings.world(&file.repository)?;
        let mut judged = flow::from_server(world.ports(), &file.repository, file.request).await?;
        if self.dry_run {
            judged.open.merge(&file)?;
            say_dry_run(context.output, true);
            context.output.answer(&RequestReport::new(&judged))?;
            return end(judged.open.is_complete());
        }
        send(context, &world, judged, &file).await
    }
}

impl ExportArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let judged = flow::from_server(world.ports(), &self.repository, self.id).await?;
        let export = flow::export(world.ports(), &judged).await?;
        write_new(&self.out, &export.to_bytes())?;
        let file = self.out.display();
        context.output.say("bring this file to the machine with the key, and there:");
        context.output.say(&format!("  bulla request sign --file {file} --out {file}.sig"));
        Ok(context.output.answer(&RequestReport::new(&judged))?)
    }
}

impl CancelArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        if self.dry_run {
            let listed = flow::list(world.ports(), &self.repository).await?;
            let id = self.id.to_string();
            if !listed.iter().any(|request| request.id == id) {
                let (repository, id) = (self.repository, self.id);
                return Err(flow::RequestError::Unknown { repository, id }.into());
            }
        } else {
            flow::cancel(world.ports(), &self.repository, self.id).await?;
        }
        say_dry_run(context.output, self.dry_run);
        let left = flow::list(world.ports(), &self.repository).await?;
        Ok(context.output.answer(&RequestsReport::new(&self.repository, left))?)
    }
}

async fn send(context: &Context, world: &World, judged: Judged, file: &SignatureFile) -> anyhow::Result<()> {
    let repository = file.repository.clone();
    let sent = flow::send(world.ports(), judged, file).await?;
    let report = RequestReport::new(&sent.judged).handed_in(sent.complete);
    context.output.answer(&report)?;
    if sent.complete {
        context.output.say(&format!("published: {repository} has all signatures that it needs"));
        if sent.judged.current.is_none() && context.settings.mode(&repository)? == Mode::Legacy {
            context.output.say("whoever verifies with bulla pins it with --mode legacy");
        }
        if context.settings.signs_in_registry() {
            say_in_registry(context, &repository, &flow::signed_images(world.ports(), &sent.judged, file)?);
        }
    }
    end(sent.complete)
}

/// What a request cannot do. The keys of the others are in their homes, and those of this one are closed
/// again: signing there is another act, with its own question for the passphrase.
fn say_in_registry(context: &Context, repository: &RepositoryName, images: &[SignedImage]) {
    if images.is_empty() {
        return;
    }
    context
        .output
        .say("the registry has no signature of this; for cosign and podman, each signer adds his own:");
    for SignedImage { tag, digest, keys } in images {
        let keys: String = match keys.as_slice() {
            [] => " --key NAME".to_owned(),
            keys => keys.iter().map(|key| format!(" --key {key}")).collect(),
        };
        let image = format!("{repository}:{tag}@{}", digest.to_oci());
        context.output.say(&format!("  bulla sign --only-registry{keys} {image}"));
    }
}

/// Nothing is left to do, or others have to sign.
pub(super) fn end(complete: bool) -> anyhow::Result<()> {
    if complete { Ok(()) } else { Err(Answered(Exit::Waiting).into()) }
}

fn digest(text: &str) -> Result<Sha256Digest, bulla_keys_schema::digest::InvalidDigest> {
    text.parse()
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, UnusableRequestFile> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| failed("read", path, &error.to_string());
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One more than may be: what is too large is refused where it is parsed.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Signatures and requests are no secrets; they are never written over something else.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), UnusableRequestFile> {
    let unwritable = |error: std::io::Error| failed("write", path, &error.to_string());
    let mut file = fs::File::create_new(path).map_err(unwritable)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(unwritable)
}

fn failed(action: &'static str, path: &Path, reason: &str) -> UnusableRequestFile {
    UnusableRequestFile { action, path: path.to_owned(), reason: reason.to_owned() }
}

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}", path.display())]
pub(super) struct UnusableRequestFile {
    action: &'static str,
    path: PathBuf,
    reason: String,
}

/// The person said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was signed")]
pub(super) struct Declined;

/// Neither a server's request nor a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request is named")]
pub(super) struct NothingNamed;

/// A signature that would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing says where to write the signatures")]
pub(super) struct NoOut;
