//! The call of the inner service: at once on HTTP/1, in the stream's own task on HTTP/2.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The response future of the inner service, or the inner service with the request that it is still to be called with.
    #[must_use = "futures do nothing unless polled"]
    pub struct Called<S: Service<Req>, Req> {
        #[pin]
        state: State<S, Req>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S: Service<Req>, Req> {
        Waiting { service: S, request: Option<Req> },
        Called { #[pin] future: S::Future },
    }
}

impl<S: Service<Req> + Clone, Req> Called<S, Req> {
    /// A clone of `service`, and whether it is ready.
    ///
    /// The poll has no waker, which is correct because a service that is not ready is polled again with one.
    #[inline]
    pub(super) fn ready(service: &S) -> (S, Poll<Result<(), S::Error>>) {
        let mut one = service.clone();
        let ready = one.poll_ready(&mut Context::from_waker(Waker::noop()));
        (one, ready)
    }

    #[inline]
    pub(super) fn now(future: S::Future) -> Self {
        Self {
            state: State::Called { future },
        }
    }

    /// The first poll makes `service` ready and calls it.
    #[inline]
    pub(super) fn later(service: S, request: Req) -> Self {
        Self {
            state: State::Waiting {
                service,
                request: Some(request),
            },
        }
    }
}

impl<S: Service<Req>, Req> Called<S, Req> {
    /// Calls the service as soon as it is ready. Apart, because on HTTP/1 almost no request gets here.
    #[inline(never)]
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut state = self.project().state;
        if let Projected::Waiting { service, request } = state.as_mut().project() {
            ready!(service.poll_ready(cx))?;
            let Some(request) = request.take() else {
                return Poll::Pending;
            };
            let future = service.call(request);
            state.set(State::Called { future });
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Service<Req>, Req> Future for Called<S, Req> {
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Projected::Called { future } = self.as_mut().project().state.project() {
                return future.poll(cx);
            }
            ready!(self.as_mut().poll_call(cx))?;
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Called<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Called").finish_non_exhaustive()
    }
}
