//! hyper with hyper-util's `GracefulShutdown`.

use std::pin::pin;

use graceful_benches::{
    server::{BoxError, Protocol, Setting, accept, say_ready, start, terminated, tokio_listener},
    service::hello,
};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    let graceful = GracefulShutdown::new();
    let mut terminated = pin!(terminated()?);
    say_ready()?;
    loop {
        let io = tokio::select! {
            stream = accept(&listener) => TokioIo::new(stream?),
            _ = &mut terminated => break,
        };
        match setting.protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new().serve_connection(io, service_fn(hello));
                tokio::spawn(graceful.watch(connection));
            }
            Protocol::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service_fn(hello));
                tokio::spawn(graceful.watch(connection));
            }
            Protocol::Auto => {
                let builder = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(
                    graceful.watch(builder.serve_connection(io, service_fn(hello)).into_owned()),
                );
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}
