//! A plain TUF client on Bulla's verification engine, with the command line of the public TUF
//! conformance suite: `init`, `refresh` and `download`.
//!
//! It holds no rule of its own. The engine says which document it wants next and what may be
//! stored; this file fetches and stores. The exit code is 0 or 1, nothing else.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{MetaInfo, Root, TargetInfo};
use bulla_keys_schema::names::TargetPath;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{
    ChainError, RawMetadata, RootChain, Step, TrustedRoot, TrustedSnapshot, TrustedTargets, Walk,
};
use bytes::Bytes;
use clap::Parser;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986: a role's name is one part of a path.
const IN_A_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, for a target's path, which has parts of its own.
const IN_A_PATH: &AsciiSet = &IN_A_NAME.remove(b'/');

#[derive(Parser)]
struct Arguments {
    /// Where trusted metadata is kept.
    #[arg(long)]
    metadata_dir: PathBuf,
    #[arg(long, default_value = "")]
    metadata_url: String,
    #[arg(long)]
    target_name: Vec<String>,
    #[arg(long, default_value = ".")]
    target_dir: PathBuf,
    #[arg(long, default_value = "")]
    target_base_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Trust a root document that came another way.
    Init { trusted_root: PathBuf },
    /// Bring the trusted metadata up to date.
    Refresh,
    /// Refresh, then download and verify targets.
    Download,
}

