//! `cargo run -p graceful-examples --bin tonic`, then the `curl` below, and `kill -TERM PID` while it runs.
//!
//! ```sh
//! printf '\0\0\0\0\0' | curl --http2-prior-knowledge -sv -H 'content-type: application/grpc' -H 'te: trailers' \
//!     --data-binary @- -o - localhost:8080/grpc.health.v1.Health/Watch | xxd
//! ```
//! You see: a `08 01` (SERVING) at once, a `08 02` (NOT_SERVING) when the stop begins, and two seconds later an orderly end of
//! the stream, which `curl` calls success. Any tonic service goes where the health service is.

use std::error::Error;
use std::time::Duration;

use graceful_server::{
    Grace, GrpcHealth, HandoffListener, ShutdownSignal, SignalKind, Tracker, serve,
};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let tracker = Tracker::new();
    let health = GrpcHealth::new(tracker.clone());
    let report = serve(
        HandoffListener::from_env_or_bind("127.0.0.1:8080")?,
        Routes::new(health),
    )
    .with_tracker(tracker)
    .stop_on(ShutdownSignal::terminate()?)
    .restart_on(SignalKind::hangup())
    .grace(Grace::default().with_lame_duck(Duration::from_secs(2)))
    .await?;
    tracing::info!("{report}");
    Ok(())
}
