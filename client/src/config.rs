//! Settings: what the configuration file says, and what the command line and environment say
//! over it.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::policy::PolicyName;
use reqwest::Url;
use serde::{Deserialize, Deserializer};

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 * 1024;

/// The content of `config.toml`; unknown keys are errors, because a misspelt setting that is
/// silently ignored is a hole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigFile {
    /// URL of the trust server.
    pub server: Option<ServerUrl>,
    /// PEM file with the certificate authorities of the trust server.
    pub ca_cert: Option<PathBuf>,
    /// PEM file with the certificate authorities of registries.
    pub registry_ca_cert: Option<PathBuf>,
    /// Registries, and token servers of theirs, to speak plain HTTP with, as `host` or `host:port`.
    pub plain_http: Vec<String>,
    /// How answers are written.
    pub output: Option<OutputFormat>,
    /// Whether `sign` and `attest` write to the registry as well, for cosign and podman. They do
    /// unless it says `false`, for those who may not write there.
    pub registry_signature: Option<bool>,
    /// The published policy by which every image is judged here.
    pub policy: Option<MachinePolicy>,
}

/// The `[policy]` table: a policy that holds for all who use this home.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachinePolicy {
    /// The repository that it is published in.
    #[serde(deserialize_with = "repository")]
    pub repository: RepositoryName,
    /// Its name there.
    #[serde(default, deserialize_with = "parsed")]
    pub name: PolicyName,
    /// Whether `--policy FILE` takes its place, and `--key` goes without it. Otherwise both decide.
    #[serde(default)]
    pub local_override: bool,
}

impl ConfigFile {
    /// Reads `path`; a file that does not exist says nothing. Relative paths in it start at
    /// its folder.
    ///
    /// # Errors
    /// The file cannot be read, or holds anything but known settings.
    pub fn load(path: &Path) -> Result<Self, InvalidConfig> {
        let failed = |reason: String| InvalidConfig { path: path.to_owned(), reason };
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error.to_string())),
            Ok(found) if found.len() > FILE_BYTES => return Err(failed("larger than 64 KiB".to_owned())),
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut file: Self = toml::from_str(&text).map_err(|error| failed(one_line(&error)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for relative in [&mut file.ca_cert, &mut file.registry_ca_cert].into_iter().flatten() {
            *relative = folder.join(&relative);
        }
        Ok(file)
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// For people and line-based tools
    #[default]
    Text,
    /// One JSON document with a versioned schema
    Json,
    /// JUnit's XML, where the answer is a verdict of a policy
    #[serde(skip)]
    Junit,
    /// SARIF 2.1.0, where the answer is a verdict of a policy
    #[serde(skip)]
    Sarif,
}

impl OutputFormat {
    /// Whether only verdicts can be written so.
    #[must_use]
    pub const fn is_for_verdicts(self) -> bool {
        matches!(self, Self::Junit | Self::Sarif)
    }
}

/// URL of a trust server: HTTPS, or plain HTTP to this machine only.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Whether the server is this machine, by name or address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.host_str().is_some_and(is_loopback_host)
    }

    /// The URL of `path`, which starts with a slash, below this one.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: Url = text.parse().map_err(|_| InvalidServerUrl::NoUrl)?;
        let host = url.host_str().ok_or(InvalidServerUrl::NoUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback_host(host) => {}
            "http" => return Err(InvalidServerUrl::PlainHttp),
            _ => return Err(InvalidServerUrl::NoUrl),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidServerUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidServerUrl::NoUrl);
        }
        Ok(Self(url))
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input)
    }
}

/// Why a text is no URL of a trust server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServerUrl {
    /// A login in the URL ends in logs and process lists.
    #[error("the server's URL must not hold a user name or password: put a token in BULLA_TOKEN")]
    Credentials,
    /// No URL, or not one of a server.
    #[error("not a server URL: expected https://HOST[:PORT][/PATH]")]
    NoUrl,
    /// The token and every answer could be read and changed on the way.
    #[error("plain http:// is for this machine only (localhost, 127.0.0.1): use https://")]
    PlainHttp,
}

