//! What stands in for a trust server where none is configured: the cache may still serve.

use async_trait::async_trait;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire::{Head, OnlineKeys, Receipt};
use bytes::Bytes;

use crate::port::trust_server::{TrustServer, TrustServerError, Upload};

/// Answers everything with "not configured".
#[derive(Clone, Copy, Debug)]
pub struct NoServer;

#[async_trait]
impl TrustServer for NoServer {
    async fn metadata(
        &self,
        _: &RepositoryName,
        _: &RoleName,
        _: Option<Version>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn head(&self, _: &RepositoryName) -> Result<Option<Head>, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn online_keys(&self, _: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn publish(&self, _: &RepositoryName, _: &Upload) -> Result<Receipt, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }
}
