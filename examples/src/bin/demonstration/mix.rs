//! The load: many clients, each of which thinks, sends one request, and enters what became of it.
//!
//! The pace comes from the clients' think times and not from how fast the server answers, so the
//! load neither starves a slow server nor lets it off. Every client goes on until it finds the door
//! closed for good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use graceful_examples::load::{Call, Http1, Http2, Sample};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::kind::Kind;
use crate::ledger::Ledger;

/// Starts every client. The set is empty again when all of them were turned away after the stop.
pub(crate) fn start(server: SocketAddr, rate: u32, ledger: &Arc<Ledger>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let mut streams = Vec::new();
    for kind in Kind::ALL {
        for _ in 0..kind.clients(rate) {
            if kind.is_http2() {
                streams.push(kind);
            } else {
                clients.spawn(http1(kind, server, Arc::clone(ledger)));
            }
        }
    }
    // Dealt like cards, so that each connection has streams of both kinds.
    let connections = streams.len().div_ceil(STREAMS);
    for first in 0..connections {
        let dealt = streams.iter().copied().skip(first).step_by(connections);
        clients.spawn(http2(dealt.collect(), server, Arc::clone(ledger)));
    }
    clients
}

/// One HTTP/1.1 client with one connection at a time.
async fn http1(kind: Kind, server: SocketAddr, ledger: Arc<Ledger>) {
    let call = kind.call();
    let mut client = Http1::new(server, BOUND);
    let mut pace = Pace::new();
    loop {
        client.idle_until(pace.next()).await;
        if matches!(kind, Kind::Fresh | Kind::Late) {
            client.disconnect();
        }
        let sample = match kind {
            Kind::Late => late(&mut client, &call).await,
            _ => client.send(&call).await,
        };
        if ledger.enter(kind, sample).is_over() {
            break;
        }
    }
    ledger.enter_closes(kind, client.closes());
}

/// Connects, and sends when the server has long accepted.
async fn late(client: &mut Http1, call: &Call) -> Sample {
    let started = Instant::now();
    if let Err(loss) = client.connect().await {
        return Sample::new(started, call, Err(loss));
    }
    sleep(LATE).await;
    client.send(call).await
}

/// The streams of one HTTP/2 connection at a time.
async fn http2(kinds: Vec<Kind>, server: SocketAddr, ledger: Arc<Ledger>) {
    let client = Http2::new(server, BOUND);
    let streams = kinds
        .into_iter()
        .map(|kind| stream(kind, client.clone(), &ledger));
    join_all(streams).await;
    ledger.enter_closes(Kind::Http2, client.closes().await);
}

async fn stream(kind: Kind, client: Http2, ledger: &Ledger) {
    let call = kind.call();
    let mut pace = Pace::new();
    loop {
        sleep_until(pace.next().into()).await;
        if ledger.enter(kind, client.send(&call).await).is_over() {
            break;
        }
    }
}

/// Moments 0 to 100 ms apart. One that is late is made up for, but never more than one pause, so
/// that a stall is not followed by a flood.
struct Pace(Instant);

impl Pace {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn next(&mut self) -> Instant {
        let pause = Duration::from_micros(fastrand::u64(0..=100_000));
        let behind = Instant::now().checked_sub(Duration::from_millis(100));
        self.0 = behind.map_or(self.0, |behind| self.0.max(behind)) + pause;
        self.0
    }
}

const BOUND: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_millis(20);
const STREAMS: usize = 16;
