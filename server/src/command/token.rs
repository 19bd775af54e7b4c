//! `bullad token`: access tokens.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use bulla_keys_schema::time::UtcTime;
use clap::{Args, Subcommand};

use super::{data_folder, print};
use crate::auth::{Rights, Scope, TokenEntry, TokenFile, TokenName};
use crate::clock::{Clock as _, SystemClock};

/// Make, list and revoke access tokens. A running server notices within a second.
#[derive(Debug, Subcommand)]
pub(super) enum Options {
    /// Make a token and print it; it is shown this once only.
    Create(Create),
    /// List all tokens.
    List(List),
    /// Revoke a token.
    Revoke(Revoke),
}

/// Where the tokens are.
#[derive(Debug, Args)]
struct Place {
    /// The server's data folder.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// The server's configuration, which names the data folder.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Names the token in logs and in the feed of changes.
    name: TokenName,
    /// Repositories it is good for: `registry.example.com/team/app`, `.../team/*` for one level, `.../team/**` for
    /// all levels, `**` for everything. Can be given several times.
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// What it allows: `read`, `publish` (includes read), `admin` (includes both).
    #[arg(long, value_name = "RIGHTS")]
    can: Rights,
    /// How long it is valid: `90d`, `12h`, or `never`.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Lifetime,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Which token.
    name: TokenName,
    #[command(flatten)]
    place: Place,
}

/// Seconds until a token is refused; `None` for never.
#[derive(Clone, Copy, Debug)]
struct Lifetime(Option<i64>);

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(options) => options.run(),
            Self::List(options) => options.run(),
            Self::Revoke(options) => options.run(),
        }
    }
}

impl Place {
    fn file(self) -> anyhow::Result<TokenFile> {
        let data = data_folder(self.data, self.config.as_deref())?;
        if !data.is_dir() {
            anyhow::bail!(
                "no data folder at {}\nhint: start the server once, or check --data and --config",
                data.display()
            );
        }
        Ok(TokenFile::in_data(&data))
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let file = self.place.file()?;
        let now = SystemClock.now();
        let expires = self.expires.0.map(|seconds| now.plus_seconds(seconds));
        let name = self.name.clone();
        let token = file.create(self.name, self.can, self.scope, now, expires)?;
        let until = expires.map_or_else(|| "never expires".to_owned(), |time| format!("expires {time}"));
        let words = format!("token {} ({until}), shown this once only:", name.as_str());
        writeln!(io::stderr(), "{words}").context("cannot write to stderr")?;
        print(&token)
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let entries = self.place.file()?.read()?;
        print(&line("NAME", "RIGHTS", "CREATED", "EXPIRES", "SCOPES"))?;
        let now = SystemClock.now();
        entries.iter().try_for_each(|entry| print(&describe(entry, now)))
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        self.place.file()?.revoke(&self.name)?;
        writeln!(io::stderr(), "token {} is revoked", self.name.as_str()).context("cannot write to stderr")
    }
}

fn describe(entry: &TokenEntry, now: UtcTime) -> String {
    let expires = match entry.expires {
        Some(time) if time.is_over(now) => "expired".to_owned(),
        Some(time) => time.to_string(),
        None => "never".to_owned(),
    };
    let scopes: Vec<_> = entry.scopes.iter().map(ToString::to_string).collect();
    line(
        entry.name.as_str(),
        &entry.rights.to_string(),
        &entry.created.to_string(),
        &expires,
        &scopes.join(" "),
    )
}

fn line(name: &str, rights: &str, created: &str, expires: &str, scopes: &str) -> String {
    format!("{name:<20} {rights:<18} {created:<20} {expires:<20} {scopes}")
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime(None));
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| "use a time like `90d`, or `never`".to_owned())?;
    let seconds = i64::try_from(duration.as_secs()).map_err(|_| "too long".to_owned())?;
    if seconds == 0 {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(Lifetime(Some(seconds)))
}
