//! The listener for operators: status, connections, metrics, a live page, and commands.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use graceful_server::RestartTrigger;
use tower_http::catch_panic::CatchPanicLayer;

use crate::status::Status;
use crate::{chain, metrics};

pub(crate) fn router(status: &Status, restart: RestartTrigger) -> Router {
    let canary = restart.clone();
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route(
            "/status",
            get(async move |State(status): State<Status>| {
                let mut shown = status.status();
                if let Some(pid) = canary.canary() {
                    shown["beside"] = pid.into();
                }
                fresh(shown)
            }),
        )
        .route(
            "/connections",
            get(async |State(status): State<Status>| fresh(status.connections())),
        )
        .route(
            "/metrics",
            get(async |State(status): State<Status>| {
                (
                    [(CONTENT_TYPE, metrics::CONTENT_TYPE)],
                    metrics::text(&status),
                )
            }),
        )
        .route("/drain", post(drain))
        .route("/resume", post(resume))
        .route("/cutoff", post(cutoff))
        .route("/restart", post(async move || restarted(&restart).await))
        .merge(status.health())
        .with_state(status.clone())
        .layer(CatchPanicLayer::new());
    status.identity().sign(router)
}

fn fresh(value: serde_json::Value) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(value))
}

async fn drain(State(status): State<Status>) -> Response {
    done(status.tracker().begin(), "draining", &status)
}

async fn resume(State(status): State<Status>) -> Response {
    done(status.tracker().resume(), "serving again", &status)
}

async fn cutoff(State(status): State<Status>) -> Response {
    done(status.tracker().cutoff(), "cutting what is left", &status)
}

/// The answer comes when the successor serves: that this process still gives it is the point of it all.
async fn restarted(restart: &RestartTrigger) -> Response {
    match restart.restart().await {
        Ok(pid) => (StatusCode::ACCEPTED, format!("process {pid} serves\n")).into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{}\n", chain(&error))).into_response(),
    }
}

/// A command either does something or says why not.
fn done(done: bool, what: &str, status: &Status) -> Response {
    match done {
        true => (StatusCode::ACCEPTED, format!("{what}\n")).into_response(),
        false => {
            let phase = status.phase();
            let why = format!("not {what}: the phase is {phase}\n");
            (StatusCode::CONFLICT, why).into_response()
        }
    }
}
