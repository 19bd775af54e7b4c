//! Enrol: a signer whose keys are not the admin's signs its own first document, which proves
//! that somebody holds the keys, and hands it to the admin.

use bulla_keys_schema::author::Draft;
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::{PathPattern, RepositoryName, SignerName};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

use crate::flow::publish::{How, PublishError};
use crate::flow::refresh::Session;
use crate::flow::signer::{AddRequest, Joining, SignerError};
use crate::flow::signing::KeyRing;
use crate::flow::{Ports, current};

/// As whom to enrol.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository; it must be pinned here.
    pub repository: RepositoryName,
    /// The name that the admin will use.
    pub name: SignerName,
    /// Keys of this home.
    pub keys: Vec<KeyName>,
    /// How many of them will have to sign.
    pub threshold: u64,
    /// Tags that the admin will allow.
    pub patterns: Vec<PathPattern>,
    /// When the admin will let the right to sign end, if he will.
    pub ends: Option<UtcTime>,
}

/// Signs the first document of a signer.
///
/// # Errors
/// See [`SignerError`].
pub async fn enrol(ports: Ports<'_>, request: &Request) -> Result<Bytes, SignerError> {
    let mut ring = KeyRing::load(ports).map_err(PublishError::from)?;
    let stored = request.keys.iter().map(|name| ports.keys.find(name));
    let stored = stored.collect::<Result<Vec<_>, _>>().map_err(PublishError::from)?;
    let session = Session::open(ports, &request.repository).await.map_err(PublishError::from)?;
    let state = current::load(&session).await.map_err(PublishError::from)?;
    let now = session.now();
    // Others need not wait while somebody types a passphrase.
    drop(session);
    let joining = Joining::new(
        &state,
        &AddRequest {
            repository: request.repository.clone(),
            name: request.name.clone(),
            keys: stored.iter().map(|key| key.public.clone()).collect(),
            threshold: request.threshold,
            patterns: request.patterns.clone(),
            ends: request.ends,
            enrolment: None,
            how: How::DryRun,
        },
        now,
    )?;
    let first = joining.first_document(now);
    // All named keys sign: whoever adds the signer may ask for any number of them.
    let keys: Vec<_> = stored.iter().map(|key| key.public.fingerprint()).collect();
    ring.unlock(&keys.iter().copied().collect()).map_err(PublishError::from)?;
    let signed = Draft::new(state.root().dialect(), first.document)
        .sign(&ring.signers(&keys), &first.authority.keys, &first.authority.table)
        .map_err(|source| PublishError::Sign { role: first.role, source })?;
    Ok(signed.bytes().clone())
}
