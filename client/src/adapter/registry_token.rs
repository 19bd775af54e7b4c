//! Access tokens of registries: a registry says where it has them given out (RFC 6750
//! challenge, distribution's token authentication), and that place gives one for a login.
//!
//! Not left to `oci-client`: it reads the answer of the token server whole, whatever its
//! length, and so hands our memory to whoever a registry names.

use bytes::BytesMut;
use http_auth::ChallengeRef;
use oci_client::secrets::RegistryAuth;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::config::is_loopback_host;

/// Largest answer of a token server, in bytes; tokens have a few thousand.
const ANSWER_BYTES: usize = 256 * 1024;

/// What a token is to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// To read.
    Pull,
    /// To read and to write.
    PullAndPush,
}

impl Access {
    const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::PullAndPush => "pull,push",
        }
    }
}

/// Who wants a token, and what for.
#[derive(Clone, Copy)]
pub(super) struct TokenRequest<'a> {
    pub(super) client: &'a Client,
    /// The repository's path, without the registry.
    pub(super) path: &'a str,
    pub(super) access: Access,
    pub(super) login: &'a RegistryAuth,
    /// Other hosts that may be spoken with in plain HTTP, as `host` or `host:port`.
    pub(super) plain_hosts: &'a [String],
}

impl TokenRequest<'_> {
    /// What to send to the registry below `base` (`https://HOST/v2/`): a token for the login where
    /// it wants one, else the login itself.
    ///
    /// # Errors
    /// No connection, or the token server does not give one, or may not be shown the login.
    pub(super) async fn exchange(self, base: &Url) -> Result<RegistryAuth, TokenError> {
        let response = self.client.get(base.clone()).send().await?;
        // Somebody else whom the registry points at does not say where logins are shown.
        if response.url().origin() != base.origin() {
            return Ok(self.login.clone());
        }
        Ok(self.answer(&response).await?.unwrap_or_else(|| self.login.clone()))
    }

    /// A token such as `response` asks for, which must come from the registry itself; none where it
    /// asks for none.
    ///
    /// # Errors
    /// As for [`Self::exchange`].
    pub(super) async fn answer(self, response: &Response) -> Result<Option<RegistryAuth>, TokenError> {
        let Some(challenge) = Challenge::find(response) else { return Ok(None) };
        let url = challenge.url(self.path, self.access)?;
        let request = match self.login {
            RegistryAuth::Basic(user, password) => {
                self.require_private(&url, response.url())?;
                self.client.get(url).basic_auth(user, Some(password))
            }
            _ => self.client.get(url),
        };
        let response = request.send().await?;
        match response.status() {
            StatusCode::OK => Ok(Some(RegistryAuth::Bearer(read(response).await?))),
            status => Err(TokenError::Status(status)),
        }
    }

    /// A login is shown over TLS, on this machine, or to whom the user allowed plain HTTP: the registry
    /// itself, if it is spoken with so, and hosts that he named. Otherwise a registry on this machine
    /// could have it carried in the clear to any other.
    fn require_private(self, realm: &Url, registry: &Url) -> Result<(), TokenError> {
        let host = realm.host_str().unwrap_or_default();
        let with_port = realm.port_or_known_default().map(|port| format!("{host}:{port}"));
        let is_named = |known: &String| match known.rsplit_once(':') {
            Some(_) => Some(known) == with_port.as_ref(),
            None => known == host && realm.port().is_none(),
        };
        let is_private = realm.scheme() == "https"
            || is_loopback_host(host)
            || realm.origin() == registry.origin()
            || self.plain_hosts.iter().any(is_named);
        if is_private {
            Ok(())
        } else {
            Err(TokenError::Plain { realm: realm.origin().ascii_serialization() })
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// No connection, or it broke.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// The registry asks for a token and says nowhere where to get it.
    #[error("the registry names no place that gives tokens")]
    NoPlace,
    /// The answer holds no token.
    #[error("the token server's answer holds no token")]
    NoToken,
    /// The token server would be shown the login in the clear.
    #[error("the token server {realm} wants the login in plain HTTP")]
    Plain {
        /// Scheme, host and port.
        realm: String,
    },
    /// The token server refuses.
    #[error("the token server answers {0}")]
    Status(StatusCode),
    /// The answer is longer than any token.
    #[error("the token server sent more than {ANSWER_BYTES} bytes")]
    TooLarge,
}

/// Where tokens are, as the registry says.
struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    fn find(response: &Response) -> Option<Self> {
        let texts = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|text| text.to_str().ok());
        texts.filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().find_map(|challenge| {
            let is_bearer = challenge.scheme.eq_ignore_ascii_case("bearer");
            is_bearer.then(|| Self {
                realm: parameter(&challenge, "realm").unwrap_or_default(),
                service: parameter(&challenge, "service"),
            })
        })
    }

    fn url(&self, path: &str, access: Access) -> Result<Url, TokenError> {
        let mut url: Url = self.realm.parse().map_err(|_| TokenError::NoPlace)?;
        let scope = format!("repository:{path}:{}", access.actions());
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = &self.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        Ok(url)
    }
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

