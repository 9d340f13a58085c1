//! The same as `serve-axum` with `GracefulLayer` around the router.

use graceful_benches::{
    routed::{nodelay, router},
    server::{BoxError, Setting, say_ready, start},
};
use graceful_layer::GracefulLayer;
use graceful_server::ShutdownSignal;

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker();
    let drain = tokio::spawn(tracker.drain_on(ShutdownSignal::terminate()?, setting.grace));
    say_ready()?;
    axum::serve(nodelay()?, graceful.around(router()))
        .with_graceful_shutdown(tracker.told())
        .await?;
    drain.await?;
    Ok(())
}
