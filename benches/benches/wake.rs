//! How long does it take to tell everybody?
//!
//! `cargo bench -p graceful-benches --bench wake [-- N …]`. N tasks on one thread wait for the end: as tracked connections, on
//! a `Notify`, on a `watch`, and with their wakers in a list, which is the least there can be. Measured are the call that tells
//! them, and the time from the call until all have run to their end.

use std::{
    future::{Future, pending, poll_fn},
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use graceful_layer::{Peer, Tracker};
use tokio::{
    runtime::Builder,
    sync::{Notify, watch},
    task::yield_now,
};

const ROUNDS: usize = 5;

/// The call, and the time until all have run.
type Took = (Duration, Duration);
type Round = fn(usize) -> io::Result<Took>;

fn main() -> io::Result<()> {
    let mut sizes: Vec<usize> = std::env::args().filter_map(|n| n.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    let rivals: [(&str, Round); 4] = [
        ("tracker", tracker),
        ("Notify", notify),
        ("watch", watched),
        ("floor", listed),
    ];
    let mut out = io::stdout();
    for n in sizes {
        writeln!(out, "{n} tasks, median of {ROUNDS} rounds:")?;
        let mut rounds = vec![Vec::new(); rivals.len()];
        for _ in 0..ROUNDS {
            for ((_, round), took) in rivals.iter().zip(&mut rounds) {
                took.push(round(n)?);
            }
        }
        for ((name, _), took) in rivals.iter().zip(&mut rounds) {
            let call = median(took.iter().map(|took| took.0));
            let all = median(took.iter().map(|took| took.1));
            writeln!(out, "  {name:<8} call {call:>9.2?}   all ran {all:>9.2?}")?;
        }
    }
    Ok(())
}

fn median(took: impl Iterator<Item = Duration>) -> Duration {
    let mut took: Vec<_> = took.collect();
    took.sort();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

fn tracker(n: usize) -> io::Result<Took> {
    let tracker = Tracker::new();
    let connection = || {
        let connection = tracker.open(Peer::Unknown).hold(pending::<()>());
        async {
            let _ = connection.await;
        }
    };
    measure(n, connection, || tracker.abort())
}

fn notify(n: usize) -> io::Result<Took> {
    let notify = Arc::new(Notify::new());
    let waiter = || {
        let notify = notify.clone();
        async move { notify.notified().await }
    };
    measure(n, waiter, || notify.notify_waiters())
}

fn watched(n: usize) -> io::Result<Took> {
    let (sender, _) = watch::channel(());
    let waiter = || {
        let mut receiver = sender.subscribe();
        async move { drop(receiver.changed().await) }
    };
    measure(n, waiter, || {
        sender.send_replace(());
    })
}

fn listed(n: usize) -> io::Result<Took> {
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let waiter = || {
        let (wakers, mut listed) = (wakers.clone(), false);
        poll_fn(move |cx| {
            if std::mem::replace(&mut listed, true) {
                return Poll::Ready(());
            }
            lock(&wakers).push(cx.waker().clone());
            Poll::Pending
        })
    };
    measure(n, waiter, || lock(&wakers).drain(..).for_each(Waker::wake))
}

fn lock(wakers: &Mutex<Vec<Waker>>) -> MutexGuard<'_, Vec<Waker>> {
    wakers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns `n` waiters, lets each of them wait, and tells them.
fn measure<F>(n: usize, waiter: impl Fn() -> F, tell: impl FnOnce()) -> io::Result<Took>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new_current_thread().build()?;
    let (waiting, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    Ok(runtime.block_on(async {
        for _ in 0..n {
            let (waiter, waiting, ended) = (waiter(), waiting.clone(), ended.clone());
            tokio::spawn(async move {
                waiting.fetch_add(1, Relaxed);
                waiter.await;
                ended.fetch_add(1, Relaxed);
            });
        }
        until(&waiting, n).await;
        let began = Instant::now();
        tell();
        let call = began.elapsed();
        until(&ended, n).await;
        (call, began.elapsed())
    }))
}

async fn until(count: &AtomicUsize, n: usize) {
    while count.load(Relaxed) < n {
        yield_now().await;
    }
}
