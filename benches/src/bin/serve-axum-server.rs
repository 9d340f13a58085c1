//! axum-server with its handle's graceful shutdown.

use axum_server::Handle;
use graceful_benches::{
    routed::router,
    server::{BoxError, listener, say_ready, start, terminated},
};

fn main() -> Result<(), BoxError> {
    start(|_| serve())
}

async fn serve() -> Result<(), BoxError> {
    let handle = Handle::new();
    let (stop, terminated) = (handle.clone(), terminated()?);
    tokio::spawn(async move {
        terminated.await;
        stop.graceful_shutdown(None);
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
