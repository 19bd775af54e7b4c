//! `bulla policy test`

use std::path::{Path, PathBuf};

use bulla_keys_schema::policy::{Policy, Verdict};

use super::file::{self, Unreadable, Unusable, UnusablePolicy};
use crate::command::{Answered, Context, Exit};
use crate::flow::policy_test::{FILE_BYTES, InvalidTests, Material, Planned, Suite};
use crate::report::{PolicyTestReport, PolicyTestsReport};

/// Try a policy on images that are made up
///
/// Reads every .toml and .json file right in the folder, and the policy, reports and envelopes that
/// these name. Nothing is asked over the network, and signatures of envelopes are not looked at.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The folder with the tests
    folder: PathBuf,
    /// Try this policy in place of the one that each file names
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let given = self.policy.as_deref().map(file::load).transpose()?;
        let clock_now = context.settings.local(None).ports().clock.now();
        let mut cases = Vec::new();
        for path in self.files()? {
            let unusable = |reason: TestsReason| UnusableTests::at(&path, reason);
            let text = file::read(&path, FILE_BYTES).map_err(|error| unusable(error.into()))?;
            // What was cut off is not tried, and may be the test that fails.
            if text.len() > FILE_BYTES {
                return Err(unusable(TestsReason::TooLarge).into());
            }
            let suite = Suite::parse(&text).map_err(|error| unusable(error.into()))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let own =
                if given.is_none() { Some(own_policy(&suite, folder).map_err(&unusable)?) } else { None };
            let policy = own.as_ref().or(given.as_ref()).ok_or_else(|| unusable(TestsReason::NoPolicy))?;
            let material = Folder(folder);
            let plan = suite.plan(&material, clock_now).map_err(|error| unusable(error.into()))?;
            if plan.is_empty() {
                return Err(unusable(TestsReason::Nothing).into());
            }
            for planned in plan {
                let verdict = policy.evaluate(&planned.case, planned.now);
                cases.push(report(&path, &planned, &verdict));
            }
        }
        if cases.is_empty() {
            return Err(UnusableTests::at(&self.folder, TestsReason::Nothing).into());
        }
        let report = PolicyTestsReport::new(cases);
        let passed = report.passed();
        context.output.answer(&report)?;
        if passed { Ok(()) } else { Err(Answered(Exit::GateFailed).into()) }
    }

    /// The files of the folder, by name.
    fn files(&self) -> Result<Vec<PathBuf>, UnusableTests> {
        let unusable = |error: std::io::Error| UnusableTests::at(&self.folder, Unreadable::from(error));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            let is_test = path.extension().is_some_and(|end| end == "toml" || end == "json");
            if is_test && !path.is_dir() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

fn own_policy(suite: &Suite, folder: &Path) -> Result<Policy, TestsReason> {
    let named = suite.policy().ok_or(TestsReason::NoPolicy)?;
    file::load(&folder.join(named)).map_err(|error| TestsReason::Policy(Box::new(error)))
}

/// Files that a test names, next to it.
struct Folder<'a>(&'a Path);

impl Material for Folder<'_> {
    fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, String> {
        let read = file::read(&self.0.join(name), limit).map(String::into_bytes);
        read.map_err(|error| error.to_string())
    }
}

fn report(path: &Path, planned: &Planned, verdict: &Verdict) -> PolicyTestReport {
    let failed = verdict.first_failure();
    PolicyTestReport {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        name: planned.name.clone(),
        expected: planned.expected.to_string(),
        actual: planned.expected.like(verdict).to_string(),
        rule: verdict.rule.clone(),
        holds: planned.expected.is(verdict),
        detail: failed.map(|check| check.detail.clone()).filter(|detail| !detail.is_empty()),
    }
}

/// Tests that could not be tried.
pub(in crate::command) type UnusableTests = Unusable<TestsReason>;

/// Why tests could not be tried.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum TestsReason {
    /// A file or the folder cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// No tests.
    #[error(transparent)]
    Invalid(#[from] InvalidTests),
    /// Nothing to try.
    #[error("it names no policy")]
    NoPolicy,
    /// Nothing that tries it.
    #[error("there is no test in it")]
    Nothing,
    /// The policy decides nothing.
    #[error(transparent)]
    Policy(Box<UnusablePolicy>),
    /// Longer than tests are.
    #[error("it has more than {FILE_BYTES} bytes")]
    TooLarge,
}
