//! `bulla signer`

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{Certificate, KeyName, PublicKey};
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{PathPattern, RepositoryName, SignerName, Tag};
use bulla_keys_schema::request::PlainText;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;
use clap::Subcommand;

use super::asking::{self, Asking, RequestTime};
use super::{Context, moment, say_dry_run, warn_expired, warn_threshold};
use crate::flow::enrol;
use crate::flow::inspect::inspect;
use crate::flow::signed_since::Source;
use crate::flow::signer::{AddRequest, add, every_tag, remove};
use crate::flow::signer_revoke::{self, SignerRevoked};
use crate::output::Output;
use crate::pins::Mode;
use crate::report::{EnrolmentReport, SignerChangeReport, SignerRevokeReport, SignersReport};

/// Largest file with a public key, in bytes.
const KEY_BYTES: u64 = 16 * 1024;

/// Let others sign tags
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Let a signer sign tags
    Add(AddArgs),
    /// Take a signer's right to sign
    Remove(RemoveArgs),
    /// Take a signer's right to sign, and its keys out of every role: somebody else may hold them
    Revoke(RevokeArgs),
    /// List the signers
    List {
        /// The repository
        #[arg(value_parser = super::repository)]
        repository: RepositoryName,
    },
    /// As a signer: sign the document with which the admin adds you
    Enrol(EnrolArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name
    name: SignerName,
    /// A public key of the signer (PEM); may be repeated
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// How many of the keys must sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: u64,
    /// Tags the signer may sign, with * and ?, or in a legacy repository PREFIX*; may be repeated
    /// [default: all]
    #[arg(long = "tags", value_name = "GLOB")]
    tags: Vec<PathPattern>,
    /// When the right to sign ends: a day, to its end in UTC, or a time of RFC 3339
    #[arg(long, value_name = "DATE", value_parser = moment::until)]
    expires: Option<UtcTime>,
    /// What the signer wrote with `bulla signer enrol`, where the private keys are not here
    #[arg(long, value_name = "FILE")]
    enrolment: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name
    name: SignerName,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name
    name: SignerName,
    /// Since when what it signed is in doubt: a day, from its beginning in UTC, or a time of RFC
    /// 3339; such tags are taken off [default: nothing is in doubt]
    #[arg(long, value_name = "TIME", value_parser = moment::since)]
    since: Option<UtcTime>,
    /// Let this signer take over the tags that are not in doubt; without it they are taken off too
    #[arg(long, value_name = "SIGNER")]
    re_sign_as: Option<SignerName>,
    /// A tag in doubt that you have checked: it is taken over as well; may be repeated
    #[arg(long, value_name = "TAG", requires = "re_sign_as")]
    checked: Vec<Tag>,
    /// Why, for whoever is refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Where keys of others are needed too, sign with those that are here and ask for the rest
    #[arg(long, requires = "reason")]
    request: bool,
    #[command(flatten)]
    time: RequestTime,
    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EnrolArgs {
    /// The repository; it must be pinned here
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name, as the admin will use it
    name: SignerName,
    /// A key of this home; may be repeated
    #[arg(long = "key", value_name = "NAME", required = true)]
    keys: Vec<KeyName>,
    /// How many of the keys will have to sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: u64,
    /// Tags the admin will allow; may be repeated [default: all]
    #[arg(long = "tags", value_name = "GLOB")]
    tags: Vec<PathPattern>,
    /// When the admin will let the right to sign end
    #[arg(long, value_name = "DATE", value_parser = moment::until)]
    expires: Option<UtcTime>,
    /// Where to write the document; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => args.run(context).await,
            Self::Remove(args) => args.run(context).await,
            Self::Revoke(args) => args.run(context).await,
            Self::List { repository } => {
                let world = context.settings.world(&repository)?;
                let inspection = inspect(world.ports(), &repository, None).await?;
                if let Some(reason) = &inspection.offline {
                    context.output.warn(&format!("{reason}; this is what was accepted before"));
                }
                Ok(context.output.answer(&SignersReport::new(&inspection))?)
            }
            Self::Enrol(args) => args.run(context).await,
        }
    }
}

impl AddArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let request = AddRequest {
            keys: self.keys.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?,
            enrolment: self.enrolment.as_deref().map(read_enrolment).transpose()?,
            repository: self.repository,
            name: self.name,
            threshold: self.threshold,
            patterns: patterns(self.tags),
            ends: self.expires,
            how: self.asking.how(),
        };
        let world = context.settings.world(&request.repository)?;
        let added = add(world.ports(), &request).await?;
        let mode = context.settings.mode(&request.repository)?;
        warn_threshold(context.output, mode, request.threshold);
        match request.ends {
            Some(_) if mode == Mode::Legacy => context.output.warn(
                "a legacy repository knows no end of a right to sign: only the first document expires then",
            ),
            Some(ends) => context.output.say(&format!(
                "after {ends} run, because some clients refuse a repository with an expired role: bulla signer remove {} {}",
                request.repository, request.name
            )),
            None => {}
        }
        warn_expired(context.output, &added.published);
        say_dry_run(context.output, self.asking.is_dry_run());
        let report = SignerChangeReport::added(&request.repository, request.name.as_str(), &added);
        context.output.answer(&report)?;
        asking::end(context, &request.repository, &added.published)
    }
}

