//! Every route, in one list.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::http::health::{self, Operations};
use crate::http::{api, middleware, notary, tuf};
use crate::phase::Phase;

/// The routes for clients.
pub fn build_router(app: Arc<App>) -> Router {
    // TUF clients. No layers: see `http::tuf`.
    let reads = Router::new().route("/tuf/{*path}", get(tuf::get));

    // Clients of Notary v1. What follows `/v2/` is told apart by `http::notary`:
    //   GET              (nothing)
    //   POST DELETE      {repository}/_trust/tuf/
    //   GET              {repository}/_trust/tuf/{document}.json
    //   GET POST         {repository}/_trust/tuf/{snapshot,timestamp}.key
    //   GET              {repository}/_trust/changefeed
    //   GET              _trust/changefeed
    // A server set as `https://host/` is asked for `//v2/`, and redirects are not followed.
    // Tokens for them are at `/v2/_bulla/token`.
    let notary = Router::new()
        .route(notary::TOKEN_PATH, any(notary::token))
        .route("/v2/", any(notary::serve))
        .route("/v2/{*rest}", any(notary::serve))
        .route("//v2/", any(notary::serve))
        .route("//v2/{*rest}", any(notary::serve))
        .route("/_notary_server/health", get(notary::health));

    // Our own clients. Repository names hold slashes, so what follows them is told apart by
    // `http::extract`:
    //   GET       {repository}/head
    //   GET POST  {repository}/online-keys
    //   POST      {repository}/online-keys/rotate
    //   POST      {repository}/publish
    //   GET POST  {repository}/requests
    //   GET       {repository}/requests/{id}
    //   DELETE    {repository}/requests/{id}, without If-Match
    //   POST      {repository}/requests/{id}/signatures
    //   DELETE    {repository}
    let api = Router::new()
        .route("/api/v1/repositories", get(api::list))
        .route("/api/v1/repositories/{*rest}", any(api::repository))
        .route("/api/v1/changes", get(api::changes))
        .fallback(middleware::no_route)
        .method_not_allowed_fallback(middleware::no_method)
        .layer(from_fn_with_state(Arc::clone(&app), middleware::surround))
        .layer(CompressionLayer::new());

    api.merge(reads).merge(notary).with_state(app)
}

/// The routes for operators, on a listener of their own.
pub fn build_operations_router(app: Arc<App>, phase: watch::Receiver<Phase>) -> Router {
    Router::new()
        .route("/healthz", get(health::health))
        .route("/readyz", get(health::readiness))
        .route("/metrics", get(health::metrics))
        .with_state(Operations { app, phase })
}
