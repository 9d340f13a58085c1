//! The executor for hyper's HTTP/2 connections: what it is given includes the tunnels.

use std::future::Future;

use hyper::rt::Executor;

use crate::tunnel::hold;

/// Spawns hyper's HTTP/2 streams on tokio, and keeps the request of an upgraded one in flight until its I/O is dropped.
///
/// Give it to `hyper::server::conn::http2::Builder` in an accept loop of your own; `graceful_server::serve` does. With another
/// executor everything works, but a WebSocket over HTTP/2 counts until its 200 only: its connection is then still waited for,
/// but `Idle`, and at the deadline nobody names it.
///
/// # References
/// RFC 8441 (extended CONNECT).
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        // Nobody waits for the task: it is counted by its request.
        match hold(task) {
            Ok(tunnel) => drop(tokio::spawn(tunnel)),
            // Boxed, for tokio moves a new task several times, to memory that it gets dearly: on lines of the cache of its own.
            Err(stream) => drop(tokio::spawn(Box::pin(stream))),
        }
    }
}
