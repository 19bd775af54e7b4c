//! What stands in for a trust server where none is configured: the cache may still serve.

use async_trait::async_trait;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::wire::{RequestProgress, RequestSummary};
use bytes::Bytes;

use crate::port::trust_server::{
    Basis, Edition, OnlineKeys, OnlineRole, TrustServer, TrustServerError, Upload,
};

/// Answers everything with "not configured".
#[derive(Clone, Copy, Debug)]
pub struct NoServer;

#[async_trait]
impl TrustServer for NoServer {
    async fn metadata(
        &self,
        _: &RepositoryName,
        _: &RoleName,
        _: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn basis(&self, _: &RepositoryName) -> Result<Basis, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn online_keys(&self, _: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn next_online_key(
        &self,
        _: &RepositoryName,
        _: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn publish(&self, _: &RepositoryName, _: &Upload) -> Result<(), TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }
    async fn requests(&self, _: &RepositoryName) -> Result<Vec<RequestSummary>, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn request(&self, _: &RepositoryName, _: RequestId) -> Result<Option<Bytes>, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn open_request(&self, _: &RepositoryName, _: Bytes) -> Result<RequestProgress, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn add_signatures(
        &self,
        _: &RepositoryName,
        _: RequestId,
        _: Bytes,
    ) -> Result<RequestProgress, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn cancel_request(&self, _: &RepositoryName, _: RequestId) -> Result<(), TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }
}
