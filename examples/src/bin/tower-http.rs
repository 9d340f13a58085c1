//! `cargo run -p graceful-examples --bin tower-http`, then `curl -i localhost:8080/N` for an answer after N seconds.
//!
//! You see: 0 to 4 answer `200`, from 5 on the timeout answers `504`, the log shows every request, and ten at a time are
//! worked on. `kill -TERM PID` lets all of them finish. No framework: a `service_fn` in a `ServiceBuilder` stack.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use graceful_server::{HandoffListener, ShutdownSignal, SignalKind, serve};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::{ServiceBuilder, service_fn};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter("info,tower_http=debug")
        .init();
    let timeout = Duration::from_secs(5);
    let app = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            timeout,
        ))
        // Backpressure: whoever waits for a turn is in flight, but not yet traced nor timed.
        .concurrency_limit(10)
        .service(service_fn(slow));

    let report = serve(HandoffListener::from_env_or_bind("127.0.0.1:8080")?, app)
        .stop_on(ShutdownSignal::terminate()?)
        .restart_on(SignalKind::hangup())
        .await?;
    tracing::info!("{report}");
    Ok(())
}

async fn slow(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let seconds = request
        .uri()
        .path()
        .trim_start_matches('/')
        .parse()
        .unwrap_or(0);
    sleep(Duration::from_secs(seconds)).await;
    Ok(Response::new(format!("{seconds} seconds later\n")))
}
