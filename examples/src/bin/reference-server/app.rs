//! The application: quick, slow and large answers, uploads, and a panic. What takes its time is in files of its own.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{any, get, post};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::sleep;
use tower_http::catch_panic::CatchPanicLayer;

use crate::status::Status;
use crate::{save, streaming, told};

/// The largest body that is held in memory.
const LARGEST_ECHO: usize = 64 << 20;

pub(crate) fn router(status: &Status) -> Router {
    let router = Router::new()
        .route("/", get(root))
        .route("/ping", get(async || "ok\n"))
        .route("/slow", get(slow))
        .route("/stream", get(streaming::stream))
        .route("/bytes", get(streaming::bytes))
        .route(
            "/echo",
            post(echo).layer(DefaultBodyLimit::max(LARGEST_ECHO)),
        )
        .route("/count", post(count))
        .route("/early", post(async || "ok\n"))
        .route("/sse", get(told::sse))
        .route("/poll", get(told::poll))
        .route("/ws", any(told::ws))
        .route("/save", get(save::save))
        .route("/panic", get(panic))
        .merge(status.health())
        .with_state(status.clone())
        .layer(CatchPanicLayer::new());
    status.identity().sign(router)
}

async fn root(State(status): State<Status>) -> String {
    format!("{}\n", status.identity())
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn slow(Query(Slow { ms }): Query<Slow>) -> &'static str {
    sleep(Duration::from_millis(ms)).await;
    "ok\n"
}

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Counts what comes without keeping it.
async fn count(mut body: Body) -> Result<String, StatusCode> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(format!("len={length}\n"))
}

async fn panic() -> StatusCode {
    sleep(Duration::from_millis(100)).await;
    panic!("asked for by GET /panic");
}
