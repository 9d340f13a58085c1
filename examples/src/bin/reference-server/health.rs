//! `/ready` and `/live`: whether to send new clients, and whether to restart. On both listeners.
//!
//! A lame duck is alive and serves whoever comes; it only asks not to be given any more. So only `ready` turns red.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use graceful_server::Phase;
use serde_json::json;

use crate::status::Status;

pub(crate) fn routes() -> Router<Status> {
    Router::new()
        .route("/ready", get(ready))
        .route("/live", get(live))
}

async fn ready(State(status): State<Status>) -> Response {
    answer(status.phase(), |phase| phase == Phase::Serving)
}

async fn live(State(status): State<Status>) -> Response {
    answer(status.phase(), |phase| phase < Phase::Cutoff)
}

fn answer(phase: Phase, good: impl Fn(Phase) -> bool) -> Response {
    let code = match good(phase) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(json!({ "phase": phase.as_str() }))).into_response()
}
