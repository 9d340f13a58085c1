//! `cargo run -p graceful-examples --bin tonic`, then the `curl` below, and `kill -TERM PID` while it runs.
//!
//! ```sh
//! printf '\0\0\0\0\0' | curl --http2-prior-knowledge -sv -H 'content-type: application/grpc' -H 'te: trailers' \
//!     --data-binary @- -o - localhost:8080/grpc.health.v1.Health/Watch | xxd
//! ```
//! You see: a `08 01` (SERVING) at once, a `08 02` (NOT_SERVING) when the stop begins, and then an orderly end of the
//! stream, which `curl` calls success. Any tonic service goes where the health service is.

use std::error::Error;
use std::time::Duration;

use graceful_server::{Grace, HandoffListener, Phase, ShutdownSignal, SignalKind, Tracker, serve};
use tokio::time::sleep;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let (reporter, health) = tonic_health::server::health_reporter();
    let tracker = Tracker::new();
    tokio::spawn(follow(tracker.clone(), reporter));

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

/// Tells load balancers, and then ends the streams that would never end by themselves.
async fn follow(tracker: Tracker, mut reporter: HealthReporter) {
    tracker.reached(Phase::LameDuck).await;
    reporter
        .set_service_status("", ServingStatus::NotServing)
        .await;
    sleep(Duration::from_secs(1)).await;
    reporter.clear_service_status("").await;
}