async fn read(mut response: Response) -> Result<String, TokenError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(TokenError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| TokenError::NoToken)?;
    let token = answer.token.or(answer.access_token);
    token.filter(|token| is_header_text(token)).ok_or(TokenError::NoToken)
}

/// A line end in a token would begin a header of the token server's choice.
fn is_header_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

/// Both names are in use; `token` is the older one.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> Option<Challenge> {
        let response = http::Response::builder().status(401).header(WWW_AUTHENTICATE, text).body("").unwrap();
        Challenge::find(&response.into())
    }

    #[test]
    fn challenges_say_where_tokens_are() {
        let found = challenge(r#"Bearer realm="https://a.b/token?x=1",service="r b",scope="z""#).unwrap();
        let url = found.url("team/app", Access::Pull).unwrap();
        assert_eq!(url.as_str(), "https://a.b/token?x=1&scope=repository%3Ateam%2Fapp%3Apull&service=r+b");
        let url = found.url("a", Access::PullAndPush).unwrap();
        assert!(url.as_str().contains("scope=repository%3Aa%3Apull%2Cpush"), "{url}");
        assert!(challenge(r#"Basic realm="x", bearer realm="https://a.b/""#).is_some());
        assert!(challenge(r#"Basic realm="x""#).is_none() && challenge("nonsense, , =").is_none());
        for nowhere in ["Bearer service=x", r#"Bearer realm="""#, r#"Bearer realm="a b""#] {
            let found = challenge(nowhere).unwrap();
            assert!(matches!(found.url("a", Access::PullAndPush), Err(TokenError::NoPlace)), "{nowhere}");
        }
    }

    #[test]
    fn logins_go_over_tls_or_where_plain_http_is_allowed() {
        let (client, login) = (Client::new(), RegistryAuth::Anonymous);
        let named = ["auth.example.com:5001".to_owned(), "auth.example.org".to_owned()];
        let may = |realm: &str, registry: &str, plain_hosts: &[String]| {
            let (path, access) = ("team/app", Access::Pull);
            let request = TokenRequest { client: &client, path, access, login: &login, plain_hosts };
            request.require_private(&realm.parse().unwrap(), &registry.parse().unwrap()).is_ok()
        };
        let registry = "http://r.example.com:5000/v2/";
        for good in [
            "https://anywhere.example.net/token",
            "http://localhost:5001/token",
            "http://127.0.0.2/token",
            "http://[::1]:5001/token",
            "http://r.example.com:5000/token",
        ] {
            assert!(may(good, registry, &[]), "{good}");
        }
        for named_only in ["http://auth.example.com:5001/token", "http://auth.example.org/token"] {
            assert!(!may(named_only, registry, &[]), "{named_only}");
            assert!(may(named_only, registry, &named), "{named_only}");
        }
        for bad in [
            "http://r.example.com/token",
            "http://r.example.com:5001/token",
            "http://localhost.example.com/token",
            "http://10.0.0.1:5000/token",
            "http://auth.example.com/token",
            "http://auth.example.org:5001/token",
        ] {
            assert!(!may(bad, registry, &named), "{bad}");
        }
        assert!(!may("http://r.example.com:5000/token", "https://r.example.com:5000/v2/", &[]), "not in TLS");
    }

    #[test]
    fn tokens_stay_in_their_header() {
        assert!(is_header_text("eyJ.a-b_c/+="));
        for bad in ["", "a b", "a\r\nb: c", "\u{e9}"] {
            assert!(!is_header_text(bad), "{bad:?}");
        }
    }
}
