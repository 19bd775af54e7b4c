//! A request for a machine without network, with what it needs to judge it from its own pin.

use std::collections::BTreeMap;

use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestExport;
use bulla_keys_schema::verify::Verified;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use super::{Judged, RequestError};
use crate::flow::Ports;
use crate::port::trust_server::Edition;

/// Puts together a file of the request, all roots and all current documents.
///
/// # Errors
/// The server does not answer.
pub async fn export(ports: Ports<'_>, judged: &Judged) -> Result<RequestExport, RequestError> {
    let request = judged.open.request().clone();
    let Some(current) = &judged.current else {
        return Ok(RequestExport { request, roots: Vec::new(), documents: BTreeMap::new() });
    };
    let roots = roots(ports, &request.repository, current).await?;
    Ok(RequestExport { request, roots, documents: documents(current) })
}

/// Every root up to the current one, from the first that the server has.
async fn roots(
    ports: Ports<'_>,
    repository: &RepositoryName,
    current: &CurrentState,
) -> Result<Vec<Bytes>, RequestError> {
    let newest = current.root().version();
    let oldest = newest.get().saturating_sub(limits::ROOT_STEPS as u64 - 1).max(1);
    let mut roots = Vec::new();
    for version in (oldest..newest.get()).filter_map(Version::new) {
        // A server of Notary's may begin with the second.
        let root = ports.server.metadata(repository, &RoleName::Root, Edition::Version(version)).await?;
        roots.extend(root);
    }
    roots.push(current.root().bytes().clone());
    Ok(roots)
}

fn documents(current: &CurrentState) -> BTreeMap<RoleName, Bytes> {
    let top = [
        (RoleName::Root, current.root().bytes()),
        (RoleName::Targets, current.targets().bytes()),
        (RoleName::Snapshot, current.snapshot().bytes()),
        (RoleName::Timestamp, current.timestamp().bytes()),
    ];
    let delegated = current.delegated().iter().map(|(name, document)| (name, Verified::bytes(document)));
    let retired = current.retired().iter().map(|(name, document)| (name, &document.bytes));
    let delegated = retired.chain(delegated).map(|(name, bytes)| (RoleName::Delegated(name.clone()), bytes));
    top.into_iter().chain(delegated).map(|(role, bytes)| (role, bytes.clone())).collect()
}