/// The configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("invalid configuration {}: {reason}", path.display())]
pub struct InvalidConfig {
    /// The file.
    pub path: PathBuf,
    /// Where and why.
    pub reason: String,
}

/// Whether `host`, without port, is this machine.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(input: D) -> Result<T, D::Error> {
    String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
}

/// A repository by its full name. The command line completes short ones; here one would be taken for another.
fn repository<'de, D: Deserializer<'de>>(input: D) -> Result<RepositoryName, D::Error> {
    let name: RepositoryName = parsed(input)?;
    let image: ImageRef = name.as_str().parse().map_err(serde::de::Error::custom)?;
    if *image.repository() == name {
        return Ok(name);
    }
    Err(serde::de::Error::custom(format_args!("{name} is not its full name: {}", image.repository())))
}

/// A TOML error as one line: where, then what.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_https_or_this_machine() {
        for good in [
            "https://trust.example.com",
            "https://trust.example.com:8443/bulla/",
            "http://localhost:4000",
            "http://127.0.0.2:4000",
            "http://[::1]:4000",
        ] {
            assert!(good.parse::<ServerUrl>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://trust.example.com", InvalidServerUrl::PlainHttp),
            ("http://localhost.example.com", InvalidServerUrl::PlainHttp),
            ("http://10.0.0.1", InvalidServerUrl::PlainHttp),
            ("https://user:secret@trust.example.com", InvalidServerUrl::Credentials),
            ("https://token@trust.example.com", InvalidServerUrl::Credentials),
            ("trust.example.com", InvalidServerUrl::NoUrl),
            ("ftp://trust.example.com", InvalidServerUrl::NoUrl),
            ("https://trust.example.com?x=1", InvalidServerUrl::NoUrl),
            ("", InvalidServerUrl::NoUrl),
        ] {
            assert_eq!(bad.parse::<ServerUrl>().unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn paths_are_put_below_the_server() {
        for server in ["https://a.b/bulla/", "https://a.b/bulla"] {
            let server: ServerUrl = server.parse().unwrap();
            assert_eq!(server.join("/tuf/x"), "https://a.b/bulla/tuf/x");
            assert_eq!(server.to_string(), "https://a.b/bulla");
        }
    }

    #[test]
    fn the_file_is_strict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(ConfigFile::load(&path).unwrap(), ConfigFile::default());
        fs::write(&path, "server = 'https://a.b'\nca-cert = 'ca.pem'\noutput = 'json'\n").unwrap();
        let config = ConfigFile::load(&path).unwrap();
        assert_eq!(config.ca_cert, Some(folder.path().join("ca.pem")));
        assert_eq!(config.output, Some(OutputFormat::Json));
        fs::write(&path, "[policy]\nrepository = 'r.example.com/policy'\n").unwrap();
        let policy = ConfigFile::load(&path).unwrap().policy.unwrap();
        assert_eq!((policy.name.as_str(), policy.local_override), ("default", false));
        for bad in [
            "sever = 'https://a.b'",
            "server = 'http://a.b'",
            "output = 'yaml'",
            "output = 'junit'",
            "server =",
            "[policy]",
            "[policy]\nrepository = 'r.example.com/../policy'",
            "[policy]\nrepository = 'busybox'",
            "[policy]\nrepository = 'R.example.com/policy'",
            "[policy]\nrepository = 'r.example.com/policy'\nname = '../x'",
            "[policy]\nrepository = 'r.example.com/policy'\nlocal-override = true",
            "[policy]\nrepository = 'r.example.com/policy'\nlocal_overide = true",
        ] {
            fs::write(&path, bad).unwrap();
            assert!(ConfigFile::load(&path).is_err(), "{bad}");
        }
    }
}
