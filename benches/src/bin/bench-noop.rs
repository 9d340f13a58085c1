//! `bench-noop LAYER CALLS`: calls a service that does nothing, so many times, for counting instructions.

use std::{
    convert::Infallible,
    error::Error,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use graceful_benches::{floor::Counter, service::NoOp};
use graceful_layer::{CompleteOnBody, ConnTrackingLayer, GracefulLayer, Tracker};
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};
use tower_http::metrics::InFlightRequestsLayer;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [layer, calls] = &arguments[..] else {
        return Err("usage: bench-noop LAYER CALLS".into());
    };
    let calls = calls.parse()?;
    match layer.as_str() {
        "none" => run(NoOp, calls),
        "GracefulLayer" => run(GracefulLayer::new().layer(NoOp), calls),
        "Connection::service" => {
            let tracker = Tracker::new();
            let connection = tracker.open(graceful_layer::Peer::Unix);
            run(connection.service(NoOp), calls);
        }
        "ConnTrackingLayer" => {
            let layer = ConnTrackingLayer::with_completion(Tracker::new(), CompleteOnBody);
            run(layer.layer(NoOp), calls);
        }
        "floor" => run(Counter::new(NoOp, Arc::default()), calls),
        "InFlightRequests" => {
            let (layer, _count) = InFlightRequestsLayer::pair();
            run(layer.layer(NoOp), calls);
        }
        _ => return Err(format!("{layer} is none of the layers").into()),
    }
    Ok(())
}

fn run<S, B>(mut service: S, calls: usize)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let future = pin!(service.call(std::hint::black_box(Request::new(()))));
        if let Poll::Ready(Ok(response)) = future.poll(&mut cx) {
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
                std::hint::black_box(frame.is_ok());
            }
        }
    }
}
