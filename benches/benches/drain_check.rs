//! What does a connection pay at every poll for being able to hear of a drain?
//!
//! `cargo bench -p graceful-benches --bench drain_check`. Each row polls 64 futures a thread, many times; each waits for
//! a drain that does not come. `nothing` is a future that waits for nothing. Items per second are polls.

use std::{
    future::{Future, pending},
    pin::Pin,
    task::{Context, Waker},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use graceful_layer::{Peer, Tracker};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

fn main() {
    divan::main();
}

const FUTURES: usize = 64;
/// Long enough that two threads do meet.
const POLLS: usize = 20_000;

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn run<'a>(bencher: Bencher<'_, '_>, make: impl Fn() -> Waiting<'a> + Sync) {
    bencher
        .counter(ItemsCount::new(FUTURES * POLLS))
        .with_inputs(|| (0..FUTURES).map(|_| make()).collect::<Vec<_>>())
        .bench_refs(|futures| {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..POLLS {
                for future in futures.iter_mut() {
                    let _ = black_box(future.as_mut().poll(&mut cx));
                }
            }
        });
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn nothing(bencher: Bencher<'_, '_>) {
    run(bencher, || Box::pin(pending()));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn connection(bencher: Bencher<'_, '_>) {
    let tracker = Tracker::new();
    run(bencher, || {
        let connection = tracker.open(Peer::Unknown).hold(pending());
        Box::pin(async {
            let _ = connection.await;
        })
    });
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn watch_changed(bencher: Bencher<'_, '_>) {
    let (sender, _) = watch::channel(());
    run(bencher, || {
        let mut receiver = sender.subscribe();
        Box::pin(async move { drop(receiver.changed().await) })
    });
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn notify(bencher: Bencher<'_, '_>) {
    let notify = Notify::new();
    run(bencher, || Box::pin(notify.notified()));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn cancellation_token(bencher: Bencher<'_, '_>) {
    let token = CancellationToken::new();
    run(bencher, || Box::pin(token.clone().cancelled_owned()));
}
