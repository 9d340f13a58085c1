//! A service that is called as soon as it is ready, which for almost all services is at once.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

pin_project! {
    /// The answer of a service, and the wait until it can be asked, if it makes one wait.
    #[must_use = "futures do nothing unless polled"]
    pub struct Called<S: Service<Req>, Req> {
        #[pin]
        state: State<S, Req>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S: Service<Req>, Req> {
        // Ready at once: the request was moved to where it is handled and nowhere else.
        Now { #[pin] future: S::Future },
        Later { future: Pin<Box<Oneshot<S, Req>>> },
    }
}

impl<S: Service<Req> + Clone, Req> Called<S, Req> {
    /// A clone of `service` that is ready, unless it makes one wait.
    ///
    /// It is asked without a waker, which is right as long as it is asked again with one if it was not ready.
    #[inline]
    pub(super) fn ready(service: &S) -> Option<S> {
        let mut one = service.clone();
        let ready = one.poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(()))).then_some(one)
    }

    #[inline]
    pub(super) fn now(future: S::Future) -> Self {
        Self {
            state: State::Now { future },
        }
    }

    /// One that failed to get ready must not be asked again; another clone says itself what is wrong.
    pub(super) fn later(service: &S, request: Req) -> Self {
        let future = Box::pin(tower::ServiceExt::oneshot(service.clone(), request));
        Self {
            state: State::Later { future },
        }
    }
}

impl<S: Service<Req>, Req> Future for Called<S, Req> {
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Now { future } => future.poll(cx),
            Projected::Later { future } => future.as_mut().poll(cx),
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Called<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Called").finish_non_exhaustive()
    }
}
