//! `bulla verify --key` and `bulla cosign`: signatures that lie in the registry, beside the image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, PathPattern, RepositoryName, SignerName};
use bulla_keys_schema::sigstore::predicate_type;
use clap::Subcommand;

use super::asking::{self, Asking};
use super::signer::read_key;
use super::{Answered, Context, Exit, explain, say_dry_run, warn_expired};
use crate::flow::cosign::import::{self, End, Fate, Import, Refusal};
use crate::flow::cosign::verify::{CosignError, Proven, Request, Terms, verify};
use crate::report::{CosignImportReport, CosignReport, not_counted};

/// Whose signatures in the registry count, and for what.
#[derive(Debug, clap::Args)]
pub(super) struct ByKey {
    /// Ask no trust server: take signatures of cosign or podman by this public key; repeatable
    #[arg(long = "key", value_name = "FILE", conflicts_with_all = ["policy", "policy_from"])]
    keys: Vec<PathBuf>,
    /// How many of the keys must have signed
    #[arg(long, value_name = "K", requires = "keys", default_value_t = 1)]
    threshold: usize,
    /// And must have signed this with it; repeatable
    #[arg(long = "annotation", value_name = "NAME=TEXT", requires = "keys", value_parser = annotation)]
    annotations: Vec<(String, String)>,
    /// Not a signature, but an attestation of this type: a name of cosign's, like vuln, or a URI
    #[arg(long = "type", value_name = "TYPE", requires = "keys", value_parser = predicate)]
    predicate_type: Option<String>,
}

/// Work with signatures of cosign
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Sign the tags whose images cosign signed, in one publication
    ///
    /// Most signatures of cosign name no tag: whatever a tag means at the registry now is signed, if the
    /// image is. One that names a tag counts for that tag alone. Tags that mean something else in the
    /// trust metadata are left alone, and nothing that was revoked comes back.
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// Take signatures of cosign or podman by this public key; repeatable
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// How many of the keys must have signed
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: usize,
    /// And must have signed this with it; repeatable
    #[arg(long = "annotation", value_name = "NAME=TEXT", value_parser = annotation)]
    annotations: Vec<(String, String)>,
    /// Only tags like this, for example `v*`
    #[arg(long, value_name = "GLOB")]
    tags: Option<PathPattern>,
    /// Sign as this signer, where keys of several are here
    #[arg(long = "as", value_name = "SIGNER")]
    signer: Option<SignerName>,
    /// Sign tags that mean something else in the trust metadata, too
    #[arg(long = "move")]
    moves: bool,
    /// Take signatures that were made for another tag, too
    #[arg(long)]
    any_tag: bool,
    /// In a legacy repository, which keeps no record of it: none of these tags was revoked
    #[arg(long)]
    none_revoked: bool,
    #[command(flatten)]
    asking: Asking,
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let Self::Import(args) = self;
        let world = context.settings.world(&args.repository)?;
        let request = import::Request {
            terms: terms(&args.keys, args.threshold, args.annotations, None)?,
            repository: args.repository,
            tags: args.tags,
            signer: args.signer,
            moves: args.moves,
            any_tag: args.any_tag,
            none_revoked: args.none_revoked,
            how: args.asking.how(),
        };
        let imported = import::import(world.ports(), &request).await?;
        if let Some(published) = &imported.published {
            warn_expired(context.output, published);
        }
        say_dry_run(context.output, args.asking.is_dry_run());
        say_flags(context, &imported);
        let report = CosignImportReport::new(&request.repository, &imported);
        context.output.answer(&report)?;
        if let Some(published) = &imported.published {
            asking::end(context, &request.repository, published)?;
        }
        match imported.end() {
            End::Done => Ok(()),
            End::NotSeen => Err(Answered(Exit::Unreachable).into()),
            End::Nothing => Err(Answered(Exit::NotSigned).into()),
        }
    }
}

/// How to have what was refused for a reason that only a person can judge.
fn say_flags(context: &Context, imported: &Import) {
    let refused = |is: fn(&Refusal) -> bool| {
        imported.tags.iter().any(|outcome| matches!(&outcome.fate, Fate::Refused(why) if is(why)))
    };
    if refused(|why| matches!(why, Refusal::MaybeRevoked)) {
        context.output.say("if none of these tags was ever revoked, say so: --none-revoked");
    }
    if refused(|why| matches!(why, Refusal::OtherTag { .. })) {
        context.output.say("to take what was signed as another tag: --any-tag");
    }
}

