//! hyper as it comes: an accept loop and a task per connection. It ends when the process is killed.

use graceful_benches::{
    server::{BoxError, Protocol, Setting, accept, say_ready, start, tokio_listener},
    service::hello,
};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    say_ready()?;
    loop {
        let io = TokioIo::new(accept(&listener).await?);
        match setting.protocol {
            Protocol::Http1 => {
                tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(hello)));
            }
            Protocol::Http2 => {
                tokio::spawn(
                    http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service_fn(hello)),
                );
            }
            Protocol::Auto => {
                let builder = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(io, service_fn(hello)).into_owned());
            }
        }
    }
}
