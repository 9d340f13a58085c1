//! What does counting a request cost, beside what people use today?
//!
//! `cargo bench -p graceful-benches --bench middleware`. Each row is one call of a service that does nothing, with the body
//! of its answer taken to the end; the row `none` is what all of them have in common. `threads = 2` shows what a shared
//! counter costs when a second core wants it too.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{Bencher, black_box};
use graceful_layer::{CompleteOnBody, ConnTrackingLayer, GracefulLayer, Tracker};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};
use tower_http::metrics::InFlightRequestsLayer;

fn main() {
    divan::main();
}

#[derive(Clone)]
struct NoOp;

impl Service<Request<()>> for NoOp {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::from("hello"))))
    }
}

/// Calls the service on every thread, each with a clone of its own, as a server would.
fn run<S, B>(bencher: Bencher<'_, '_>, service: S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + Sync,
    B: Body,
{
    bencher
        .with_inputs(|| service.clone())
        .bench_refs(|service| {
            for _ in 0..100 {
                exchange(service);
            }
        });
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

#[divan::bench(threads = [1, 2])]
fn none(bencher: Bencher<'_, '_>) {
    run(bencher, NoOp);
}

#[divan::bench(threads = [1, 2])]
fn conn_tracking_layer(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        ConnTrackingLayer::with_completion(Tracker::new(), CompleteOnBody).layer(NoOp),
    );
}

#[divan::bench(threads = [1, 2])]
fn graceful_layer(bencher: Bencher<'_, '_>) {
    run(bencher, GracefulLayer::new().layer(NoOp));
}

#[divan::bench(threads = [1, 2])]
fn tower_http_in_flight_requests(bencher: Bencher<'_, '_>) {
    let (layer, _counter) = InFlightRequestsLayer::pair();
    run(bencher, layer.layer(NoOp));
}

#[divan::bench(threads = [1, 2])]
fn one_shared_atomic(bencher: Bencher<'_, '_>) {
    let count = Arc::new(AtomicUsize::new(0));
    run(
        bencher,
        NoOp.map_result(move |result| {
            count.fetch_add(1, Relaxed);
            count.fetch_sub(1, Relaxed);
            result
        }),
    );
}

#[divan::bench(threads = [1, 2])]
fn task_tracker(bencher: Bencher<'_, '_>) {
    let tracker = TaskTracker::new();
    run(
        bencher,
        NoOp.map_result(move |result| {
            drop(black_box(tracker.token()));
            result
        }),
    );
}
