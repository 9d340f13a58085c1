//! Ours: `graceful_server::serve`, everything on.

use std::{io, os::fd::AsFd};

use graceful_benches::service::hello;
use graceful_server::{
    HandoffListener, Protocol as Spoken, Serve, ShutdownSignal, SignalKind, serve,
};

use crate::{BoxError, Protocol, Setting, axum::router, say_ready};

pub(crate) async fn serve_handler(setting: Setting) -> Result<(), BoxError> {
    run(serve(listener()?, tower::service_fn(hello)), setting).await
}

pub(crate) async fn serve_router(setting: Setting) -> Result<(), BoxError> {
    run(serve(listener()?, router()), setting).await
}

async fn run(server: Serve, setting: Setting) -> Result<(), BoxError> {
    let protocol = match setting.protocol {
        Protocol::Auto => Spoken::Auto,
        Protocol::Http1 => Spoken::Http1,
        Protocol::Http2 => Spoken::Http2,
    };
    server
        .protocol(protocol)
        .stop_on(ShutdownSignal::terminate()?)
        .restart_on(SignalKind::hangup())
        .grace(setting.grace)
        // Who reads it may have gone.
        .on_serving(|| drop(say_ready()))
        .await?;
    Ok(())
}

/// From the predecessor, if there is one.
fn listener() -> Result<HandoffListener, BoxError> {
    match HandoffListener::from_env() {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(HandoffListener::from_fd(
            io::stdin().as_fd().try_clone_to_owned()?,
        )?),
    }
}
