//! The body of an answer: holds its request in flight to the last byte (law 3).

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{RequestGuard, head::Head, tunnel::Tunnel};

pin_project! {
    /// The inner body, or none if the cutoff answered. Its request is let go when the last frame was taken, or when
    /// this is dropped.
    ///
    /// On a server whose connections this crate does not know, a body that is still not at its end when the rest is cut
    /// never ends: its request is let go and named in the report, and its connection ends with the process, so that no
    /// client takes the part for the whole.
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
    Cut,
    Counted {
        _guard: RequestGuard,
    },
    /// Let go with this, whatever its body, unless the tunnel's task took it.
    Tunnel {
        _offer: Tunnel,
    },
    Named(Head),
}

impl<B: Body> ResponseBody<B> {
    #[inline]
    pub(crate) fn new(inner: B, request: Sending) -> Self {
        // A body without bytes is over when it begins: nobody may ever poll it.
        let request = match inner.is_end_stream() {
            true => request.ended(),
            false => request,
        };
        Self {
            inner: Some(inner),
            request,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            inner: None,
            request: Sending::Over,
        }
    }
}

impl Sending {
    #[inline]
    fn ended(self) -> Self {
        match self {
            Self::Named(head) => head.finish(),
            Self::Tunnel { .. } => return self,
            _ => {}
        }
        Self::Over
    }

    #[inline]
    fn end(&mut self) {
        *self = mem::replace(self, Self::Over).ended();
    }

    /// The server took this much, and it was not the last: now it is the handler or the client that is waited for.
    #[inline]
    fn wait(&mut self, sent: usize, cx: &Context<'_>) {
        if let Self::Named(head) = self {
            head.note_sent(sent);
            head.park(cx);
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        match this.request {
            Sending::Cut => return Poll::Pending,
            Sending::Named(head) if head.is_cut_loose() => {
                this.inner.set(None);
                *this.request = Sending::Cut;
                return Poll::Pending;
            }
            _ => {}
        }
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = inner.as_mut().poll_frame(cx);
        match &frame {
            Poll::Pending => this.request.wait(0, cx),
            Poll::Ready(Some(Ok(frame))) if !inner.is_end_stream() => {
                let sent = frame.data_ref().map_or(0, Buf::remaining);
                this.request.wait(sent, cx);
            }
            Poll::Ready(last) => {
                // Its request is what a drain waits for: whatever the body holds goes before that (law 7).
                this.inner.set(None);
                match last {
                    // The answer did not end whole.
                    Some(Err(_)) => *this.request = Sending::Over,
                    Some(Ok(_)) | None => this.request.end(),
                }
            }
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match self.request {
            Sending::Cut => false,
            _ => self.inner.as_ref().is_none_or(B::is_end_stream),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