fn main() -> ExitCode {
    let outcome = Arguments::try_parse().map_err(anyhow::Error::from).and_then(run);
    if let Err(refusal) = outcome {
        eprintln!("{refusal:#}");
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { metadata_dir, metadata_url, target_name, target_dir, target_base_url, command } =
        arguments;
    let store = Store { folder: metadata_dir };
    if let Command::Init { trusted_root } = command {
        return store.put("root", &fs::read(trusted_root)?);
    }
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let client = Client { store, metadata_url, http };
    let trusted = client.refresh().await?;
    if matches!(command, Command::Download) {
        for name in &target_name {
            let name: TargetPath = name.parse().with_context(|| format!("{name:?} is no target path"))?;
            client.download(&trusted, &name, &target_base_url, &target_dir).await?;
        }
    }
    Ok(())
}

struct Client {
    store: Store,
    metadata_url: String,
    http: reqwest::Client,
}

impl Client {
    /// The client workflow of TUF 1.0, section 5: one step after the other, each storing what it accepted.
    async fn refresh(&self) -> Result<TrustedTargets> {
        let root = self.refresh_root().await?;
        let consistent = root.root().payload().consistent_snapshot;
        let floor = root.floor(self.store.get("timestamp")?, self.store.get("snapshot")?);
        let bytes = self.fetch_listed("timestamp.json", limits::TIMESTAMP_BYTES).await?;
        let timestamp = root.timestamp(floor, bytes)?;
        if timestamp.is_new() {
            self.store.put("timestamp", timestamp.timestamp().bytes())?;
        }

        let wanted = timestamp.wanted().clone();
        let snapshot = match self.stored("snapshot", |bytes| timestamp.clone().snapshot(bytes))? {
            Some(snapshot) => snapshot,
            None => timestamp
                .snapshot(self.fetch_role("snapshot", &wanted, limits::SNAPSHOT_BYTES, consistent).await?)?,
        };
        self.store.put("snapshot", snapshot.snapshot().bytes())?;
        self.refresh_targets(snapshot, consistent).await
    }

    /// The trusted root, and every root after it for as long as there is one.
    async fn refresh_root(&self) -> Result<TrustedRoot> {
        let stored = self.store.get("root")?.context("no trusted root; run init first")?;
        let mut chain = RootChain::resume(RawMetadata::<Root>::new(Dialect::Tuf1, stored).verify_first()?);
        while let Some(version) = chain.wanted() {
            let Some(bytes) = self.fetch(&format!("{version}.root.json"), limits::ROOT_BYTES).await? else {
                break;
            };
            chain.step(bytes)?;
            // Before the new root is stored: the next run would not see a rotation (C10).
            if chain.online_keys_rotated() {
                self.store.remove("timestamp")?;
                self.store.remove("snapshot")?;
            }
            self.store.put("root", chain.latest().bytes())?;
        }
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let now = UtcTime::from_unix_seconds(i64::try_from(seconds)?)?;
        Ok(chain.finish(now, self.store.last_accepted()?)?)
    }

    async fn refresh_targets(&self, snapshot: TrustedSnapshot, consistent: bool) -> Result<TrustedTargets> {
        if let Some(trusted) = self.stored("targets", |bytes| snapshot.clone().targets(bytes))? {
            self.store.put_last_accepted(trusted.now())?;
            return Ok(trusted);
        }
        let wanted = snapshot.wanted()?.clone();
        let bytes = self.fetch_role("targets", &wanted, limits::TARGETS_BYTES, consistent).await?;
        let trusted = snapshot.targets(bytes)?;
        self.store.put("targets", trusted.targets().bytes())?;
        self.store.put_last_accepted(trusted.now())?;
        Ok(trusted)
    }

    /// Search through the delegations, then fetch the target unless a verified copy is there.
    async fn download(
        &self,
        trusted: &TrustedTargets,
        name: &TargetPath,
        base: &str,
        folder: &Path,
    ) -> Result<()> {
        let target = self.find(trusted, name).await?;
        let file = folder.join(utf8_percent_encode(name.as_str(), IN_A_NAME).to_string());
        if fs::read(&file).is_ok_and(|bytes| is_listed(&bytes, &target)) {
            return Ok(());
        }
        let path = if trusted.root().payload().consistent_snapshot {
            let sha256 = target.hashes.as_sha256().map(|digest| digest.to_string());
            let sha512 = target.hashes.as_sha512().map(|digest| digest.to_string());
            name.with_hash_prefix(&sha256.or(sha512).context("no digest that we know")?)
        } else {
            name.as_str().to_owned()
        };
        let url = format!("{}/{}", base.trim_end_matches('/'), utf8_percent_encode(&path, IN_A_PATH));
        let limit = usize::try_from(target.length)?;
        let bytes = self.get(&url, limit).await?.with_context(|| format!("{url} is missing"))?;
        if !is_listed(&bytes, &target) {
            bail!("{name} has other bytes than listed");
        }
        write_whole(&file, &bytes)
    }

    async fn find(&self, trusted: &TrustedTargets, name: &TargetPath) -> Result<TargetInfo> {
        let consistent = trusted.root().payload().consistent_snapshot;
        let mut walk = Walk::new(trusted, name.clone());
        loop {
            let need = match walk.step()? {
                Step::Found(found) => return Ok(found.info),
                Step::NotFound => bail!("no role lists {name}"),
                Step::Fetch(need) => need,
            };
            let stored = self.store.get(need.role.as_str())?;
            if stored.is_some_and(|bytes| walk.supply(bytes).is_ok()) {
                continue;
            }
            let bytes =
                self.fetch_role(need.role.as_str(), &need.info, limits::TARGETS_BYTES, consistent).await?;
            let role = walk.supply(bytes)?;
            self.store.put(need.role.as_str(), role.bytes())?;
        }
    }

    /// What an earlier run stored, if it is still what is wanted.
    fn stored<T>(
        &self,
        role: &str,
        accept: impl FnOnce(Bytes) -> Result<T, ChainError>,
    ) -> Result<Option<T>> {
        Ok(self.store.get(role)?.and_then(|bytes| accept(bytes).ok()))
    }

    async fn fetch_role(&self, role: &str, info: &MetaInfo, limit: usize, consistent: bool) -> Result<Bytes> {
        let name = utf8_percent_encode(role, IN_A_NAME);
        let file = match info.version.filter(|_| consistent) {
            Some(version) => format!("{version}.{name}.json"),
            None => format!("{name}.json"),
        };
        self.fetch_listed(&file, info.fetch_limit(limit)).await
    }

    /// A document that has to exist.
    async fn fetch_listed(&self, file: &str, limit: usize) -> Result<Bytes> {
        self.fetch(file, limit).await?.with_context(|| format!("{file} is missing"))
    }

    async fn fetch(&self, file: &str, limit: usize) -> Result<Option<Bytes>> {
        self.get(&format!("{}/{file}", self.metadata_url.trim_end_matches('/')), limit).await
    }

    /// At most `limit` bytes; `None` if the server has no such file.
    async fn get(&self, url: &str, limit: usize) -> Result<Option<Bytes>> {
        let mut answer = self.http.get(url).send().await?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.error_for_status_ref()?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > limit {
                bail!("{url} has more than {limit} bytes");
            }
        }
        Ok(Some(body.into()))
    }
}

/// Trusted metadata on disk: one file per role, the bytes as received.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn get(&self, role: &str) -> Result<Option<Bytes>> {
        read_if_there(&self.file(role))
    }

    fn put(&self, role: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.file(role), bytes)
    }

    fn remove(&self, role: &str) -> Result<()> {
        match fs::remove_file(self.file(role)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// When metadata was last accepted, so that a clock that went back is noticed.
    fn last_accepted(&self) -> Result<Option<UtcTime>> {
        let Some(bytes) = read_if_there(&self.folder.join("last-accepted"))? else { return Ok(None) };
        Ok(Some(std::str::from_utf8(&bytes)?.parse()?))
    }

    fn put_last_accepted(&self, now: UtcTime) -> Result<()> {
        write_whole(&self.folder.join("last-accepted"), now.to_string().as_bytes())
    }

    fn file(&self, role: &str) -> PathBuf {
        self.folder.join(format!("{}.json", utf8_percent_encode(role, IN_A_NAME)))
    }
}

fn is_listed(bytes: &[u8], target: &TargetInfo) -> bool {
    u64::try_from(bytes.len()) == Ok(target.length) && target.hashes.match_bytes(bytes)
}

fn read_if_there(path: &Path) -> Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A reader sees the old file or the new one, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
