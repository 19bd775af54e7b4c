//! `bulla sign`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, SignerName};

use super::asking::{self, Asking};
use super::{Context, PlatformAlone, policy, say_dry_run, warn_expired};
use crate::flow::cosign::only;
use crate::flow::cosign::write::{Kind, Written};
use crate::flow::policy_source::PolicySource;
use crate::flow::sign::{Request, Required, SignError, sign};
use crate::report::SignReport;

/// Sign what a tag means
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// Sign as this signer, where keys of several are here
    #[arg(long = "as", value_name = "SIGNER")]
    signer: Option<SignerName>,
    /// Size of the manifest in bytes; with it and a digest no registry is asked
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// List the images of an index as well
    #[arg(long)]
    platforms: bool,
    /// Sign only if this policy would let the image pass at pull, with this signature
    #[arg(long, value_name = "FILE", conflicts_with = "only_registry")]
    require_policy: Option<PathBuf>,
    /// And only if the policy that is published there would; its repository has to be pinned here
    #[arg(
        long,
        value_name = "REPOSITORY[#NAME]",
        value_parser = policy::source,
        conflicts_with = "only_registry"
    )]
    require_policy_from: Option<PolicySource>,
    /// The platform that will be used, like linux/arm64, for the policy
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    in_registry: InRegistry,
    #[command(flatten)]
    asking: Asking,
}

/// Signatures for cosign, podman and skopeo, which look for them in the registry.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Signatures in the registry")]
struct InRegistry {
    /// Write no signatures for cosign and podman to the registry
    #[arg(long, conflicts_with_all = ["only_registry", "annotation"])]
    no_registry_signature: bool,
    /// Write nothing but these signatures: no trust server, and nothing that binds a tag or a time
    #[arg(long, requires = "key", conflicts_with_all = ["signer", "size", "platforms", "request"])]
    only_registry: bool,
    /// The key to sign with, by its name
    #[arg(long, value_name = "NAME", requires = "only_registry")]
    key: Vec<KeyName>,
    /// Sign this along with the image
    #[arg(long, short, value_name = "KEY=VALUE")]
    annotation: Vec<Annotation>,
}

impl InRegistry {
    fn is_wanted(&self, context: &Context) -> bool {
        !self.no_registry_signature && context.settings.signs_in_registry()
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        self.annotation.iter().map(|Annotation(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.in_registry.only_registry {
            return self.run_in_registry(context).await;
        }
        let required = self.required(context).await?;
        // Never the server that a policy names: who writes a policy does not say where is published.
        let world = context.settings.world(self.image.repository())?;
        let request = Request {
            image: self.image,
            size: self.size,
            signer: self.signer,
            platforms: self.platforms,
            how: self.asking.how(),
            in_registry: self.in_registry.is_wanted(context).then(|| self.in_registry.annotations()),
            policy: required,
        };
        let signed = match sign(world.ports(), &request).await {
            Err(SignError::Policy { verdict, judged_at }) => {
                let report = policy::refused(*verdict, &request.image, judged_at);
                context.output.say(&report.checks());
                return policy::end(context, &report);
            }
            signed => signed?,
        };
        if let Some(error) = &signed.no_facts {
            context
                .output
                .say(&format!("a policy cannot tell what the image is without the registry: {error}"));
        }
        warn_expired(context.output, &signed.published);
        say_dry_run(context.output, self.asking.is_dry_run());
        if signed.published.done {
            context.output.say(&format!("signed {}:{}", request.image.repository(), signed.tag));
        }
        say_written(context, &signed.in_registry);
        context.output.answer(&SignReport::new(request.image.repository(), &signed))?;
        asking::end(context, request.image.repository(), &signed.published)
    }

    /// The policies that have to let the image pass.
    async fn required(&self, context: &Context) -> anyhow::Result<Option<Required>> {
        let mut policies = Vec::new();
        if let Some(source) = &self.require_policy_from {
            policies.push(policy::published(context, source).await?.published.policy);
        }
        policies.extend(self.require_policy.as_deref().map(policy::load).transpose()?);
        match (policies.is_empty(), &self.platform) {
            (true, Some(_)) => Err(PlatformAlone.into()),
            (true, None) => Ok(None),
            (false, platform) => Ok(Some(Required { policies, platform: platform.clone() })),
        }
    }

    async fn run_in_registry(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world_offline(self.image.repository())?;
        let request = only::Request {
            annotations: self.in_registry.annotations(),
            image: self.image,
            keys: self.in_registry.key,
            dry_run: self.asking.is_dry_run(),
        };
        let signed = only::sign(world.ports(), &request).await?;
        say_dry_run(context.output, request.dry_run);
        say_written(context, &signed.written);
        context.output.answer(&SignReport::in_registry(&request, &signed))?;
        Ok(())
    }
}

/// What happened to the registry.
pub(super) fn say_written(context: &Context, written: &[Written]) {
    for one in written {
        let (kind, subject) = (one.kind.as_str(), one.subject.to_oci());
        let article = if one.kind == Kind::Attestation { "an" } else { "a" };
        match &one.place {
            None => context.output.say(&format!("would write {article} {kind} of {subject} to the registry")),
            Some(place) if one.is_new => {
                context.output.say(&format!("wrote {article} {kind} of {subject}: {place}"));
            }
            Some(place) => context.output.say(&format!("the {kind} of {subject} was there: {place}")),
        }
    }
}

/// `key=value`, signed along with an image.
#[derive(Clone, Debug)]
struct Annotation(String, String);

impl FromStr for Annotation {
    type Err = InvalidAnnotation;

    fn from_str(text: &str) -> Result<Self, InvalidAnnotation> {
        let (name, value) =
            text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(InvalidAnnotation)?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

/// The text is no annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an annotation: expected KEY=VALUE")]
struct InvalidAnnotation;
