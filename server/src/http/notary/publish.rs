//! `POST /v2/{repository}/_trust/tuf/`: one part for each document, named by its role.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::response::Response;
use bulla_keys_schema::dialect::{Dialect, notary1};
use bulla_keys_schema::digest::{Hashed, Hashing};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use serde::Deserialize;

use super::refusal::{Code, Refusal};
use super::{empty, wire};
use crate::app::App;
use crate::auth::Caller;
use crate::http::publish::outcome;
use crate::http::upload::Parts;
use crate::publish::{Base, Upload, Uploaded};

/// What must be there for the rest to be judged as a document at all.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "signed")]
    _signed: Signed,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "version")]
    _version: i64,
}

/// Reads the upload and hands it to the pipeline. It names no head: clients of Notary do not
/// know of any, so it builds on whatever is current when its turn comes.
pub(super) async fn post(
    app: &App,
    caller: &Caller,
    repository: RepositoryName,
    request: Request,
) -> Result<Response, Refusal> {
    let mut parts = Parts::of(app, request).await?;
    let documents = read(&mut parts).await?;
    let upload = Upload {
        repository: repository.clone(),
        dialect: Dialect::Notary1,
        base: Base::Latest,
        operation: None,
        documents: documents
            .iter()
            .map(|(role, bytes)| Uploaded { role: role.clone(), version: None, bytes: bytes.clone() })
            .collect(),
        targets: Vec::new(),
        actor: caller.name().to_owned(),
    };
    let result = app.publisher.publish(upload).await;
    parts.give_back();
    app.metrics.publish(outcome(&result));
    let published =
        result.map_err(|failure| malformed(&documents).unwrap_or_else(|| failure.into()))?.published;
    tracing::info!(%repository, token = %published.token, position = published.position.0, "published");
    Ok(empty())
}

/// The documents of an upload. Field names and order mean nothing. A timestamp is checked like
/// the others and then dropped: the server makes its own.
async fn read(parts: &mut Parts) -> Result<BTreeMap<RoleName, Hashed>, Refusal> {
    let mut documents: BTreeMap<RoleName, Hashed> = BTreeMap::new();
    while let Some(part) = parts.next().await? {
        let name = part.file_name().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refusal::new(Code::NoFilename))?;
        let role = wire::uploaded_role(name).map_err(|name| Refusal::with_text(Code::InvalidRole, name))?;
        let name = notary1::role_to_wire(&role);
        // The snapshot lists both digests.
        let bytes = part.bytes(role.byte_limit(), &name, Hashing::with_sha512()).await?;
        // Notary lets the last one win, and nobody knows which one was meant.
        if let Some(other) = documents.insert(role.clone(), bytes.clone())
            && other.bytes() != bytes.bytes()
        {
            let text = format!("{name} was uploaded twice with different content");
            return Err(Refusal::update(Some(&role), text));
        }
    }
    if let Some(timestamp) = documents.remove_entry(&RoleName::Timestamp) {
        malformed(&BTreeMap::from([timestamp])).map_or(Ok(()), Err)?;
    }
    Ok(documents)
}

/// What to say of the first document that is none at all. Only asked once an upload was refused:
/// to read all of a long document once more takes time that the accepted ones need not spend.
fn malformed(documents: &BTreeMap<RoleName, Hashed>) -> Option<Refusal> {
    documents.iter().find_map(|(role, bytes)| {
        let error = serde_json::from_slice::<Envelope>(bytes).err()?;
        Some(Refusal::with_text(Code::MalformedJson, format!("{}: {error}", notary1::role_to_wire(role))))
    })
}
