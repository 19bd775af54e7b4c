//! The command line: one file per verb. A command parses, calls a flow and hands the result to
//! the output; errors end in one place, `failure`.

mod argument;
mod asking;
mod attest;
mod attestation;
mod backup;
mod completions;
mod cosign;
mod failure;
mod gate;
mod init;
mod inspect;
mod key;
mod man;
mod moment;
mod policy;
mod renew;
mod request;
mod resolve;
mod revoke;
mod rotate;
mod sign;
mod signer;
mod status;
mod trust;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use bulla_keys_schema::names::{ImageRef, RepositoryName, Tag};
use clap::{CommandFactory as _, Parser, Subcommand};

pub use failure::{Exit, Failure, explain};

use crate::config::OutputFormat;
use crate::flow::publish::Published;
use crate::flow::verify::{Refusal, VerifyError};
use crate::output::Output;
use crate::pins::{Mode, Scope};
use crate::report::VerdictReport;
use crate::wiring::{GlobalArgs, Settings};

/// Makes keys, signs and revokes image tags, and verifies before a pull
#[derive(Debug, Parser)]
#[command(name = "bulla", bin_name = "bulla", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(subcommand)]
    Key(key::Verb),
    Init(init::Args),
    #[command(subcommand)]
    Signer(signer::Verb),
    Sign(sign::Args),
    Verify(verify::Args),
    Resolve(resolve::Args),
    Inspect(inspect::Args),
    Gate(gate::Args),
    Attest(attest::Args),
    #[command(subcommand)]
    Attestation(attestation::Verb),
    #[command(subcommand)]
    Policy(policy::Verb),
    #[command(subcommand)]
    Cosign(cosign::Verb),
    Revoke(revoke::Args),
    Rotate(rotate::Args),
    Renew(renew::Args),
    Status(status::Args),
    #[command(subcommand)]
    Request(request::Verb),
    #[command(subcommand)]
    Trust(trust::Verb),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    /// Whether the answer is the verdict of a policy.
    const fn gives_verdict(&self, settings: &Settings) -> bool {
        match self {
            Self::Verify(args) => args.gives_verdict(settings),
            Self::Resolve(args) => args.by_policy.is_asked(settings),
            Self::Policy(verb) => verb.gives_verdict(),
            _ => false,
        }
    }
}

/// What every command gets.
struct Context {
    settings: Settings,
    output: Output,
}

/// Runs `bulla` with these arguments, the program's name first.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Err(refused) = argument::require_no_key(&args) {
        return fail(&Output::new(OutputFormat::default(), false), &refused.into()).into();
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(refused) => {
            // Help goes to stdout; a reader that left is no error.
            let _ = refused.print();
            return if refused.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::new(cli.global.output.unwrap_or_default(), cli.global.quiet);
    match dispatch(cli, &mut output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&output, &error).into(),
    }
}

/// The command line as clap knows it, for completions and manual pages.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

async fn dispatch(cli: Cli, output: &mut Output) -> anyhow::Result<()> {
    match cli.verb {
        Verb::Completions(args) => return args.run(*output),
        Verb::Man(args) => return args.run(*output),
        _ => {}
    }
    let quiet = cli.global.quiet;
    let settings = Settings::load(cli.global)?;
    *output = Output::new(settings.format(), quiet);
    if settings.format().is_for_verdicts() && !cli.verb.gives_verdict(&settings) {
        *output = Output::new(OutputFormat::Text, quiet);
        return Err(NoVerdict.into());
    }
    let context = Context { settings, output: *output };
    match cli.verb {
        Verb::Key(verb) => verb.run(&context).await,
        Verb::Init(args) => args.run(&context).await,
        Verb::Signer(verb) => verb.run(&context).await,
        Verb::Sign(args) => args.run(&context).await,
        Verb::Verify(args) => args.run(&context).await,
        Verb::Resolve(args) => args.run(&context).await,
        Verb::Inspect(args) => args.run(&context).await,
        Verb::Gate(args) => args.run(&context),
        Verb::Attest(args) => args.run(&context).await,
        Verb::Attestation(verb) => verb.run(&context).await,
        Verb::Policy(verb) => verb.run(&context).await,
        Verb::Cosign(verb) => verb.run(&context).await,
        Verb::Revoke(args) => args.run(&context).await,
        Verb::Rotate(args) => args.run(&context).await,
        Verb::Renew(args) => args.run(&context).await,
        Verb::Status(args) => args.run(&context).await,
        Verb::Request(verb) => verb.run(&context).await,
        Verb::Trust(verb) => verb.run(&context),
        Verb::Completions(args) => args.run(*output),
        Verb::Man(args) => args.run(*output),
    }
}

