//! `bench-server KIND PROTOCOL WORKERS [at-once]`: one of the servers that are compared.
//!
//! The listener is standard input, so that whoever starts a server knows its port, and may start a second one on it. When it accepts,
//! it writes its process number to standard output.
//! KIND is one of those in `match` below; PROTOCOL is `http1`, `http2` or `auto`; WORKERS threads serve. SIGTERM stops it
//! as gracefully as it can; `at-once` leaves no grace to idle connections, which the others do not know either.

mod axum;
mod graceful;
mod hyper;
mod last;
mod raw;

use std::{error::Error, io, io::Write, net::TcpListener, os::fd::AsFd, time::Duration};

use graceful_server::Grace;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

type BoxError = Box<dyn Error>;

/// How a server is to be set up.
#[derive(Clone, Copy, Debug)]
struct Setting {
    protocol: Protocol,
    workers: usize,
    grace: Grace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Auto,
    Http1,
    Http2,
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some((kind, setting)) = parse(&arguments) else {
        return Err(
            "usage: bench-server KIND auto|http1|http2 WORKERS [at-once] <&LISTENER".into(),
        );
    };
    graceful_benches::process::raise_limit()?;
    if kind == "raw" {
        return raw::run(listener()?);
    }
    let runtime = runtime(setting.workers)?;
    runtime.block_on(run(kind, setting))?;
    // A runtime that waits for its blocking threads would be what is measured.
    runtime.shutdown_background();
    Ok(())
}

fn parse(arguments: &[String]) -> Option<(&str, Setting)> {
    let [kind, protocol, workers, rest @ ..] = arguments else {
        return None;
    };
    let setting = Setting {
        protocol: match protocol.as_str() {
            "auto" => Protocol::Auto,
            "http1" => Protocol::Http1,
            "http2" => Protocol::Http2,
            _ => return None,
        },
        workers: workers.parse().ok()?,
        grace: match rest {
            [at_once] if at_once == "at-once" => Grace::default()
                .with_idle_grace(Duration::ZERO)
                .with_idle_spread(Duration::ZERO),
            [] => Grace::default(),
            _ => return None,
        },
    };
    Some((kind, setting))
}

async fn run(kind: &str, setting: Setting) -> Result<(), BoxError> {
    match kind {
        "hyper" => hyper::bare(setting).await,
        "hyper-util" => hyper::graceful(setting).await,
        "floor" => hyper::floor(setting).await,
        "axum" => axum::bare().await,
        "axum+in-flight" => axum::with_in_flight().await,
        "axum+layer" => axum::with_layer(setting).await,
        "axum-server" => axum::axum_server().await,
        "last" => last::run().await,
        "graceful" => graceful::serve_handler(setting).await,
        "graceful+axum" => graceful::serve_router(setting).await,
        wrapper if hyper::WRAPPERS.contains(&wrapper) => hyper::with(wrapper).await,
        _ => Err(format!("{kind} is none of the servers").into()),
    }
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    match workers {
        1 => Builder::new_current_thread().enable_all().build(),
        n => Builder::new_multi_thread()
            .worker_threads(n)
            .enable_all()
            .build(),
    }
}

fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn tokio_listener() -> io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listener()?)
}

async fn terminated() -> io::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

/// One line, its process number, when it accepts.
fn say_ready() -> io::Result<()> {
    writeln!(io::stdout(), "{}", std::process::id())
}
