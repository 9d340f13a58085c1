//! hyper as it comes, with hyper-util's `GracefulShutdown`, and with each of this project's wrappers alone.

use std::{pin::pin, sync::Arc};

use graceful_benches::{floor, service::hello};
use graceful_layer::Tracker;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tower::Layer;
use tower_http::metrics::InFlightRequestsLayer;

use crate::{BoxError, Protocol, Setting, say_ready, terminated, tokio_listener};

/// An accept loop and a task per connection; it ends when the process is killed.
pub(crate) async fn bare(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    say_ready()?;
    loop {
        let io = accepted(listener.accept().await?.0)?;
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

/// The same with `GracefulShutdown`, which a user of hyper-util has.
pub(crate) async fn graceful(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    say_ready()?;
    let graceful = GracefulShutdown::new();
    let mut terminated = pin!(terminated());
    loop {
        let io = tokio::select! {
            accepted_ = listener.accept() => accepted(accepted_?.0)?,
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

/// The same with the least that can count, be told and know its stream.
pub(crate) async fn floor(setting: Setting) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    say_ready()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = Arc::<floor::Shared>::default();
        let inner = service_fn(hello);
        let service = floor::Counter {
            inner,
            shared: shared.clone(),
        };
        let inner = stream;
        let io = TokioIo::new(floor::Stream {
            inner,
            shared: shared.clone(),
        });
        match setting.protocol {
            Protocol::Http2 => {
                let http = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
                tokio::spawn(floor::Told {
                    inner: http,
                    shared,
                    waker: None,
                });
            }
            _ => {
                let http = http1::Builder::new().serve_connection(io, service);
                let inner = http.with_upgrades();
                tokio::spawn(floor::Told {
                    inner,
                    shared,
                    waker: None,
                });
            }
        }
    }
}

/// `graceful_server` sets the option too, so nobody is given the system call.
fn accepted(stream: TcpStream) -> std::io::Result<TokioIo<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// What [`with`] knows.
pub(crate) const WRAPPERS: [&str; 6] = [
    "with_upgrades",
    "floor::Counter",
    "InFlightRequests",
    "Connection::io",
    "Connection::service",
    "Connection::watch",
];

/// hyper's loop with one wrapper of a tracked connection, and without the others: what each of them costs, and what
/// tower-http's counter does in the place of the service's. HTTP/1 only.
pub(crate) async fn with(wrapper: &str) -> Result<(), BoxError> {
    let listener = tokio_listener()?;
    let (tracker, http1) = (Tracker::new(), http1::Builder::new());
    say_ready()?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let conn = tracker.open(peer);
        match wrapper {
            "with_upgrades" => {
                let http = http1.serve_connection(TokioIo::new(stream), service_fn(hello));
                tokio::spawn(http.with_upgrades());
            }
            "floor::Counter" => {
                let (inner, shared) = (service_fn(hello), Arc::default());
                let service = floor::Counter { inner, shared };
                let http = http1.serve_connection(TokioIo::new(stream), service);
                tokio::spawn(http.with_upgrades());
            }
            "InFlightRequests" => {
                let (in_flight, _count) = InFlightRequestsLayer::pair();
                let service = in_flight.layer(tower::service_fn(hello));
                let service = TowerToHyperService::new(service);
                let http = http1.serve_connection(TokioIo::new(stream), service);
                tokio::spawn(http.with_upgrades());
            }
            "Connection::io" => {
                let io = TokioIo::new(conn.io(stream));
                tokio::spawn(
                    http1
                        .serve_connection(io, service_fn(hello))
                        .with_upgrades(),
                );
            }
            "Connection::service" => {
                let service = conn.service(tower::service_fn(hello));
                let http = http1.serve_connection(TokioIo::new(stream), service);
                tokio::spawn(http.with_upgrades());
            }
            "Connection::watch" => {
                let http = http1.serve_connection(TokioIo::new(stream), service_fn(hello));
                tokio::spawn(conn.watch(http.with_upgrades()));
            }
            _ => return Err(format!("{wrapper} is none of the wrappers").into()),
        }
    }
}
