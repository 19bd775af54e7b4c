//! What stands in for a trust server where none is configured: the cache may still serve.

use async_trait::async_trait;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;

use crate::port::trust_server::{Basis, Edition, OnlineKeys, TrustServer, TrustServerError, Upload};

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

    async fn publish(&self, _: &RepositoryName, _: &Upload) -> Result<(), TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }
}
