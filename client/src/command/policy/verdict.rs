//! Policies beside an image on the command line, and the verdict as the answer.

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::policy::{Policy, Verdict};
use bulla_keys_schema::time::UtcTime;

use super::asked::{Asked, Named};
use crate::command::failure::{policy as failure, published_policy};
use crate::command::{Answered, Context};
use crate::flow::policy_source::SourceError;
use crate::flow::verdict::{Answer, Question, Together, judge, together};
use crate::report::{ErrorReport, PolicyVerdictReport, Surroundings};
use crate::wiring::{Settings, World};

/// How often an image is judged anew whose tag moves while several policies judge it.
const ROUNDS: u32 = 3;

/// Options of commands that may ask a policy.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct ByPolicy {
    #[command(flatten)]
    named: Named,
}

impl ByPolicy {
    /// Answers with the verdict, if a policy was named or holds on this machine. `compares` asks the
    /// registry what it serves.
    pub(in crate::command) async fn run(
        &self,
        context: &Context,
        image: &ImageRef,
        platform: Option<&Platform>,
        compares: bool,
    ) -> anyhow::Result<Option<()>> {
        if !self.is_asked(&context.settings) {
            return Ok(None);
        }
        let report = ask(context, &self.named, image, platform, compares).await?;
        if context.output.is_text() {
            context.output.say(&report.checks());
        }
        end(context, &report).map(Some)
    }

    /// Whether a policy was named, or holds on this machine.
    pub(in crate::command) const fn is_asked(&self, settings: &Settings) -> bool {
        self.named.is_asked(settings)
    }
}

/// Asks all policies that are named about an image.
pub(super) async fn ask(
    context: &Context,
    named: &Named,
    image: &ImageRef,
    platform: Option<&Platform>,
    compares: bool,
) -> anyhow::Result<PolicyVerdictReport> {
    let asked = match named.gather(context).await {
        Ok(asked) => asked,
        Err(error) => return without_policy(context, &error, image).ok_or(error),
    };
    let busy = context.output.busy("judging");
    let answer = judge_all(context, &asked, image, platform, compares).await;
    drop(busy);
    let Together { answer, also } = answer?;
    if let Some(reason) = &answer.offline {
        context.output.warn(&format!("{reason}; using what was accepted before"));
    }
    answer.notes.iter().for_each(|note| context.output.warn(note));
    Ok(surround(answer, image).with(also))
}

/// One after the other, up to the first refusal.
async fn judge_all(
    context: &Context,
    asked: &[Asked],
    image: &ImageRef,
    platform: Option<&Platform>,
    compares: bool,
) -> anyhow::Result<Together> {
    let mut moved = None;
    for _ in 0..ROUNDS {
        let mut answers = Vec::new();
        for Asked { policy, valid_until } in asked {
            let world = world(context, image.repository(), Some(policy))?;
            let mut answer = judge(world.ports(), Question { policy, image, platform, compares }).await?;
            if let Some(until) = valid_until {
                answer.verdict.valid_until = answer.verdict.valid_until.map(|own| own.min(*until));
            }
            let is_allowed = answer.verdict.is_allowed();
            answers.push(answer);
            if !is_allowed {
                break;
            }
        }
        match together(answers) {
            Ok(Some(joined)) => return Ok(joined),
            Ok(None) => return Err(super::asked::NoPolicy.into()),
            Err(error) => moved = Some(error),
        }
    }
    let policy = asked.first().map(|asked| asked.policy.name().to_owned()).unwrap_or_default();
    let verdict = moved.ok_or(super::asked::NoPolicy)?.verdict(&policy);
    let judged_at = context.settings.local(None).ports().clock.now();
    let answer = Answer { verdict, reference: None, judged_at, offline: None, notes: vec![] };
    Ok(Together { answer, also: vec![] })
}

/// The refusal of an image whose published policy cannot be used.
fn without_policy(context: &Context, error: &anyhow::Error, image: &ImageRef) -> Option<PolicyVerdictReport> {
    let error = error.downcast_ref::<SourceError>()?;
    let verdict = error.verdict()?;
    let judged_at = context.settings.local(None).ports().clock.now();
    let report = refused(verdict, image, judged_at);
    Some(report.advising(published_policy::source(error).1))
}

/// The world, with the server that the policy names as the default.
fn world(context: &Context, repository: &RepositoryName, policy: Option<&Policy>) -> anyhow::Result<World> {
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
