//! `grpc.health.v1` by the phase: what gRPC clients and load balancers ask before they send a call.

mod latched;
mod watch;

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tonic::{
    codegen::{BoxFuture, StdError},
    server::NamedService,
};
use tonic_health::{pb::health_server::HealthServer, server::HealthReporter};
use tower_service::Service;

use self::latched::Latched;
use crate::{FailAt, Tracker};

/// The gRPC health service: what its reporter says while the service serves, and `NOT_SERVING` from lame duck on.
///
/// In order of events: `Check` and `Watch` answer with the status that was set by [`reporter`](Self::reporter), which for
/// the server as a whole (the empty name) is `SERVING` at first. From lame duck on they say `NOT_SERVING` for every name,
/// and what the program sets afterwards changes nothing; after [`Tracker::resume`] or [`Tracker::reclaim`] they say again
/// what was set last. When draining begins, every `Watch` has been told and ends, so that it does not hold the drain.
///
/// It is a tonic service: `Routes::new(GrpcHealth::new(tracker))`. For probes over plain HTTP there is
/// [`Health`](crate::Health).
///
/// ```
/// use graceful_layer::{GrpcHealth, Tracker};
/// use tonic::service::Routes;
///
/// let tracker = Tracker::new(); // `serve(..).with_tracker(tracker.clone())`
/// let health = GrpcHealth::new(tracker);
/// let reporter = health.reporter();
/// let routes = Routes::new(health);
/// # let _ = (reporter, routes);
/// ```
///
/// # References
/// [gRPC health checking protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md)
#[derive(Clone)]
pub struct GrpcHealth {
    tracker: Tracker,
    reporter: HealthReporter,
    server: HealthServer<Latched>,
}

impl GrpcHealth {
    /// The health of what `tracker` tracks.
    pub fn new(tracker: Tracker) -> Self {
        Self::with(tracker, HealthReporter::new(), FailAt::default())
    }

    fn with(tracker: Tracker, reporter: HealthReporter, fail_at: FailAt) -> Self {
        let latched = Latched::new(tracker.clone(), reporter.clone(), fail_at);
        Self {
            tracker,
            reporter,
            server: HealthServer::new(latched),
        }
    }

    /// Says from which phase on it is `NOT_SERVING`.
    pub fn fail_at(self, fail_at: FailAt) -> Self {
        Self::with(self.tracker, self.reporter, fail_at)
    }

    /// Whose phase it looks at.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Sets the status of services while they serve.
    pub fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = <HealthServer<Latched> as NamedService>::NAME;
}

impl<B> Service<Request<B>> for GrpcHealth
where
    B: Body<Error: Into<StdError> + Send> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.server, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.server.call(request)
    }
}

impl fmt::Debug for GrpcHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcHealth")
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}
