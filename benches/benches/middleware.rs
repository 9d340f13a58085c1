//! What does counting a request cost, beside what people use today?
//!
//! `cargo bench -p graceful-benches --bench middleware`. Each row is a hundred thousand calls of a service that does nothing,
//! with the body of its answer taken to the end; the row `none` is what all of them have in common. `threads = 2` shows what a
//! shared counter costs when a second core wants it too.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use graceful_benches::{floor::Counter, service::NoOp};
use graceful_layer::{CompleteOnBody, ConnTrackingLayer, GracefulLayer, Peer, Tracker};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};
use tower_http::metrics::InFlightRequestsLayer;

fn main() {
    divan::main();
}

/// Long enough that two threads do meet.
const CALLS: u32 = 100_000;

/// Calls the service on every thread, each with a clone of its own, as a server would.
fn run<S, B>(bencher: Bencher<'_, '_>, service: S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + Sync,
    B: Body,
{
    run_each(bencher, || service.clone());
}

fn run_each<S, B>(bencher: Bencher<'_, '_>, make: impl Fn() -> S + Sync)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    bencher
        .counter(ItemsCount::new(CALLS))
        .with_inputs(make)
        .bench_refs(|service| (0..CALLS).for_each(|_| exchange(service)));
}

fn exchange<S, B>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let future = pin!(service.call(black_box(Request::new(()))));
    if let Poll::Ready(Ok(response)) = future.poll(&mut cx) {
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            black_box(frame.is_ok());
        }
    }
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn none(bencher: Bencher<'_, '_>) {
    run(bencher, NoOp);
}

/// The least that can count and name, each connection for itself.
#[divan::bench(threads = [1, 2], sample_size = 1)]
fn floor(bencher: Bencher<'_, '_>) {
    run_each(bencher, || Counter::new(NoOp, Arc::default()));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn conn_tracking_layer(bencher: Bencher<'_, '_>) {
    let layer = ConnTrackingLayer::with_completion(Tracker::new(), CompleteOnBody);
    run(bencher, layer.layer(NoOp));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn graceful_layer(bencher: Bencher<'_, '_>) {
    run(bencher, GracefulLayer::new().layer(NoOp));
}

/// As `graceful_server` has it: each connection counts for itself.
#[divan::bench(threads = [1, 2], sample_size = 1)]
fn connection_service(bencher: Bencher<'_, '_>) {
    let tracker = Tracker::new();
    run_each(bencher, || tracker.open(Peer::Unknown).service(NoOp));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn tower_http_in_flight_requests(bencher: Bencher<'_, '_>) {
    let (layer, _counter) = InFlightRequestsLayer::pair();
    run(bencher, layer.layer(NoOp));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn one_shared_atomic(bencher: Bencher<'_, '_>) {
    let count = Arc::new(AtomicUsize::new(0));
    run_beside(bencher, move || {
        count.fetch_add(1, Relaxed);
        count.fetch_sub(1, Relaxed);
    });
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn task_tracker(bencher: Bencher<'_, '_>) {
    let tracker = TaskTracker::new();
    run_beside(bencher, move || drop(black_box(tracker.token())));
}

#[divan::bench(threads = [1, 2], sample_size = 1)]
fn watch_clone(bencher: Bencher<'_, '_>) {
    let (_sender, receiver) = watch::channel(());
    run_beside(bencher, move || drop(black_box(receiver.clone())));
}

/// A guard that lives only for a moment of the call: less than what would be right, so that a rival has no wrapper to pay for.
fn run_beside(bencher: Bencher<'_, '_>, guard: impl Fn() + Clone + Sync) {
    let service =
        ServiceExt::<Request<()>>::map_response(NoOp, move |response: Response<Full<Bytes>>| {
            guard();
            response
        });
    run(bencher, service);
}