/// Says what went wrong, to people on stderr and to programs on stdout.
fn fail(output: &Output, error: &anyhow::Error) -> Exit {
    if let Some(Answered(exit)) = error.downcast_ref() {
        return *exit;
    }
    let failure = explain(error);
    let exit = failure.exit;
    if output.is_json() {
        let refusal: Option<&Refusal> = match error.downcast_ref::<VerifyError>() {
            Some(VerifyError::Refused(refusal)) => Some(refusal),
            _ => None,
        };
        // stderr is all that is left if stdout cannot be written.
        let _ = match refusal {
            Some(refusal) => output.json(&VerdictReport::refused(refusal, exit as u8)),
            None => output.json(&failure.report()),
        };
    } else if !output.is_text() {
        // Likewise.
        let _ = output.answer(&failure.report());
    }
    output.fail(&failure.report());
    exit
}

/// The platform of an image is asked by policies, and where a key is to have signed that image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a platform is for a policy or a key to look at, and none is named")]
struct PlatformAlone;

/// Only a verdict of a policy can be written in that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("junit and sarif are forms of a policy's verdict")]
struct NoVerdict;

/// The answer is printed, and says what the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer says it")]
struct Answered(Exit);

/// A repository as images are typed: `busybox` is `docker.io/library/busybox` here as well.
fn repository(text: &str) -> Result<RepositoryName, NoRepository> {
    let (repository, tag) = repository_and_tag(text)?;
    if tag.is_some() { Err(NoRepository) } else { Ok(repository) }
}

/// A repository, or one tag of it: no tag means none.
fn repository_and_tag(text: &str) -> Result<(RepositoryName, Option<Tag>), NoRepository> {
    let image: ImageRef = text.parse().map_err(|_| NoRepository)?;
    if image.digest().is_some() {
        return Err(NoRepository);
    }
    let typed_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    Ok((image.repository().clone(), image.tag().filter(|_| typed_tag).cloned()))
}

/// A repository or a scope of the pins.
fn scope(text: &str) -> Result<Scope, NoRepository> {
    match text.strip_suffix("/**") {
        Some(_) => text.parse().map_err(|_| NoRepository),
        None => repository(text).map(Scope::Repository),
    }
}

/// The text names no tag of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tag: expected REPOSITORY:TAG, without a digest")]
struct NoTag;

/// The text names neither a repository nor a tag of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a repository: expected REPOSITORY or REPOSITORY:TAG, without a digest")]
struct NoRepository;

/// Says what a change could not repair.
fn warn_expired(output: Output, published: &Published) {
    for role in &published.still_expired {
        output.warn(&format!(
            "{role} is expired, and stays so: its keys are not here; whoever has them signs anything again"
        ));
    }
}

/// Says what the old clients of a repository cannot do with a threshold.
fn warn_threshold(output: Output, mode: Mode, threshold: u64) {
    if mode == Mode::Legacy && threshold > 1 {
        output.warn(&format!(
            "docker and notary check a threshold of {threshold}, but sign with one key at a time: only bulla can sign for it"
        ));
    }
}

/// Notes that a dry run was one.
fn say_dry_run(output: Output, dry_run: bool) {
    if dry_run {
        output.say("dry run: nothing was changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn repositories_are_read_as_images_are() {
        for (typed, read) in [
            ("busybox", "docker.io/library/busybox"),
            ("index.docker.io/team/app", "docker.io/team/app"),
            ("localhost:5000/app", "localhost:5000/app"),
        ] {
            assert_eq!(repository(typed).unwrap().as_str(), read);
            assert_eq!(scope(typed).unwrap().to_string(), read);
            assert_eq!(repository_and_tag(&format!("{typed}:1")).unwrap().0.as_str(), read);
            assert_eq!(repository_and_tag(typed).unwrap().1, None);
            assert!(repository(&format!("{typed}:1")).is_err());
        }
        assert_eq!(scope("reg.example.com/**").unwrap().to_string(), "reg.example.com/**");
        assert!(scope("**").is_err() && repository(&format!("a.b/c@sha256:{}", "0".repeat(64))).is_err());
    }

    #[test]
    fn secrets_have_no_flag() {
        fn flags(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)));
            command.get_subcommands().for_each(|sub| flags(sub, found));
        }
        let mut found = Vec::new();
        flags(&definition(), &mut found);
        assert!(found.contains(&"passphrase-file".to_owned()));
        for secret in ["passphrase", "password", "token"] {
            assert!(!found.iter().any(|flag| flag == secret), "{secret}");
        }
    }
}
