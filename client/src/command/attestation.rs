//! `bulla attestation`

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use bulla_keys_schema::attest::{Statement, report_within};
use bulla_keys_schema::names::ImageRef;
use clap::Subcommand;

use super::Context;
use crate::flow::attestation::{Attestations, attestations};
use crate::flow::evidence::{Found, Sound};
use crate::report::{AttestationReport, AttestationsReport};

/// Shortest beginning of a digest that names an attestation.
const SHORTEST: usize = 6;

/// Read what others say of an image
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List everything that is attested of an image, the newest first
    List {
        /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
        image: ImageRef,
    },
    /// Show one attestation
    Show {
        /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
        image: ImageRef,
        /// Its number in the list, the beginning of its envelope's digest, or a kind: vulns, sbom, vex or
        /// other [default: the newest that counts]
        which: Option<String>,
    },
    /// Write the envelope of one attestation, or what is in it, to stdout or a file
    Download(DownloadArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DownloadArgs {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// Its number in the list, the beginning of its envelope's digest, or a kind: vulns, sbom, vex or
    /// other [default: the newest that counts]
    which: Option<String>,
    /// Only what is said, without statement and signature
    #[arg(long, conflicts_with = "report")]
    predicate: bool,
    /// Only the report, as the scanner wrote it
    #[arg(long)]
    report: bool,
    /// Where to write it; the file must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List { image } => {
                let attestations = fetch(context, &image).await?;
                Ok(context.output.answer(&AttestationsReport::from(&attestations))?)
            }
            Self::Show { image, which } => {
                let attestations = fetch(context, &image).await?;
                let (number, found, _) = choose(&attestations, which.as_deref())?;
                let report = AttestationReport::new(&attestations.repository, number, found);
                Ok(context.output.answer(&report)?)
            }
            Self::Download(args) => args.run(context).await,
        }
    }
}

impl DownloadArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let attestations = fetch(context, &self.image).await?;
        let (number, found, sound) = choose(&attestations, self.which.as_deref())?;
        let bytes = self.wanted(sound)?;
        let Some(path) = &self.out else { return Ok(context.output.raw(&bytes)?) };
        let written = File::create_new(path).and_then(|mut file| file.write_all(&bytes));
        written.map_err(|error| NotWritten { path: path.clone(), reason: error.to_string() })?;
        let report = AttestationReport::new(&attestations.repository, number, found);
        Ok(context.output.answer(&report)?)
    }

    fn wanted(&self, sound: &Sound) -> Result<Vec<u8>, NoneFound> {
        let statement = Statement::parse(sound.envelope.payload());
        let unreadable = |_| NoneFound::Unreadable;
        Ok(match (self.predicate, self.report) {
            (true, _) => statement.map_err(unreadable)?.predicate().as_bytes().to_vec(),
            (_, true) => report_within(&statement.map_err(unreadable)?).as_bytes().to_vec(),
            (false, false) => sound.envelope.bytes().to_vec(),
        })
    }
}

async fn fetch(context: &Context, image: &ImageRef) -> anyhow::Result<Attestations> {
    let world = context.settings.world(image.repository())?;
    let busy = context.output.busy("reading attestations");
    let result = attestations(world.ports(), image).await;
    drop(busy);
    let attestations = result?;
    if let Some(reason) = &attestations.offline {
        context.output.warn(&format!("{reason}; this is what was accepted before"));
    }
    if let Some(reason) = &attestations.note {
        context.output.warn(&format!("{reason}; only what is said of the digest itself is shown"));
    }
    Ok(attestations)
}

/// The entry that `which` names, if it counts, and its number.
fn choose<'a>(
    attestations: &'a Attestations,
    which: Option<&str>,
) -> Result<(usize, &'a Found, &'a Sound), NoneFound> {
    let found = &attestations.evidence.found;
    let digest = |which: &str| which.strip_prefix("sha256:").unwrap_or(which).to_owned();
    let is_wanted = |at: usize, found: &Found| match which {
        None => found.standing.is_ok(),
        Some(which) => {
            let is_kind = found.kind.is_some_and(|kind| kind.as_str() == which) && found.standing.is_ok();
            let begins = found.digest.is_some_and(|own| own.to_string().starts_with(&digest(which)));
            is_kind || which.parse() == Ok(at + 1) || (digest(which).len() >= SHORTEST && begins)
        }
    };
    let wanted = found.iter().enumerate().find(|(at, found)| is_wanted(*at, found));
    let (at, found) = wanted.ok_or_else(|| NoneFound::Nothing { which: which.map(str::to_owned) })?;
    match &found.standing {
        Ok(sound) => Ok((at + 1, found, sound)),
        Err(unsound) => Err(NoneFound::Unsound { name: found.name.clone(), reason: unsound.to_string() }),
    }
}

/// There is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoneFound {
    /// Nothing of the kind.
    #[error("nothing that counts is attested of the image{}", named(which.as_deref()))]
    Nothing {
        /// What was asked for.
        which: Option<String>,
    },
    /// It is listed and does not count.
    #[error("{name} does not count: {reason}")]
    Unsound {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// What was read before cannot be read any more.
    #[error("the statement cannot be read")]
    Unreadable,
}

fn named(which: Option<&str>) -> String {
    which.map(|which| format!(" as {which:?}")).unwrap_or_default()
}

/// The file was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {reason}", path.display())]
pub(super) struct NotWritten {
    path: PathBuf,
    reason: String,
}
