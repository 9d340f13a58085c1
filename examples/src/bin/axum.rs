//! `cargo run -p graceful-examples --bin axum`, then `curl localhost:8080/slow` and meanwhile `kill -HUP PID` or `kill -TERM PID`.
//!
//! You see: the slow answer arrives in full either way. After HUP another process answers, and no connection was
//! refused; after TERM the report says what was drained.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use graceful_server::{HandoffListener, ShutdownSignal, SignalKind, serve_make};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let app = Router::new()
        .route("/", get(hello))
        .route("/slow", get(slow));
    let make = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = HandoffListener::from_env_or_bind("127.0.0.1:8080")?;

    let report = serve_make(listener, make)
        .stop_on(ShutdownSignal::terminate()?)
        .restart_on(SignalKind::hangup())
        .on_serving(|| tracing::info!("process {} serves", std::process::id()))
        .await?;
    tracing::info!("{report}");
    Ok(())
}

async fn hello(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    format!("hello {peer}, this is process {}\n", std::process::id())
}

async fn slow() -> String {
    sleep(Duration::from_secs(10)).await;
    format!("process {} took its time\n", std::process::id())
}
