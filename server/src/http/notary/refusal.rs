//! Errors as Notary v1 answers them, so that its clients can read them.
//!
//! A client reads the first 1024 bytes of a 400, wants exactly one error in there, and shows
//! a text to its user only if that is an `INVALID_UPDATE` with one of five details. So all
//! that is wrong with an upload is told in such a detail, also where Notary had a code for it.

use std::fmt::Display;

use axum::body::Body;
use axum::response::Response;
use bulla_keys_schema::dialect::notary1;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::submission::Rejection;
use bulla_keys_schema::wire::ProblemCode;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::auth::Right;
use crate::http::middleware::Cause;
use crate::http::problem::ApiError;
use crate::http::rejection;
use crate::http::upload::UploadError;
use crate::publish::PublishFailure;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Longest body that a client reads.
const BODY_BYTES: usize = 1024;
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// What is shown in place of the last characters of a text that is too long.
const CUT: &str = "...";

/// An answer that says no.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    code: Code,
    detail: Detail,
    challenges: Vec<HeaderValue>,
    /// For the log only: what the caller must not learn.
    cause: Option<String>,
}

/// The codes of Notary's server that its clients may meet here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidGun,
    InvalidParameters,
    InvalidRole,
    InvalidUpdate,
    MalformedJson,
    MalformedUpload,
    MetadataNotFound,
    NoFilename,
    Timeout,
    Unauthorized,
    Unavailable,
    Unknown,
    Updating,
}

/// What a code leaves open.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Detail {
    Nothing,
    Empty {},
    Text(String),
    Access(Vec<Access>),
    Update {
        #[serde(rename = "Name")]
        name: &'static str,
        #[serde(rename = "Error")]
        error: Update,
    },
}

/// The only detail with a text that reaches a person.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    msg: String,
}

/// A right that was missing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Access {
    r#type: &'static str,
    class: &'static str,
    name: String,
    action: &'static str,
}

#[derive(Serialize)]
struct Errors<'a> {
    errors: [Error<'a>; 1],
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Detail::is_nothing")]
    detail: &'a Detail,
}

impl Refusal {
    pub(super) const fn new(code: Code) -> Self {
        Self { code, detail: Detail::Nothing, challenges: Vec::new(), cause: None }
    }

    pub(super) fn with_text(code: Code, text: impl Into<String>) -> Self {
        Self { detail: Detail::Text(text.into()), ..Self::new(code) }
    }

    /// A URL of Notary, but nothing is stored for it, or nothing that the caller may see.
    pub(super) fn not_found() -> Self {
        Self { detail: Detail::Empty {}, ..Self::new(Code::MetadataNotFound) }
    }

    /// `right` on `repository` is needed; without repository, to see all of them.
    pub(super) fn unauthorized(
        needed: Option<(&RepositoryName, Right)>,
        challenges: Vec<HeaderValue>,
    ) -> Self {
        let access = |r#type, name: String, action| Access { r#type, class: "", name, action };
        let detail = match needed {
            None => vec![access("registry", "catalog".to_owned(), "*")],
            Some((repository, right)) => {
                let actions: &[_] = match right {
                    Right::Read => &["pull"],
                    Right::Publish => &["push", "pull"],
                    Right::Admin => &["*"],
                };
                actions.iter().map(|action| access("repository", repository.to_string(), action)).collect()
            }
        };
        Self { detail: Detail::Access(detail), challenges, ..Self::new(Code::Unauthorized) }
    }

    /// Something about an upload that a person has to know.
    pub(super) fn update(role: Option<&RoleName>, text: impl Into<String>) -> Self {
        let name = match role {
            None => "ErrValidation",
            Some(RoleName::Root) => "ErrBadRoot",
            Some(RoleName::Targets | RoleName::Delegated(_)) => "ErrBadTargets",
            Some(RoleName::Snapshot | RoleName::Timestamp) => "ErrBadSnapshot",
        };
        let error = Update { missing: None, msg: text.into() };
        Self { detail: Detail::Update { name, error }, ..Self::new(Code::InvalidUpdate) }
    }

    fn missing(role: &RoleName, text: String) -> Self {
        let error = Update { missing: Some(notary1::role_to_wire(role)), msg: text };
        Self { detail: Detail::Update { name: "ErrBadHierarchy", error }, ..Self::new(Code::InvalidUpdate) }
    }

