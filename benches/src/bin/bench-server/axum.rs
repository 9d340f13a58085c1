//! axum with its own graceful shutdown, the same with `GracefulLayer`, and axum-server.

use axum::{
    Router,
    routing::get,
    serve::{Listener, ListenerExt},
};
use axum_server::Handle;
use graceful_benches::service::{BODY, SLOW, SLOW_PATH};
use graceful_layer::GracefulLayer;
use graceful_server::ShutdownSignal;
use tokio::time::sleep;
use tower_http::metrics::InFlightRequestsLayer;

use crate::{BoxError, Setting, listener, say_ready, terminated, tokio_listener};

pub(crate) fn router() -> Router {
    let slow = || async {
        sleep(SLOW).await;
        BODY
    };
    Router::new()
        .route("/", get(|| async { BODY }))
        .route(SLOW_PATH, get(slow))
}

/// `axum::serve` with its graceful shutdown.
pub(crate) async fn bare() -> Result<(), BoxError> {
    serve(router()).await
}

async fn serve(router: Router) -> Result<(), BoxError> {
    say_ready()?;
    axum::serve(nodelay()?, router)
        .with_graceful_shutdown(async {
            let _ = terminated().await;
        })
        .await?;
    Ok(())
}

/// The same with `GracefulLayer` on the router, as the front page of `graceful-layer` has it.
pub(crate) async fn with_layer(setting: Setting) -> Result<(), BoxError> {
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let drain = tokio::spawn(tracker.drain_on(ShutdownSignal::terminate()?, setting.grace));
    say_ready()?;
    axum::serve(nodelay()?, router().layer(graceful))
        .with_graceful_shutdown(tracker.told())
        .await?;
    drain.await?;
    Ok(())
}

/// The same with tower-http's counter in its place: what axum does for any layer that follows the body.
pub(crate) async fn with_in_flight() -> Result<(), BoxError> {
    let (in_flight, _count) = InFlightRequestsLayer::pair();
    serve(router().layer(in_flight)).await
}

pub(crate) async fn axum_server() -> Result<(), BoxError> {
    let handle = Handle::new();
    let stop = handle.clone();
    tokio::spawn(async move {
        if terminated().await.is_ok() {
            stop.graceful_shutdown(None);
        }
    });
    let acceptor = axum_server::accept::NoDelayAcceptor::new();
    say_ready()?;
    axum_server::from_tcp(listener()?)?
        .acceptor(acceptor)
        .handle(handle)
        .serve(router().into_make_service())
        .await?;
    Ok(())
}

fn nodelay() -> std::io::Result<impl Listener<Addr = std::net::SocketAddr>> {
    Ok(tokio_listener()?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    }))
}
