//! The future of [`ConnTracking`](super::ConnTracking).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower::load::completion::TrackCompletion;

use crate::{RequestGuard, drain};

pin_project! {
    /// Waits for the response, and gives the request's guard to the completion.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        inner: F,
        guard: Option<RequestGuard>,
        completion: C,
    }
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn new(inner: F, guard: RequestGuard, completion: C) -> Self {
        Self {
            inner,
            guard: Some(guard),
            completion,
        }
    }
}

impl<F, C, T, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: TrackCompletion<RequestGuard, T>,
{
    type Output = Result<C::Output, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if drain::is_within() {
            *this.guard = this.guard.take().map(step_back);
        }
        let response = ready!(this.inner.poll(cx));
        #[expect(clippy::expect_used, reason = "the contract of Future")]
        let guard = this.guard.take().expect("not polled after it has resolved");
        Poll::Ready(response.map(|value| this.completion.track_completion(guard, value)))
    }
}

/// If an outer layer with the same tracker counts the request, this layer does not.
#[cold]
#[inline(never)]
fn step_back(guard: RequestGuard) -> RequestGuard {
    guard.step_back(drain::is_inside)
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