impl RemoveArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let removed = remove(world.ports(), &self.repository, &self.name, &self.asking.how()).await?;
        warn_expired(context.output, &removed.published);
        say_dry_run(context.output, self.asking.is_dry_run());
        let report = SignerChangeReport::removed(&self.repository, self.name.as_str(), &removed);
        context.output.answer(&report)?;
        asking::end(context, &self.repository, &removed.published)
    }
}

impl RevokeArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let asked = self.reason.as_deref().filter(|_| self.request);
        let asked = asked.map(str::parse::<PlainText>).transpose()?;
        let request = signer_revoke::Request {
            repository: self.repository,
            name: self.name,
            since: self.since,
            re_sign_as: self.re_sign_as,
            checked: self.checked,
            reason: self.reason,
            how: asking::how(self.request, self.dry_run, asked.as_ref(), &self.time),
        };
        let world = context.settings.world(&request.repository)?;
        let revoked = signer_revoke::revoke(world.ports(), &request).await?;
        warn_expired(context.output, &revoked.published);
        say_dry_run(context.output, request.how.is_dry_run());
        explain_revoked(context.output, &request, &revoked);
        context.output.answer(&SignerRevokeReport::new(&request, &revoked))?;
        asking::end(context, &request.repository, &revoked.published)
    }
}

/// Says what this could not reach, and what the list of tags is known from.
fn explain_revoked(output: Output, request: &signer_revoke::Request, revoked: &SignerRevoked) {
    let repository = &request.repository;
    for role in &revoked.also_removed {
        output.warn(&format!("signer {role} could not stand without these keys, and went along"));
    }
    for role in &revoked.top_level {
        output.warn(&format!("{role} lists one of these keys; run: bulla rotate {repository} {role}"));
    }
    for role in &revoked.still_in {
        output.warn(&format!("{role} still lists one of these keys; whoever delegates to it takes it out"));
    }
    match revoked.source {
        Source::Everything => {}
        Source::ServerRecord => output.say(
            "what was signed since then is known from the trust server's feed of changes, which nobody signs",
        ),
        Source::SignersWord => output.warn(
            "what was signed since then is known from the signer's own word only: the server shows no feed of changes, and a thief may have dated tags back",
        ),
    }
    if request.since.is_some() && !revoked.taken_off.is_empty() {
        output.say("to sign one again once it is checked: bulla sign REPOSITORY:TAG@sha256:DIGEST");
    }
}

impl EnrolArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let request = enrol::Request {
            repository: self.repository,
            name: self.name,
            keys: self.keys,
            threshold: self.threshold,
            patterns: patterns(self.tags),
            ends: self.expires,
        };
        let failed = |reason: String| UnusableFile { action: "write", path: self.out.clone(), reason };
        if self.out.exists() {
            return Err(failed("it exists already".to_owned()).into());
        }
        let document = enrol::enrol(world.ports(), &request).await?;
        fs::write(&self.out, &document).map_err(|error| failed(error.to_string()))?;
        let file = self.out.display().to_string();
        context.output.say("hand this file and your public keys to the admin, who runs:");
        context.output.say(&format!(
            "  bulla signer add {} {} --key FILE.pub --enrolment {file}",
            request.repository, request.name
        ));
        Ok(context.output.answer(&EnrolmentReport::new(&request.repository, request.name.as_str(), &file))?)
    }
}

fn patterns(tags: Vec<PathPattern>) -> Vec<PathPattern> {
    if tags.is_empty() { every_tag() } else { tags }
}

/// Whether `text`, where a key is wanted, is the path of a file rather than the name of a key: it
/// ends like one, or has a slash.
pub(super) fn names_file(text: &str) -> bool {
    let ends = Path::new(text)
        .extension()
        .is_some_and(|end| ["pub", "pem", "crt"].iter().any(|known| end == *known));
    ends || text.contains('/')
}

/// Reads a file with one public key in PEM; docker's name the signer in a header.
pub(super) fn read_key(path: &Path) -> Result<PublicKey, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "use", path: path.to_owned(), reason };
    PublicKey::from_pem_with_headers(&read_text(path)?).map_err(|error| failed(error.to_string()))
}

/// The certificate in a file, if there is one in place of a bare key.
pub(super) fn read_certificate(path: &Path) -> Result<Option<Certificate>, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "use", path: path.to_owned(), reason };
    let pem = read_text(path)?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(None);
    }
    Certificate::from_pem_bundle(&pem).map(Some).map_err(|error| failed(error.to_string()))
}

/// The text of a file with a public key or a certificate.
fn read_text(path: &Path) -> Result<String, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "use", path: path.to_owned(), reason };
    String::from_utf8(read(path, KEY_BYTES)?).map_err(|_| failed("not text".to_owned()))
}

fn read_enrolment(path: &Path) -> Result<Bytes, UnusableFile> {
    read(path, limits::TARGETS_BYTES as u64).map(Bytes::from)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "read", path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// A file named on the command line is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {}: {reason}", path.display())]
pub(super) struct UnusableFile {
    /// `read`, `write` or `use`.
    pub(super) action: &'static str,
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) reason: String,
}