    /// A defect or an outage; the cause goes to the log.
    pub(super) fn failed(code: Code, cause: &dyn Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(code) }
    }

    /// Writes the answer.
    pub(super) fn write(self) -> Response {
        let (status, _, _) = self.code.parts();
        let mut response = Response::new(Body::from(body(self.code, self.detail)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        // What does not exist now may exist in a moment.
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        for challenge in self.challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
        if self.code == Code::Unavailable {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }

    /// Says in Notary's words what went wrong around a request.
    pub(super) fn write_problem(error: ApiError, _request_id: &str) -> Response {
        let code = match error.code() {
            ProblemCode::Busy | ProblemCode::Unavailable => Code::Unavailable,
            ProblemCode::RequestTimeout => Code::Timeout,
            _ => Code::Unknown,
        };
        let (detail, cause) = error.into_texts();
        Self { detail: Detail::Text(detail), cause, ..Self::new(code) }.write()
    }
}

impl Code {
    /// Status, name and message.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
        match self {
            Self::InvalidGun => {
                (BAD, "INVALID_GUN", "The server does not support actions on images of this name.")
            }
            Self::InvalidParameters => (BAD, "INVALID_PARAMETERS", "The parameters provided are not valid."),
            Self::InvalidRole => {
                (BAD, "INVALID_ROLE", "The role you are attempting to operate on is invalid.")
            }
            Self::InvalidUpdate => (BAD, "INVALID_UPDATE", "Update sent by the client is invalid."),
            Self::MalformedJson => {
                (BAD, "MALFORMED_JSON", "JSON sent by the client could not be parsed by the server")
            }
            Self::MalformedUpload => (BAD, "MALFORMED_UPLOAD", "The body of your request is malformed."),
            Self::MetadataNotFound => (
                StatusCode::NOT_FOUND,
                "METADATA_NOT_FOUND",
                "You have requested metadata that does not exist.",
            ),
            Self::NoFilename => (BAD, "NO_FILENAME", "No file/role name provided."),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "UNKNOWN", "unknown error"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "service unavailable"),
            Self::Unknown => (FAILED, "UNKNOWN", "unknown error"),
            Self::Updating => {
                (FAILED, "UPDATING", "An error has occurred while updating the TUF repository.")
            }
        }
    }
}

impl Detail {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The text that may be cut, if there is one.
    fn text(&mut self) -> Option<&mut String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Update { error, .. } => Some(&mut error.msg),
            Self::Nothing | Self::Empty {} | Self::Access(_) => None,
        }
    }
}

/// One error, cut to what a client reads: half an error would be none.
fn body(code: Code, mut detail: Detail) -> Vec<u8> {
    let (_, name, message) = code.parts();
    if let Some(text) = detail.text() {
        // In JSON it is no shorter.
        cut(text, BODY_BYTES);
    }
    loop {
        let errors = Errors { errors: [Error { code: name, message, detail: &detail }] };
        let mut body = serde_json::to_vec(&errors).unwrap_or_default();
        body.push(b'\n');
        let excess = body.len().saturating_sub(BODY_BYTES);
        match detail.text() {
            // In JSON it is up to six times as long.
            Some(text) if excess > 0 && !text.is_empty() => cut(text, text.len() - 1 - excess / 6),
            _ => return body,
        }
    }
}

/// Leaves at most `most` bytes of `text`, and shows that there were more.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(CUT.len())));
        text.push_str(if most < CUT.len() { "" } else { CUT });
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Busy => Self::failed(Code::Unavailable, &error),
            UploadError::NotMultipart
            | UploadError::NotJson
            | UploadError::Incomplete
            | UploadError::Broken => Self::with_text(Code::MalformedUpload, error.to_string()),
            UploadError::Slow => Self::failed(Code::Timeout, &error),
            UploadError::BodyTooLong { .. }
            | UploadError::Endless
            | UploadError::PartTooLong { .. }
            | UploadError::TooManyParts { .. } => Self::update(None, error.to_string()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed | StoreError::WentBack { .. } => Self::failed(Code::Unavailable, &error),
            other => Self::failed(Code::Unknown, &other),
        }
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            VaultError::Refused(_) | VaultError::Contended => Self::failed(Code::Unavailable, &error),
            VaultError::NotListed | VaultError::TooMany => {
                Self::update(Some(&RoleName::Root), first_line(&error))
            }
            other => Self::failed(Code::Unknown, &other),
        }
    }
}

impl From<PublishFailure> for Refusal {
    fn from(failure: PublishFailure) -> Self {
        match failure {
            PublishFailure::Rejected(rejection) => of_rejection(&rejection),
            PublishFailure::Busy | PublishFailure::Clock { .. } => Self::failed(Code::Unavailable, &failure),
            PublishFailure::Vault(error) => error.into(),
            PublishFailure::Store(error @ (StoreError::Closed | StoreError::WentBack { .. })) => error.into(),
            PublishFailure::Conflict { .. } => {
                Self::update(None, "somebody else published at the same moment; run the command again")
            }
            failure if rejection::describe(&failure).is_some() => {
                let role = rejection::role(&failure);
                let hint = match failure {
                    PublishFailure::OtherMode { .. } => rejection::hint(&failure),
                    _ => None,
                };
                Self::update(role, with_hint(text(&failure, role), hint))
            }
            failure => Self::failed(Code::Updating, &failure),
        }
    }
}

fn of_rejection(rejection: &Rejection) -> Refusal {
    let role = rejection::role_of_rule(rejection);
    let text = match rejection {
        Rejection::Snapshot { role, what } => format!("the snapshot {what}: {}", notary1::role_to_wire(role)),
        _ => text(rejection, role),
    };
    let text = with_hint(text, hint(rejection));
    match (rejection, role) {
        (Rejection::Missing { .. }, Some(role)) => Refusal::missing(role, text),
        // It is the root that lists them.
        (Rejection::OnlineKeys { .. }, _) => Refusal::update(Some(&RoleName::Root), text),
        (_, role) => Refusal::update(role, text),
    }
}

