//! `cargo run -p graceful-examples --bin axum-serve`, then `curl localhost:8080/slow` and meanwhile `kill -TERM PID`.
//!
//! You see: the answer says `connection: close` (`curl -i`), arrives in full, and then the process ends. The server is
//! axum's own; the layer alone makes its stop one that loses nothing on connections that are in use.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use graceful_server::{Grace, GracefulLayer, ShutdownSignal};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let graceful = GracefulLayer::new();
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/slow", get(slow))
        .route("/echo", post(async |body: String| body));
    let drain = graceful
        .tracker()
        .drain_on(ShutdownSignal::terminate()?, Grace::default());
    let drain = tokio::spawn(drain);

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening {}", listener.local_addr()?);
    // Not earlier than `told`: axum closes idle connections at once, also one with a request on its way.
    let server = axum::serve(listener, graceful.around(app))
        .with_graceful_shutdown(graceful.tracker().told());
    let server = tokio::spawn(server.into_future());
    let report = drain.await?;
    // axum waits for half a head and for a reader that is stuck without bound: this one is ours.
    let _ = timeout(Duration::from_secs(2), server).await;
    tracing::info!("{report}");
    Ok(())
}

async fn slow() -> &'static str {
    sleep(Duration::from_secs(10)).await;
    "at last\n"
}
