//! The body of an answer: holds its request in flight to the last byte (law 3).

#[cfg(feature = "hyper")]
mod sent;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

#[cfg(feature = "hyper")]
pub use self::sent::{SentBody, SentData};
use crate::{head::Head, tunnel::Tunnel};

pin_project! {
    /// The inner body, or none if the cutoff answered. Its request is let go when the last frame was taken, or when
    /// this is dropped.
    ///
    /// On a server whose connections this crate does not know, a body that is still not at its end when the rest is cut
    /// never ends: its request is let go and named in the report, and its connection ends with the process, so that no
    /// client takes the part for the whole.
    ///
    /// The answer that opens a tunnel, a success to CONNECT on HTTP/2, has no body, whatever the service gave it (RFC 9110
    /// §9.3.6).
    #[project = Parts]
    pub struct ResponseBody<B> {
        // First, for whatever the body holds goes before its request, which is what a drain waits for (law 7).
        #[pin]
        content: Content<B>,
        head: Head,
    }
}

pin_project! {
    #[project = Projected]
    enum Content<B> {
        Body { #[pin] inner: B },
        None,
        // Its request is let go with this, unless the tunnel's task took it.
        Tunnel { _offer: Tunnel },
        Cut,
    }
}

impl<B> ResponseBody<B> {
    /// The answer to `head`'s request.
    #[inline]
    pub(crate) fn new(inner: B, head: Head) -> Self {
        let content = Content::Body { inner };
        Self { content, head }
    }

    /// The answer that opens a tunnel: it has no body (RFC 9110 §9.3.6).
    pub(crate) fn tunnel(offer: Tunnel) -> Self {
        let content = Content::Tunnel { _offer: offer };
        Self {
            content,
            head: Head::NONE,
        }
    }

    #[inline]
    pub(crate) fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    pub(crate) fn empty() -> Self {
        let (content, head) = (Content::None, Head::NONE);
        Self { content, head }
    }
}

impl<B> Parts<'_, B> {
    /// The body of the service, if there is more of it. Ready if not; pending if the rest must not go out.
    #[inline(always)]
    fn inner(&mut self) -> Result<Pin<&mut B>, Poll<()>> {
        let record = self.head.record();
        if record.is_some_and(|record| record.is_cut_loose()) {
            self.content.set(Content::Cut);
            *self.head = Head::NONE;
        }
        match self.content.as_mut().project() {
            Projected::Body { inner } => Ok(inner),
            Projected::None | Projected::Tunnel { .. } => Err(Poll::Ready(())),
            Projected::Cut => Err(Poll::Pending),
        }
    }

    /// The server took the last of the answer, and it is whole or not.
    #[inline(never)]
    fn end(&mut self, whole: bool) {
        self.content.set(Content::None);
        self.head.end(whole);
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline(always)]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let mut inner = match this.inner() {
            Ok(inner) => inner,
            Err(end) => return end.map(|()| None),
        };
        let frame = inner.as_mut().poll_frame(cx);
        match &frame {
            Poll::Pending => this.head.sent(0, cx),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && !inner.is_end_stream() => {
                this.head
                    .sent(frame.data_ref().map_or(0, Buf::remaining), cx);
            }
            // Trailers are always the last frame: hyper does not poll the body again after them.
            Poll::Ready(last) => this.end(!matches!(last, Some(Err(_)))),
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Body { inner } => inner.is_end_stream(),
            Content::None | Content::Tunnel { .. } => true,
            Content::Cut => false,
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Body { inner } => inner.size_hint(),
            _ => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
