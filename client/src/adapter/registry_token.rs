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

/// What to send to the registry below `base` (`https://HOST/v2/`) to use `path`: a token for
/// `login` where it wants one, else `login` itself.
///
/// # Errors
/// No connection, or the token server does not give one.
pub(super) async fn exchange(
    client: &Client,
    base: &Url,
    (path, access): (&str, Access),
    login: &RegistryAuth,
) -> Result<RegistryAuth, TokenError> {
    let response = client.get(base.clone()).send().await?;
    // Somebody else whom the registry points at does not say where logins are shown.
    if response.url().origin() != base.origin() {
        return Ok(login.clone());
    }
    Ok(answer(client, &response, (path, access), login).await?.unwrap_or_else(|| login.clone()))
}

/// A token such as `response` asks for; none where it asks for none.
///
/// # Errors
/// As for [`exchange`].
pub(super) async fn answer(
    client: &Client,
    response: &Response,
    (path, access): (&str, Access),
    login: &RegistryAuth,
) -> Result<Option<RegistryAuth>, TokenError> {
    let Some(challenge) = Challenge::find(response) else { return Ok(None) };
    let request = client.get(challenge.url(path, access)?);
    let response = match login {
        RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
        _ => request,
    };
    let response = response.send().await?;
    match response.status() {
        StatusCode::OK => Ok(Some(RegistryAuth::Bearer(read(response).await?))),
        status => Err(TokenError::Status(status)),
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
    fn tokens_stay_in_their_header() {
        assert!(is_header_text("eyJ.a-b_c/+="));
        for bad in ["", "a b", "a\r\nb: c", "\u{e9}"] {
            assert!(!is_header_text(bad), "{bad:?}");
        }
    }
}
