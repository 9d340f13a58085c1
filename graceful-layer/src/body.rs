//! The body of an answer: holds its request in flight to the last byte (law 3).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{RequestGuard, head::Head, report::Answer};

pin_project! {
    /// The inner body, or none if the cutoff answered. Its request is let go when the last frame was taken, or when
    /// this is dropped.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: Option<B>,
        request: Sending,
    }
}

/// The request whose answer is being sent.
#[derive(Debug)]
pub(crate) enum Sending {
    Over,
    Counted { _guard: RequestGuard },
    Named(Head),
}

impl Drop for Sending {
    /// Dropped before its end at the cutoff, it is one that was cut.
    fn drop(&mut self) {
        match self {
            Self::Named(head) if head.is_cut() => head.abandon(Answer::Truncated, false),
            _ => {}
        }
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(inner: B, request: Sending) -> Self {
        let mut body = Self {
            inner: Some(inner),
            request,
        };
        // A body without bytes is over when it begins: nobody may ever poll it.
        if body.is_end_stream() {
            body.request.end();
        }
        body
    }

    pub(crate) fn empty() -> Self {
        Self {
            inner: None,
            request: Sending::Over,
        }
    }
}

impl Sending {
    fn end(&mut self) {
        // Taken apart without its `Drop`, which is for those that do not get here.
        match std::mem::replace(self, Self::Over) {
            Self::Named(ref mut head) => head.finish(),
            Self::Over | Self::Counted { .. } => {}
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(inner.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || inner.is_end_stream() {
            this.request.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
