//! The service as an axum router, and `axum::serve` of it.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    routing::get,
    serve::{Listener, ListenerExt},
};
use tokio::time::sleep;

use crate::{
    server::{BoxError, say_ready, terminated, tokio_listener},
    service::{BODY, SLOW, SLOW_PATH},
};

/// What [`hello`](crate::service::hello) does, as a router.
pub fn router() -> Router {
    let slow = || async {
        sleep(SLOW).await;
        BODY
    };
    Router::new()
        .route("/", get(|| async { BODY }))
        .route(SLOW_PATH, get(slow))
}

/// `axum::serve` of it, with its graceful shutdown.
///
/// # Errors
/// Those of the server.
pub async fn serve_axum(router: Router) -> Result<(), BoxError> {
    let terminated = terminated()?;
    say_ready()?;
    axum::serve(nodelay()?, router)
        .with_graceful_shutdown(terminated)
        .await?;
    Ok(())
}

/// The listener of an axum server.
///
/// # Errors
/// Standard input is none.
pub fn nodelay() -> io::Result<impl Listener<Addr = SocketAddr>> {
    Ok(tokio_listener()?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    }))
}
