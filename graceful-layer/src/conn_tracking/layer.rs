//! `ConnTrackingLayer`: feeds a tracker, changes nothing.

use std::sync::Arc;

use tower::load::completion::CompleteOnResponse;
use tower_layer::Layer;

use super::ConnTracking;
use crate::{Tracker, source::Loose};

/// Counts the requests of any [`Service`](tower_service::Service) in a [`Tracker`].
///
/// When a request is over is said in tower's own idiom, by a
/// [`TrackCompletion`](tower::load::completion::TrackCompletion) that receives the
/// [`RequestGuard`](crate::RequestGuard): with the response, which is the default, or with whatever part of the
/// response the completion moves the guard into. For HTTP take [`CompleteOnBody`](crate::CompleteOnBody), which follows
/// the body to its last byte.
///
/// Inside of a [`GracefulLayer`](crate::GracefulLayer) or of `graceful_server::serve` with the same tracker it does not count, because the
/// request is counted there. Its completion receives a guard all the same.
///
/// What it does not do: say anything to clients. That is [`GracefulLayer`](crate::GracefulLayer)'s.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use graceful_layer::{ConnTrackingLayer, Tracker};
/// use tower::{Service, ServiceBuilder, service_fn};
///
/// let tracker = Tracker::new();
/// let mut service = ServiceBuilder::new()
///     .layer(ConnTrackingLayer::new(tracker.clone()))
///     .service(service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n + 1) }));
///
/// let answer = service.call(1);
/// assert_eq!(tracker.in_flight(), 1);
/// answer.await;
/// assert_eq!(tracker.in_flight(), 0);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnTrackingLayer<C = CompleteOnResponse> {
    loose: Arc<Loose>,
    completion: C,
}

impl ConnTrackingLayer {
    /// Counts each request until its response is there.
    pub fn new(tracker: Tracker) -> Self {
        Self::with_completion(tracker, CompleteOnResponse::default())
    }
}

impl<C> ConnTrackingLayer<C> {
    /// Counts each request until `completion` lets its guard go.
    pub fn with_completion(tracker: Tracker, completion: C) -> Self {
        let loose = Loose::new(tracker);
        Self { loose, completion }
    }

    /// What it counts.
    pub fn tracker(&self) -> &Tracker {
        self.loose.tracker()
    }
}

impl<S, C: Clone> Layer<S> for ConnTrackingLayer<C> {
    type Service = ConnTracking<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnTracking::loose(inner, self.loose.clone(), self.completion.clone())
    }
}
