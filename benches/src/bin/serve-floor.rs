//! hyper with the least that can count, be told and know its stream.

use std::sync::Arc;

use graceful_benches::{
    floor::{Counter, Shared, Stream, Told},
    server::{BoxError, Protocol, Setting, accept, say_ready, start, tokio_listener},
    service::hello,
};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    say_ready()?;
    loop {
        let stream = accept(&listener).await?;
        let shared = Arc::<Shared>::default();
        let service = Counter::new(service_fn(hello), shared.clone());
        let io = TokioIo::new(Stream::new(stream, shared.clone()));
        match setting.protocol {
            Protocol::Http2 => {
                let builder = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(Told::new(builder.serve_connection(io, service), shared));
            }
            Protocol::Auto => return Err("it has to know what it speaks".into()),
            Protocol::Http1 => {
                let http1 = http1::Builder::new().serve_connection(io, service);
                tokio::spawn(Told::new(http1.with_upgrades(), shared));
            }
        }
    }
}