/// What a refusal says, on one line. It begins with the role as the core calls it; people
/// know its other name.
fn text(refusal: &dyn Display, role: Option<&RoleName>) -> String {
    let text = first_line(refusal);
    match role.and_then(|role| Some((role, text.strip_prefix(role.as_str())?))) {
        Some((role, rest)) => format!("{}{rest}", notary1::role_to_wire(role)),
        None => text,
    }
}

fn with_hint(text: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

/// What to do about it, with the programs that these people have.
fn hint(rejection: &Rejection) -> Option<&'static str> {
    match rejection {
        // A client that cannot use the document that is here begins again at 1.
        Rejection::Version { role: RoleName::Delegated(_), wanted: Some(wanted), found }
            if found < wanted =>
        {
            Some("run the command again, and if that does not help `notary witness -p GUN ROLE`")
        }
        // No such repository: it was deleted, and the client still has its root.
        Rejection::Version { role: RoleName::Root, wanted: Some(Version::FIRST), .. } => {
            Some("the repository was deleted here: `notary delete GUN`, then `notary init GUN`")
        }
        Rejection::Version { .. } => Some("run the command again"),
        Rejection::OnlineKeys { role: RoleName::Timestamp } => {
            Some("run `notary key rotate GUN timestamp -r`")
        }
        Rejection::OnlineKeys { .. } => Some("run `notary key rotate GUN snapshot -r`"),
        Rejection::Missing { role: RoleName::Snapshot } => {
            Some("the client holds the snapshot key and has to send the snapshot along")
        }
        _ => None,
    }
}

/// The hints that follow are for other programs.
fn first_line(text: &dyn Display) -> String {
    text.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::metadata::Version;
    use serde_json::{Value, json};

    use super::*;

    fn written(refusal: Refusal) -> Value {
        let body = body(refusal.code, refusal.detail);
        assert!(body.len() <= BODY_BYTES && body.ends_with(b"}\n"), "{}", body.len());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn there_is_one_error_with_code_message_and_detail() {
        assert_eq!(
            written(Refusal::not_found()),
            json!({"errors": [{
                "code": "METADATA_NOT_FOUND",
                "message": "You have requested metadata that does not exist.",
                "detail": {},
            }]})
        );
        assert_eq!(
            written(Refusal::new(Code::NoFilename)),
            json!({"errors": [{"code": "NO_FILENAME", "message": "No file/role name provided."}]})
        );
        let name: RepositoryName = "r.io/a".parse().unwrap();
        let refusal = Refusal::unauthorized(Some((&name, Right::Publish)), Vec::new());
        assert_eq!(
            written(refusal)["errors"][0]["detail"],
            json!([
                {"Type": "repository", "Class": "", "Name": "r.io/a", "Action": "push"},
                {"Type": "repository", "Class": "", "Name": "r.io/a", "Action": "pull"},
            ])
        );
    }

    #[test]
    fn refusals_of_uploads_are_readable_and_name_the_role_as_notary_does() {
        let role = |name: &str| notary1::role_from_wire(name).unwrap();
        let version = |n| Version::new(n).unwrap();
        let update = |rejection: Rejection| {
            written(PublishFailure::from(rejection).into())["errors"][0]["detail"].clone()
        };
        let refused = update(Rejection::Version {
            role: role("targets/alice"),
            wanted: Some(version(5)),
            found: version(1),
        });
        assert_eq!(refused["Name"], "ErrBadTargets");
        let text = refused["Error"]["Msg"].as_str().unwrap();
        assert!(text.starts_with("targets/alice has version 1, expected 5; "), "{text}");
        assert!(text.contains("notary witness"), "{text}");
        assert_eq!(
            update(Rejection::Missing { role: RoleName::Root }),
            json!({"Name": "ErrBadHierarchy", "Error": {"Missing": "root", "Msg": "root is missing"}})
        );
        assert_eq!(update(Rejection::OnlineKeys { role: RoleName::Timestamp })["Name"], "ErrBadRoot");
        assert_eq!(update(Rejection::NotDelegated { role: role("targets/a") })["Name"], "ErrBadTargets");
    }

    #[test]
    fn long_texts_are_cut_whatever_they_hold() {
        for text in ["a", "\"", "\u{1}", "\u{e9}", "\u{1f600}", "\\\u{20ac}\n"] {
            for length in [1, 200, 300, 1000, 5000] {
                let told = text.repeat(length);
                let written = written(Refusal::update(Some(&RoleName::Root), told.clone()));
                let shown = written["errors"][0]["detail"]["Error"]["Msg"].as_str().unwrap();
                let kept = shown.strip_suffix(CUT).unwrap_or(shown);
                assert!(told.starts_with(kept), "{text:?}");
                assert!(length > 1 || shown == told, "{text:?}");
                assert!(kept.len() * 8 >= told.len().min(BODY_BYTES), "{text:?} {length} {}", kept.len());
            }
        }
        written(Refusal::with_text(Code::InvalidRole, "\u{0}".repeat(100_000)));
    }
}
