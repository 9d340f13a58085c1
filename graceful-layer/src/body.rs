//! The body of an answer: holds its request in flight to the last byte (law 3).

use std::{
    fmt,
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
    pub struct ResponseBody<B> {
        #[pin]
        sending: Sending<B>,
    }
}

pin_project! {
    /// The body and its request. Replacing it drops the body first: its request is what a drain waits for, and whatever the
    /// body holds goes before that (law 7).
    #[project = Projected]
    #[project_replace = Replaced]
    enum Sending<B> {
        Named { #[pin] inner: B, head: Head },
        Counted { #[pin] inner: B, guard: RequestGuard },
        // Let go with this, whatever its body, unless the tunnel's task took it.
        Tunnel { #[pin] inner: B, offer: Tunnel },
        Opened { _offer: Tunnel },
        Uncounted { #[pin] inner: B },
        Over,
        Cut,
    }
}

impl<B: Body> ResponseBody<B> {
    /// The answer to `head`'s request.
    #[inline]
    pub(crate) fn named(inner: B, head: Head) -> Self {
        if inner.is_end_stream() {
            head.finish();
            return Self::uncounted(inner);
        }
        Self {
            sending: Sending::Named { inner, head },
        }
    }

    #[inline]
    pub(crate) fn counted(inner: B, guard: RequestGuard) -> Self {
        if inner.is_end_stream() {
            return Self::uncounted(inner);
        }
        Self {
            sending: Sending::Counted { inner, guard },
        }
    }

    pub(crate) fn tunnel(inner: B, offer: Tunnel) -> Self {
        Self {
            sending: Sending::Tunnel { inner, offer },
        }
    }

    /// One whose request is over. A body without bytes is over when it begins: nobody may ever poll it.
    pub(crate) fn uncounted(inner: B) -> Self {
        Self {
            sending: Sending::Uncounted { inner },
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            sending: Sending::Over,
        }
    }
}

impl<B> Sending<B> {
    #[inline]
    fn inner(&self) -> Option<&B> {
        match self {
            Self::Named { inner, .. }
            | Self::Counted { inner, .. }
            | Self::Tunnel { inner, .. }
            | Self::Uncounted { inner } => Some(inner),
            Self::Opened { .. } | Self::Over | Self::Cut => None,
        }
    }

    /// The last frame was taken, and the answer is whole or not.
    #[inline]
    fn end(mut self: Pin<&mut Self>, whole: bool) {
        match self.as_mut().project_replace(Self::Over) {
            Replaced::Named { head, .. } if whole => head.finish(),
            Replaced::Tunnel { offer, .. } if whole => self.set(Self::Opened { _offer: offer }),
            _ => {}
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
        let mut sending = self.project().sending;
        let (mut inner, head) = match sending.as_mut().project() {
            Projected::Named { head, .. } if head.is_cut_loose() => {
                sending.set(Sending::Cut);
                return Poll::Pending;
            }
            Projected::Named { inner, head } => (inner, Some(head)),
            Projected::Counted { inner, .. }
            | Projected::Tunnel { inner, .. }
            | Projected::Uncounted { inner } => (inner, None),
            Projected::Opened { .. } | Projected::Over => return Poll::Ready(None),
            Projected::Cut => return Poll::Pending,
        };
        let frame = inner.as_mut().poll_frame(cx);
        match &frame {
            Poll::Pending => wait(head, 0, cx),
            Poll::Ready(Some(Ok(frame))) if !inner.is_end_stream() => {
                wait(head, frame.data_ref().map_or(0, Buf::remaining), cx);
            }
            Poll::Ready(last) => sending.end(!matches!(last, Some(Err(_)))),
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.sending {
            Sending::Cut => false,
            sending => sending.inner().is_none_or(B::is_end_stream),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        let inner = self.sending.inner();
        inner.map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

/// The server took this much, and it was not the last: now it is the handler or the client that is waited for.
#[inline]
fn wait(head: Option<&mut Head>, sent: usize, cx: &Context<'_>) {
    if let Some(head) = head {
        head.note_sent(sent);
        head.park(cx);
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
