//! The body of a response on HTTP/2: holds its request in flight until its last byte has left the HTTP/2 server (law 3).
//!
//! hyper takes the whole body at once and keeps it while the client's flow-control window is closed. So the request goes
//! into the buffers that hyper takes: hyper drops a buffer when its last byte is written, or when the stream is over.

use std::{
    fmt,
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::ResponseBody;
use crate::head::Head;

pin_project! {
    /// A [`ResponseBody`] whose request ends when the HTTP/2 server has written its last byte.
    pub struct SentBody<B> {
        #[pin]
        body: ResponseBody<B>,
        // Made with the first buffer that is not known to be the last.
        share: Option<Arc<Share>>,
    }

    impl<B> PinnedDrop for SentBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(share) = this.share {
                share.settle(this.body.project().head);
            }
        }
    }
}

impl<B> SentBody<B> {
    #[inline]
    pub(crate) fn new(body: ResponseBody<B>) -> Self {
        Self { body, share: None }
    }
}

impl<B: Body> Body for SentBody<B> {
    type Data = SentData<B::Data>;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        let mut body = this.body.project();
        let mut inner = match body.inner() {
            Ok(inner) => inner,
            Err(end) => return end.map(|()| None),
        };
        let frame = inner.as_mut().poll_frame(cx);
        match frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                let last = inner.is_end_stream();
                if last {
                    body.content.set(super::Content::None);
                }
                let held = |data: B::Data| {
                    let bytes = data.remaining();
                    match last {
                        true => SentData::last(data, bytes, body.head, this.share),
                        false => SentData::one(data, bytes, body.head, this.share, cx),
                    }
                };
                Poll::Ready(Some(Ok(frame.map_data(held))))
            }
            Poll::Pending => {
                body.head.sent(0, cx);
                Poll::Pending
            }
            Poll::Ready(Some(Err(error))) => {
                body.end(false);
                Poll::Ready(Some(Err(error)))
            }
            // Trailers are always the last frame. Neither they nor the end of the stream need a window: both follow the data.
            Poll::Ready(end) => {
                body.content.set(super::Content::None);
                match this.share.take() {
                    Some(share) => share.end_with(body.head.take()),
                    None => body.head.end(true),
                }
                // No data is in it.
                Poll::Ready(end.map(|frame| frame.map(|frame| frame.map_data(SentData::free))))
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for SentBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentBody").finish_non_exhaustive()
    }
}

/// A buffer of a [`SentBody`]: the bytes, and the request while they are not written.
pub struct SentData<D: Buf> {
    bytes: D,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Nothing,
    /// These bytes are the whole body.
    Request(Head),
    /// There are other buffers, or there may be.
    Share(Arc<Share>),
}

/// All buffers of one body have it, and the body itself until its end.
#[derive(Debug, Default)]
struct Share {
    /// Bytes that were taken and never written.
    lost: AtomicU64,
    /// The request, once the body is at its end: over when the last buffer has gone.
    ended: Mutex<Option<Head>>,
}

impl Share {
    fn end_with(self: Arc<Self>, head: Head) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = Some(head);
        drop(ended);
    }

    /// Takes from what `head` counted as sent the bytes that were not. Returns whether there were any.
    fn settle(&self, head: &mut Head) -> bool {
        let lost = self.lost.swap(0, Relaxed);
        head.unsent(lost);
        lost > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut head) = ended.take() {
            let lost = self.settle(&mut head);
            head.end(!lost);
        }
    }
}

impl<D: Buf> SentData<D> {
    /// The last bytes of a body.
    #[inline]
    fn last(bytes: D, length: usize, head: &mut Head, share: &mut Option<Arc<Share>>) -> Self {
        let mut head = head.take();
        head.took(length);
        let held = match share.take() {
            None => Held::Request(head),
            Some(share) => {
                share.clone().end_with(head);
                Held::Share(share)
            }
        };
        Self { bytes, held }
    }

    /// Bytes after which there may be more.
    fn one(
        bytes: D,
        length: usize,
        head: &mut Head,
        share: &mut Option<Arc<Share>>,
        cx: &Context<'_>,
    ) -> Self {
        head.sent(length, cx);
        let held = Held::Share(share.get_or_insert_default().clone());
        Self { bytes, held }
    }

    fn free(bytes: D) -> Self {
        let held = Held::Nothing;
        Self { bytes, held }
    }
}

impl<D: Buf> Drop for SentData<D> {
    #[inline]
    fn drop(&mut self) {
        let lost = self.bytes.remaining() as u64;
        match &mut self.held {
            Held::Nothing => {}
            Held::Request(head) => {
                head.unsent(lost);
                head.end(lost == 0);
            }
            Held::Share(share) if lost > 0 => _ = share.lost.fetch_add(lost, Relaxed),
            Held::Share(_) => {}
        }
    }
}

impl<D: Buf> Buf for SentData<D> {
    #[inline]
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    #[inline]
    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(dst)
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }

    #[inline]
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        self.bytes.copy_to_bytes(n)
    }
}

impl<D: Buf> fmt::Debug for SentData<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentData")
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
