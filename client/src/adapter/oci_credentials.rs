//! Logins for registries, from where Docker and podman keep them.
//!
//! `$DOCKER_AUTH_CONFIG` (what CI systems set), podman's `auth.json`, Docker's `config.json`
//! with its credential helpers. Reading and helpers are the crate `docker_credential`'s;
//! podman's keys for parts of a registry are looked up here.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use bulla_keys_schema::names::RepositoryName;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;
use serde_json::Value;

use crate::port::RegistryError;

/// The key under which every tool keeps Docker Hub's login.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What helpers print for "I have none"; their exit code does not tell.
const NONE_STORED: &str = "credentials not found in native keychain";

/// Where logins may be.
#[derive(Clone, Debug, Default)]
pub struct CredentialSources {
    inline: Option<String>,
    files: Vec<PathBuf>,
}

impl CredentialSources {
    /// The places that the environment, read through `lookup`, points to.
    #[must_use]
    pub fn from_environment(lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let path = |variable: &str| lookup(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let podman = match path("REGISTRY_AUTH_FILE") {
            Some(file) => vec![file],
            None => [
                path("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
                path("XDG_CONFIG_HOME")
                    .or_else(|| home.as_ref().map(|home| home.join(".config")))
                    .map(|folder| folder.join("containers/auth.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
        let inline = lookup("DOCKER_AUTH_CONFIG").and_then(|text| text.into_string().ok());
        Self {
            inline: inline.filter(|text| !text.is_empty()),
            files: podman.into_iter().chain(docker.map(|folder| folder.join("config.json"))).collect(),
        }
    }

    /// The login for `repository`; anonymous when none is stored.
    ///
    /// # Errors
    /// A place that exists cannot be read, or a helper fails: going on without the login
    /// would end in a misleading "not found".
    pub fn find(&self, repository: &RepositoryName) -> Result<RegistryAuth, RegistryError> {
        let host = repository.host().unwrap_or_default();
        let failed = |reason: String| RegistryError::Credentials { host: host.to_owned(), reason };
        if let Some(text) = &self.inline
            && let Some(found) =
                look_up(text, repository).map_err(|e| failed(format!("DOCKER_AUTH_CONFIG: {e}")))?
        {
            return found_to_auth(found).map_err(failed);
        }
        for file in self.files.iter().filter(|file| file.exists()) {
            let place = |e: String| failed(format!("{}: {e}", file.display()));
            let text = read(file).map_err(place)?;
            if let Some(found) = look_up(&text, repository).map_err(place)? {
                return found_to_auth(found).map_err(place);
            }
        }
        Ok(RegistryAuth::Anonymous)
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| error.to_string())
}

fn found_to_auth(found: DockerCredential) -> Result<RegistryAuth, String> {
    match found {
        DockerCredential::UsernamePassword(user, password) => Ok(RegistryAuth::Basic(user, password)),
        DockerCredential::IdentityToken(_) => {
            Err("identity tokens are not supported, log in with a user name and a password or access token"
                .into())
        }
    }
}

/// Asks for the most specific key first: `host/team/app`, `host/team`, `host`.
fn look_up(config: &str, repository: &RepositoryName) -> Result<Option<DockerCredential>, String> {
    let value: Value = serde_json::from_str(config).map_err(|_| "not valid JSON".to_owned())?;
    let auths = value.get("auths").and_then(Value::as_object);
    let namespaced = namespaces(repository).filter(|key| auths.is_some_and(|auths| auths.contains_key(key)));
    let host = repository.host().unwrap_or_default();
    let server = if host == "docker.io" { DOCKER_HUB } else { host };
    for key in namespaced.chain([server.to_owned()]) {
        match docker_credential::get_credential_from_reader(config.as_bytes(), &key) {
            Ok(found) if is_empty(&found) => {}
            Ok(found) => return Ok(Some(found)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains(NONE_STORED) => {}
            Err(error) => return Err(describe(&error)),
        }
    }
    Ok(None)
}

/// `docker logout` leaves entries without content behind.
fn is_empty(found: &DockerCredential) -> bool {
    matches!(found, DockerCredential::UsernamePassword(user, password) if user.is_empty() && password.is_empty())
}

/// The crate's own text repeats what a helper printed, which may be the secret.
fn describe(error: &CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => format!("{helper} failed"),
        CredentialRetrievalError::HelperCommunicationError => {
            "the credential helper cannot be started".to_owned()
        }
        CredentialRetrievalError::MalformedHelperResponse => {
            "the credential helper answered something else than a login".to_owned()
        }
        CredentialRetrievalError::CredentialDecodingError => "a stored login is not valid base64".to_owned(),
        CredentialRetrievalError::CredentialMismatchError => "a stored login contradicts itself".to_owned(),
        CredentialRetrievalError::ConfigReadError => "not a Docker configuration".to_owned(),
        CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::NoCredentialConfigured => {
            "no login stored".to_owned()
        }
    }
}

/// The repository and every folder above it, most specific first, without the bare host.
fn namespaces(repository: &RepositoryName) -> impl Iterator<Item = String> {
    let name = repository.as_str();
    let ends = name.match_indices('/').map(|(at, _)| at).skip(1).chain([name.len()]);
    let mut keys: Vec<String> = ends.filter_map(|end| name.get(..end)).map(str::to_owned).collect();
    keys.reverse();
    keys.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(config: &str, repository: &str) -> Result<RegistryAuth, RegistryError> {
        let sources = CredentialSources { inline: Some(config.to_owned()), files: vec![] };
        sources.find(&repository.parse().unwrap())
    }

    fn basic(user: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.to_owned(), "p".to_owned())
    }

    #[test]
    fn the_most_specific_login_wins() {
        // user:p of a, b, c, d
        let config = r#"{"auths":{"r.example.com":{"auth":"YTpw"},"r.example.com/team":{"auth":"Yjpw"},
            "r.example.com/team/app":{"auth":"Yzpw"},"https://index.docker.io/v1/":{"auth":"ZDpw"},"e.example.com":{}}}"#;
        for (repository, user) in [
            ("r.example.com/other", "a"),
            ("r.example.com/team/other", "b"),
            ("r.example.com/team/app", "c"),
            ("r.example.com/team/app/sub", "c"),
            ("docker.io/library/busybox", "d"),
        ] {
            assert_eq!(find(config, repository).unwrap(), basic(user), "{repository}");
        }
        assert_eq!(find(config, "r.example.com:5000/x").unwrap(), RegistryAuth::Anonymous);
        assert_eq!(find(config, "e.example.com/x").unwrap(), RegistryAuth::Anonymous);
        assert_eq!(find("{}", "e.example.com/x").unwrap(), RegistryAuth::Anonymous);
    }

    #[test]
    fn a_login_that_cannot_be_used_is_an_error_without_the_secret() {
        for bad in [
            "not json",
            r#"{"auths":{"e.example.com":{"auth":"!"}}}"#,
            r#"{"auths":{"e.example.com":{"identitytoken":"s3cret"}}}"#,
            r#"{"credHelpers":{"e.example.com":"no-such-helper-s"}}"#,
        ] {
            let error = find(bad, "e.example.com/x").unwrap_err();
            assert!(matches!(error, RegistryError::Credentials { .. }), "{bad}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn places_are_searched_in_order() {
        let lookup = |variable: &str| match variable {
            "HOME" => Some(OsString::from("/h")),
            "XDG_RUNTIME_DIR" => Some(OsString::from("/run/u")),
            _ => None,
        };
        let sources = CredentialSources::from_environment(&lookup);
        let places: Vec<_> = sources.files.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(
            places,
            ["/run/u/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]
        );
        let lookup = |variable: &str| Some(OsString::from(format!("/{variable}")));
        let sources = CredentialSources::from_environment(&lookup);
        assert_eq!(
            sources.files,
            [PathBuf::from("/REGISTRY_AUTH_FILE"), "/DOCKER_CONFIG/config.json".into()]
        );
    }
}
