//! Closed loops of requests, each outcome counted. A loop ends when it is told, or when nobody listens any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graceful_examples::load::{Call, Http1, Http2, Outcome, Sample};
use tokio::task::JoinSet;

use super::{BOUND, until};

/// As many as the measurements of other servers were made with.
pub(crate) const LOOPS: usize = 24;

pub(crate) struct Loops {
    tasks: JoinSet<Tally>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

/// How the requests of all loops ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    /// Neither: what no test forgives.
    pub(crate) lost: BTreeMap<String, u64>,
}

impl Loops {
    /// Posts small bodies on kept-alive connections, one after the other without a pause.
    pub(crate) fn keep_alive(server: SocketAddr) -> Self {
        Self::run(server, |n| Call::count(100 + n), |_| true)
    }

    /// The same, but each loop ends when its connection is announced to be.
    pub(crate) fn until_told(server: SocketAddr, call: Call) -> Self {
        Self::run(
            server,
            |_| call.clone(),
            |client| client.closes().announced == 0,
        )
    }

    /// A new connection for every request.
    pub(crate) fn fresh(server: SocketAddr) -> Self {
        Self::run(
            server,
            |_| Call::identity(),
            |client| {
                client.disconnect();
                true
            },
        )
    }

    /// Posts on streams of HTTP/2 connections, one connection to each loop.
    pub(crate) fn http2(server: SocketAddr) -> Self {
        let client = || Http2::new(server, BOUND);
        Self::of(client, |n| Call::count(100 + n), |_| true)
    }

    /// Kept-alive connections again, half of them asking and half of them posting, each with a pause before every request:
    /// long enough for its connection to be idle, short enough for many requests.
    pub(crate) fn paced(server: SocketAddr, pause: Duration) -> Self {
        let client = || Paced {
            client: Http1::new(server, BOUND),
            pause,
        };
        let call = |n| match n % 2 {
            0 => Call::identity(),
            _ => Call::count(100 + n),
        };
        Self::of(client, call, |_| true)
    }

    pub(crate) fn run(
        server: SocketAddr,
        call: impl Fn(usize) -> Call,
        goes_on: fn(&mut Http1) -> bool,
    ) -> Self {
        Self::of(|| Http1::new(server, BOUND), call, goes_on)
    }

    fn of<C: Client>(
        client: impl Fn() -> C,
        call: impl Fn(usize) -> Call,
        goes_on: fn(&mut C) -> bool,
    ) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut tasks = JoinSet::new();
        for n in 0..LOOPS {
            tasks.spawn(turn(
                client(),
                call(n),
                goes_on,
                Arc::clone(&stop),
                Arc::clone(&answered),
            ));
        }
        Self {
            tasks,
            stop,
            answered,
        }
    }

    /// Waits for `n` more answers.
    pub(crate) async fn answer(&self, n: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + n;
        let what = format!("{n} more answers");
        until(&what, async || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Ends the loops after the request each is at, and says how all requests ended.
    pub(crate) async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until every loop has ended by itself.
    pub(crate) async fn ended(mut self) -> Tally {
        let mut all = Tally::default();
        while let Some(tally) = self.tasks.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }
}

/// What sends the requests of one loop.
trait Client: Send + 'static {
    fn send(&mut self, call: &Call) -> impl Future<Output = Sample> + Send;
}

impl Client for Http1 {
    async fn send(&mut self, call: &Call) -> Sample {
        Self::send(self, call).await
    }
}

impl Client for Http2 {
    async fn send(&mut self, call: &Call) -> Sample {
        Self::send(self, call).await
    }
}

struct Paced {
    client: Http1,
    pause: Duration,
}

impl Client for Paced {
    async fn send(&mut self, call: &Call) -> Sample {
        self.client.idle_until(Instant::now() + self.pause).await;
        self.client.send(call).await
    }
}

async fn turn<C: Client>(
    mut client: C,
    call: Call,
    goes_on: fn(&mut C) -> bool,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    while tally.refused == 0 {
        let sample = client.send(&call).await;
        match sample.outcome {
            Outcome::Answered => {
                tally.answered += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused => tally.refused += 1,
            outcome => {
                let how = format!("{}: {}", outcome.label(), sample.detail);
                *tally.lost.entry(how).or_default() += 1;
            }
        }
        if !goes_on(&mut client) || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    tally
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        for (how, n) in other.lost {
            *self.lost.entry(how).or_default() += n;
        }
    }

    pub(crate) fn assert_nothing_lost(&self) {
        assert!(
            self.lost.is_empty(),
            "lost: {:#?}, answered: {}",
            self.lost,
            self.answered
        );
    }

    /// For a server that was there all the time.
    pub(crate) fn assert_all_answered(&self) {
        self.assert_nothing_lost();
        assert_eq!(self.refused, 0, "refused; answered: {}", self.answered);
    }
}
