//! When an HTTP request is over, for `ConnTrackingLayer`: with the last byte of its answer's body (law 3).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::load::completion::TrackCompletion;

use crate::RequestGuard;

/// A [`TrackCompletion`] that holds the request until the response's body has ended or was dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompleteOnBody;

impl<B: Body> TrackCompletion<RequestGuard, Response<B>> for CompleteOnBody {
    type Output = Response<CountedBody<B>>;

    #[inline]
    fn track_completion(&self, guard: RequestGuard, response: Response<B>) -> Self::Output {
        response.map(|inner| CountedBody {
            // A body without bytes is over when it begins: nobody may ever poll it.
            guard: (!inner.is_end_stream()).then_some(guard),
            inner: Some(inner),
        })
    }
}

pin_project! {
    /// The inner body. Its request is let go when the last frame was taken, or when this is dropped.
    pub struct CountedBody<B> {
        // First, for whatever the body holds goes before its request, which is what a drain waits for (law 7).
        #[pin]
        inner: Option<B>,
        guard: Option<RequestGuard>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = inner.as_mut().poll_frame(cx);
        let goes_on = match &frame {
            Poll::Pending => true,
            // Trailers are always the last frame: hyper does not poll the body again after them.
            Poll::Ready(Some(Ok(frame))) => frame.is_data() && !inner.is_end_stream(),
            Poll::Ready(_) => false,
        };
        if !goes_on {
            this.inner.set(None);
            *this.guard = None;
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B> fmt::Debug for CountedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedBody").finish_non_exhaustive()
    }
}
