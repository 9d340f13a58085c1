//! Calls of tonic's own client while servers shut down one after the other: each call that reaches the server is served.
//!
//! `SHUTDOWNS=250 cargo test --release -p graceful-server --test grpc_shutdowns -- --nocapture --include-ignored` is the
//! long run: at least 20,000 calls, under this server and under tonic's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failure here fails the test, and its figures are printed"
)]

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use grpc::{Client, Sample};
use support::{BOUND, Server};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{
    Code, Status,
    service::Routes,
    transport::{Channel, Endpoint, server::TcpIncoming},
};

const CHANNELS: usize = 4;
const LOOPS_EACH: usize = 4;

/// How calls ended: the number of each kind. Only calls of the first kind reached a handler.
#[derive(Debug, Default)]
struct Tally {
    served: u64,
    /// The client could not connect any more.
    refused: u64,
    /// hyper's client had queued the call when its connection ended.
    queued: u64,
    /// The client opened the stream after it had sent its PONG, so it is above the last id of the second GOAWAY (RFC 9113
    /// §6.8). tonic's client does that: GOAWAY does not stop it.
    too_late: u64,
    lost: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns whether the loop sends another call.
    fn note(&mut self, outcome: Result<String, Status>) -> bool {
        let Err(status) = outcome else {
            self.served += 1;
            return true;
        };
        let text = describe(&status);
        match status.code() {
            Code::Unavailable if text.contains("onnect") => self.refused += 1,
            Code::Cancelled if text.contains("connection ") => self.queued += 1,
            Code::Internal if text.contains("not a result of an error") => self.too_late += 1,
            _ => *self.lost.entry(text).or_default() += 1,
        }
        self.refused == 0
    }

    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.queued += other.queued;
        self.too_late += other.too_late;
        for (kind, n) in other.lost {
            *self.lost.entry(kind).or_default() += n;
        }
    }

    fn assert_nothing_lost(&self, server: &str, shutdowns: u32) {
        println!("{server}: {shutdowns} shutdowns, {self:?}");
        assert!(self.served > 10 * u64::from(shutdowns), "{self:?}");
        assert!(self.lost.is_empty(), "{self:?}");
    }
}

fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text += &format!(" < {error}");
        source = error.source();
    }
    text
}

async fn calls(channel: Channel, first: u64) -> Tally {
    let mut tally = Tally::default();
    for n in first.. {
        let call = Client::new(channel.clone()).slow(n % 4);
        let outcome = timeout(BOUND, call).await.expect("an end in time");
        if !tally.note(outcome) {
            break;
        }
    }
    tally
}

/// A load on the server at `addr` that ends when it accepts no more, and `stop` in the middle of it.
async fn shut_down_under_load(addr: SocketAddr, nth: u32, stop: impl FnOnce()) -> Tally {
    let mut loops = JoinSet::new();
    for _ in 0..CHANNELS {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        let channel = endpoint.connect_lazy();
        for n in 0..LOOPS_EACH {
            loops.spawn(calls(channel.clone(), n as u64));
        }
    }
    // At another moment each time.
    sleep(Duration::from_millis(200 + u64::from(nth * 7 % 50))).await;
    stop();
    let mut all = Tally::default();
    while let Some(tally) = loops.join_next().await {
        all.add(tally.unwrap());
    }
    all
}

fn shutdowns() -> u32 {
    let wanted = std::env::var("SHUTDOWNS");
    wanted.map_or(12, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_tonic_client_that_reaches_the_server_is_served() {
    let mut all = Tally::default();
    for nth in 0..shutdowns() {
        let server = Server::start(Routes::new(Sample).into_axum_router(), |serve| serve);
        let stop = || server.stop.fire();
        let tally = shut_down_under_load(server.addr, nth, stop).await;
        let report = server.stopped().await;
        assert!(report.is_clean() && report.failed == 0, "{report}");
        assert_eq!(report.requests, tally.served, "{tally:?}: {report}");
        all.add(tally);
    }
    all.assert_nothing_lost("graceful_server::serve", shutdowns());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for the comparison: tonic's own server"]
async fn the_same_under_the_server_of_tonic() {
    let mut all = Tally::default();
    for nth in 0..shutdowns() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .add_service(Sample)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
                let _ = stopped.await;
            });
        let server = tokio::spawn(server);
        all.add(shut_down_under_load(addr, nth, || _ = stop.send(())).await);
        server.await.unwrap().unwrap();
    }
    all.assert_nothing_lost("tonic", shutdowns());
}
