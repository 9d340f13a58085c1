//! What the end-to-end tests share: the server as a process, a raw connection, and loops of requests that are counted.
//!
//! Real processes, real sockets, every port chosen by the system. Nothing here depends on how long something takes: a
//! wait ends with what it waits for, and its bound is there to fail instead of hanging.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "what a test did not get is its failure"
)]

pub(crate) mod ctl;
pub(crate) mod deployed;
pub(crate) mod kills;
pub(crate) mod loops;
pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod supervised;
pub(crate) mod systemd;
pub(crate) mod tls;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use graceful_examples::load::{Answer, Call, Expect, Http1};

/// Longer than anything takes that is to happen at all.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// One GET on a connection of its own; the answer whatever its status.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Answer {
    let call = Call::get(path.to_owned(), Expect::body(""));
    answer(server, &call).await
}

/// One POST without a body.
pub(crate) async fn post(server: SocketAddr, path: &str) -> Answer {
    let get = Call::get(path.to_owned(), Expect::body(""));
    let call = Call {
        method: http::Method::POST,
        ..get
    };
    answer(server, &call).await
}

async fn answer(server: SocketAddr, call: &Call) -> Answer {
    let answer = Http1::new(server, BOUND).answer(call).await;
    answer.unwrap_or_else(|loss| panic!("{} {}: {loss:?}", call.method, call.path))
}

pub(crate) fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

pub(crate) fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Waits until `done` is true; `what` says what for if it never is.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(BOUND, wait).await;
    waited.unwrap_or_else(|_| panic!("not within {BOUND:?}: {what}"));
}
