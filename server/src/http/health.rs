//! Health, readiness and numbers, on a listener of their own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::sync::watch;

use crate::app::App;
use crate::phase::Phase;

/// What these routes share.
#[derive(Clone)]
pub(crate) struct Operations {
    /// The server.
    pub(crate) app: Arc<App>,
    /// What it does at the moment.
    pub(crate) phase: watch::Receiver<Phase>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// `GET /healthz`: the process answers.
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether requests should be sent here, and why not.
pub(crate) async fn readiness(State(operations): State<Operations>) -> Response {
    let mut reasons = operations.app.obstacles().await;
    if *operations.phase.borrow() != Phase::Serving {
        reasons.push("stopping".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons })).into_response()
}

/// `GET /metrics`: numbers in the text format of OpenMetrics.
pub(crate) async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], operations.app.metrics.encode())
}
