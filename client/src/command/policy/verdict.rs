//! A policy beside an image on the command line, and the verdict as the answer.

use std::path::{Path, PathBuf};

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::policy::{Policy, Verdict};
use bulla_keys_schema::time::UtcTime;

use super::file;
use crate::command::failure::policy as failure;
use crate::command::{Answered, Context};
use crate::flow::verdict::{Answer, Question, judge};
use crate::report::{ErrorReport, PolicyVerdictReport, Surroundings};
use crate::wiring::World;

/// Options of commands that may ask a policy.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct ByPolicy {
    /// Ask this policy, too; its [trust] entries say whom to trust
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl ByPolicy {
    /// Answers with the verdict, if a policy was named. `compares` asks the registry what it serves.
    pub(in crate::command) async fn run(
        &self,
        context: &Context,
        image: &ImageRef,
        platform: Option<&Platform>,
        compares: bool,
    ) -> anyhow::Result<Option<()>> {
        let Some(path) = &self.policy else { return Ok(None) };
        let report = ask(context, path, image, platform, compares).await?;
        if context.output.is_text() {
            context.output.say(&report.checks());
        }
        end(context, &report).map(Some)
    }

    /// Whether a policy was named.
    pub(in crate::command) const fn is_asked(&self) -> bool {
        self.policy.is_some()
    }
}

/// Asks a policy about an image.
pub(super) async fn ask(
    context: &Context,
    path: &Path,
    image: &ImageRef,
    platform: Option<&Platform>,
    compares: bool,
) -> anyhow::Result<PolicyVerdictReport> {
    let policy = file::load(path)?;
    let world = world(context, image.repository(), Some(&policy))?;
    let busy = context.output.busy("judging");
    let answer = judge(world.ports(), Question { policy: &policy, image, platform, compares }).await;
    drop(busy);
    let answer = answer?;
    if let Some(reason) = &answer.offline {
        context.output.warn(&format!("{reason}; using what was accepted before"));
    }
    answer.notes.iter().for_each(|note| context.output.warn(note));
    Ok(surround(answer, image))
}

/// The world, with the server that the policy names as the default.
pub(in crate::command) fn world(
    context: &Context,
    repository: &RepositoryName,
    policy: Option<&Policy>,
) -> anyhow::Result<World> {
    let trust = policy.and_then(|policy| policy.trust_of(repository));
    let server = trust.and_then(|trust| trust.server.as_ref()).map(|server| server.parse()).transpose()?;
    context.settings.world_by_policy(repository, server)
}

/// The answer of a command that a policy stopped.
pub(in crate::command) fn refused(
    verdict: Verdict,
    image: &ImageRef,
    judged_at: UtcTime,
) -> PolicyVerdictReport {
    surround(Answer { verdict, reference: None, judged_at, offline: None, notes: vec![] }, image)
}

/// The answer, with the exit code and the hint that go with it.
fn surround(answer: Answer, image: &ImageRef) -> PolicyVerdictReport {
    let Answer { verdict, reference, judged_at, offline, .. } = answer;
    let exit_code = failure::exit(&verdict).map_or(0, |exit| exit as u8);
    let (hint, judged_at) = (failure::hint(&verdict, &image.to_string()), judged_at.to_string());
    let image = image.to_string();
    PolicyVerdictReport::new(verdict, Surroundings { image, reference, judged_at, offline, hint, exit_code })
}

/// Prints the verdict, and ends as it says.
pub(in crate::command) fn end(context: &Context, report: &PolicyVerdictReport) -> anyhow::Result<()> {
    context.output.answer(report)?;
    match failure::exit(report.verdict()) {
        None => Ok(()),
        Some(exit) => {
            if context.output.is_text() {
                let check = report.verdict().first_failure().map(|check| format!(": {}", check.id));
                let policy = &report.verdict().policy.name;
                context.output.fail(&ErrorReport {
                    message: format!("the policy {policy} refuses the image{}", check.unwrap_or_default()),
                    hint: report.hint().map(str::to_owned),
                    exit_code: exit as u8,
                });
            }
            Err(Answered(exit).into())
        }
    }
}
