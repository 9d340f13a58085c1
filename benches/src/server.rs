//! What every server of a comparison has: how it is told what to do, its listener, its runtime, its end.
//!
//! `serve-KIND PROTOCOL WORKERS [at-once]`, each a program of its own, as a user's is: in one program the compiler would
//! share, or not, what the others need as well. The listener is standard input, so that whoever starts a server knows its port,
//! and may start a second one on it. When it accepts, it writes its process number to standard output. PROTOCOL is `http1`, `http2`
//! or `auto`; WORKERS threads serve. SIGTERM stops it as gracefully as it can; `at-once` leaves no grace to idle connections,
//! which the others do not know either.

use std::{error::Error, io, io::Write, net::TcpListener, os::fd::AsFd, time::Duration};

use graceful_server::Grace;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

/// Whatever keeps a server from serving.
pub type BoxError = Box<dyn Error>;

/// How a server is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What it speaks.
    pub protocol: Protocol,
    workers: usize,
    /// For those that know one.
    pub grace: Grace,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Whatever the client does.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// The whole of such a program: `serve` to its end, in a runtime as the command line wants it.
///
/// # Errors
/// A command line that says nothing, and those of `serve`.
pub fn start<F>(serve: impl FnOnce(Setting) -> F) -> Result<(), BoxError>
where
    F: Future<Output = Result<(), BoxError>>,
{
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(setting) = parse(&arguments) else {
        return Err("usage: serve-KIND auto|http1|http2 WORKERS [at-once] <&LISTENER".into());
    };
    crate::process::raise_limit()?;
    let runtime = runtime(setting.workers)?;
    runtime.block_on(serve(setting))?;
    // A runtime that waits for its blocking threads would be what is measured.
    runtime.shutdown_background();
    Ok(())
}

fn parse(arguments: &[String]) -> Option<Setting> {
    let [protocol, workers, rest @ ..] = arguments else {
        return None;
    };
    Some(Setting {
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
    })
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

/// The one that it was given.
///
/// # Errors
/// Standard input is none.
pub fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The same for tokio.
///
/// # Errors
/// Those of [`listener`] and of the runtime.
pub fn tokio_listener() -> io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listener()?)
}

/// `graceful_server` sets the option too, so nobody is given the system call.
///
/// # Errors
/// The connection has gone.
pub async fn accept(listener: &tokio::net::TcpListener) -> io::Result<TcpStream> {
    let stream = listener.accept().await?.0;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits for SIGTERM, which does nothing else from here on.
///
/// # Errors
/// The signal cannot be had.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}

/// One line, its process number, when it accepts.
///
/// # Errors
/// Nobody reads it.
pub fn say_ready() -> io::Result<()> {
    writeln!(io::stdout(), "{}", std::process::id())
}
