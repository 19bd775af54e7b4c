//! What errors about signing requests mean.

use bulla_keys_schema::request::{MergeError, OpenError};

use super::{Exit, Explained, hint, key_store, pins, publish, refresh, server, tampered, unlock};
use crate::flow::request::RequestError;
use crate::wiring::NobodyToAsk;

pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if let Some(error) = error.downcast_ref() {
        return Some(super::certify(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(request(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(merge(error));
    }
    if error.is::<bulla_keys_schema::request::InvalidRequest>() {
        return Some((Exit::Usage, hint("name a file of bulla request export, or of bulla request sign")));
    }
    if error.is::<bulla_keys_schema::request::InvalidText>() {
        return Some((Exit::Usage, hint("write the reason on one line, in up to 500 characters")));
    }
    if error.is::<crate::command::request::Declined>() {
        return Some((Exit::Usage, hint("without a question: --yes, or --expect-digest HEX")));
    }
    if error.is::<crate::command::request::NothingNamed>() {
        return Some((Exit::Usage, hint("name it: REPOSITORY ID, or --file FILE")));
    }
    if error.is::<crate::command::request::NoOut>() {
        return Some((Exit::Usage, hint("name a file: --out SIGFILE")));
    }
    if error.is::<crate::command::request::UnusableRequestFile>() {
        return Some((Exit::Usage, hint("name another file")));
    }
    error
        .is::<NobodyToAsk>()
        .then(|| (Exit::Usage, hint("look at it with --dry-run, then: --yes, or --expect-digest HEX")))
}

pub(super) fn request(error: &RequestError) -> Explained {
    match error {
        RequestError::Broken(_) | RequestError::OtherRequest { .. } | RequestError::OtherRoot { .. } => {
            (Exit::Tampered, hint("do not sign; ask the others what they see"))
        }
        RequestError::Cache(_) => (Exit::Internal, None),
        RequestError::Done { .. } => (Exit::Usage, hint("others have to sign now")),
        RequestError::Entropy(_) | RequestError::Sign(_) => (Exit::Internal, None),
        RequestError::Invalid(_) => (Exit::Usage, hint("export it again: bulla request export")),
        RequestError::Merge(error) => merge(error),
        RequestError::NoContext { .. } => {
            (Exit::Usage, hint("on a machine with network: bulla request export REPOSITORY ID --out FILE"))
        }
        RequestError::NoKey { missing, .. } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            (Exit::NotSigned, hint(&format!("sign where one of these keys is: {}", missing.join(", "))))
        }
        RequestError::Older { .. } => (
            Exit::Tampered,
            hint("do not sign; export the request again, from a server that shows the current state"),
        ),
        RequestError::Open { source, repository, .. } => open(source, repository.as_str()),
        RequestError::OtherDigest { .. } => {
            (Exit::Tampered, hint("do not sign; ask the others for the digest that they see"))
        }
        RequestError::PinNotMet { .. } => tampered(),
        RequestError::Pins(error) => pins(error),
        RequestError::Publish(error) => publish(error),
        RequestError::Refresh(error) => refresh(error),
        RequestError::Root(_) => tampered(),
        RequestError::Server(error) => server(error),
        RequestError::Store(error) => key_store(error),
        RequestError::Unknown { repository, .. } => {
            (Exit::NoTrustData, hint(&format!("look which there are: bulla request list {repository}")))
        }
        RequestError::Unlock(error) => unlock(error),
    }
}

fn open(error: &OpenError, repository: &str) -> Explained {
    match error {
        OpenError::Stale { .. } | OpenError::Expired { .. } => (
            Exit::Busy,
            hint(&format!(
                "make the change again, with --request; open ones: bulla request list {repository}"
            )),
        ),
        OpenError::Base
        | OpenError::OtherMode
        | OpenError::OtherRepository { .. }
        | OpenError::Signature { .. } => (Exit::Tampered, hint("do not sign; ask whoever made the request")),
        OpenError::Document { .. }
        | OpenError::Orphan { .. }
        | OpenError::Rejected(_)
        | OpenError::TooLong { .. } => {
            (Exit::Usage, hint("no server would take this change; ask whoever made the request"))
        }
    }
}

pub(super) fn merge(error: &MergeError) -> Explained {
    match error {
        MergeError::BadSignature { .. } | MergeError::OtherPayload { .. } => {
            (Exit::Tampered, hint("sign the request again as it is now"))
        }
        MergeError::NoRole { .. } => {
            (Exit::NotSigned, hint("see whose signatures it wants: bulla request show"))
        }
        MergeError::Document { .. }
        | MergeError::OtherRepository { .. }
        | MergeError::OtherRequest { .. }
        | MergeError::UnknownDocument { .. } => {
            (Exit::Usage, hint("name the file that belongs to this request"))
        }
    }
}
