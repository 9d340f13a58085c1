//! Answers to probes: whether to send more requests here, and whether to let the process live.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use tower_service::Service;

use crate::{Phase, Tracker};

/// From which phase on a service says that it is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailAt {
    /// At the signal: for load balancers that find out by probing.
    #[default]
    LameDuck,
    /// When it accepts no more: for a Kubernetes service that may have no other endpoint. There a pod that still says that
    /// it is ready keeps being sent traffic while all are ending, and one that does not is removed at once.
    ///
    /// # References
    /// [KEP-1669: proxy terminating endpoints](https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints)
    Draining,
}

impl FailAt {
    pub(crate) fn fails(self, phase: Phase) -> bool {
        match self {
            Self::LameDuck => phase >= Phase::LameDuck,
            Self::Draining => phase >= Phase::Draining,
        }
    }
}

/// A tower service that answers probes by the phase: 200 or 503, with the phase as JSON.
///
/// Mount it where the probe asks: `Router::new().route_service("/ready", Health::ready(tracker.clone()))`. On the same
/// listener as the service it is drained like any request, and neither refused nor waited for longer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use graceful_layer::{Health, Tracker};
/// use http::{Request, StatusCode};
/// use tower::Service;
///
/// let tracker = Tracker::new();
/// let mut ready = Health::ready(tracker);
/// let Ok(response) = ready.call(Request::new(())).await;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert_eq!(response.body(), "{\"phase\":\"serving\"}\n");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Health {
    tracker: Tracker,
    fail_at: Option<FailAt>,
}

impl Health {
    /// Readiness: 503 from lame duck on.
    pub fn ready(tracker: Tracker) -> Self {
        Self {
            tracker,
            fail_at: Some(FailAt::default()),
        }
    }

    /// Liveness: 200 to the end. A process that drains must not be killed for it.
    pub fn live(tracker: Tracker) -> Self {
        Self {
            tracker,
            fail_at: None,
        }
    }

    /// Says from which phase on a readiness probe fails.
    pub fn fail_at(self, fail_at: FailAt) -> Self {
        Self {
            fail_at: self.fail_at.map(|_| fail_at),
            ..self
        }
    }

    fn status(&self, phase: Phase) -> StatusCode {
        if self.fail_at.is_some_and(|fail_at| fail_at.fails(phase)) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    }
}

impl<B> Service<Request<B>> for Health {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let phase = self.tracker.phase();
        let mut response = Response::new(format!("{{\"phase\":\"{phase}\"}}\n"));
        *response.status_mut() = self.status(phase);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}