impl ByKey {
    /// Whether keys alone are to decide.
    pub(super) const fn is_asked(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Answers for one image.
    pub(super) async fn verify(
        self,
        context: &Context,
        image: ImageRef,
        platform: Option<Platform>,
    ) -> anyhow::Result<()> {
        let world = context.settings.world(image.repository())?;
        let terms = terms(&self.keys, self.threshold, self.annotations, self.predicate_type)?;
        let request = Request { image, platform, terms };
        let busy = context.output.busy("verifying");
        let result = verify(world.ports().registry, &request).await;
        drop(busy);
        match result {
            Ok(proven) => {
                tell(context, &proven);
                Ok(context.output.answer(&CosignReport::from(&proven))?)
            }
            Err(error) => refuse(context, error),
        }
    }
}

fn terms(
    keys: &[PathBuf],
    threshold: usize,
    wanted: Vec<(String, String)>,
    predicate_type: Option<String>,
) -> anyhow::Result<Terms> {
    let keys = keys.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?;
    let mut annotations = BTreeMap::new();
    for (name, text) in wanted {
        if let Some(other) = annotations.insert(name.clone(), text.clone()).filter(|other| *other != text) {
            return Err(TwoTexts { name, texts: [other, text] }.into());
        }
    }
    Ok(Terms { keys, threshold, annotations, predicate_type })
}

/// Says what such a signature leaves open, every time.
fn tell(context: &Context, proven: &Proven) {
    for line in not_counted(&proven.judgement) {
        context.output.say(&line);
    }
    for reason in &proven.unseen {
        context.output.warn(&format!("there may be more signatures: {reason}"));
    }
    let keys: Vec<String> = proven.judgement.keys().iter().map(ToString::to_string).collect();
    let image = ImageRef::pinned(&proven.repository, proven.signed);
    context.output.say(&format!("{image} is signed by {}", keys.join(", ")));
    let repository = if proven.judgement.binds_repository() { "" } else { ", no repository" };
    context.output.warn(&format!(
        "these signatures bind no tag{repository} and no time, and whether they were revoked is unknown; \
         trust metadata tells: bulla verify, without --key"
    ));
    if let (Some(tag), Some(named)) = (&proven.tag, other_tag(proven)) {
        context.output.warn(&format!("the tag {tag} was asked for, but the signature was made for {named}"));
    }
}

/// What the signatures name, where they name tags and none of them is the one asked for.
fn other_tag(proven: &Proven) -> Option<String> {
    let tag = proven.tag.as_ref()?;
    let named: Vec<_> = proven.judgement.proofs.iter().filter(|proof| proof.tag.is_some()).collect();
    if named.iter().any(|proof| proof.tag.as_ref() == Some(tag)) {
        return None;
    }
    named.first().and_then(|proof| proof.reference.clone())
}

/// "No", with everything that was looked at: in JSON in the answer, for people in words.
fn refuse(context: &Context, error: CosignError) -> anyhow::Result<()> {
    if let CosignError::NotOurs { judgement, .. } = &error {
        for line in not_counted(judgement) {
            context.output.say(&line);
        }
    }
    if !context.output.is_json() {
        return Err(error.into());
    }
    let report = |exit: u8| CosignReport::refused(&error, exit);
    if report(0).is_none() {
        return Err(error.into());
    }
    let error = anyhow::Error::new(error);
    let failure = explain(&error);
    let report = error.downcast_ref().and_then(|error| CosignReport::refused(error, failure.exit as u8));
    if let Some(report) = report {
        context.output.json(&report)?;
    }
    context.output.fail(&failure.report());
    Err(Answered(failure.exit).into())
}

fn annotation(text: &str) -> Result<(String, String), NoAnnotation> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoAnnotation)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn predicate(text: &str) -> Result<String, NoPredicateType> {
    predicate_type(text).map(str::to_owned).ok_or(NoPredicateType)
}

/// The text is no annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an annotation: expected NAME=TEXT")]
struct NoAnnotation;

/// The text is no type of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a type of attestations: expected a name of cosign's, like vuln or spdxjson, or a URI")]
struct NoPredicateType;

/// One annotation cannot be two texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {name} is asked for as \"{}\" and as \"{}\"", texts[0].escape_debug(), texts[1].escape_debug())]
pub(super) struct TwoTexts {
    name: String,
    texts: [String; 2],
}
