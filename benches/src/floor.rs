//! The least that it can take: each of the three wrappers that a drainable connection has, with nothing in it but what
//! its purpose cannot do without. A request is counted to the last byte and can be named if it is cut, and that is all; it is
//! what ours is to be held against.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*},
    },
    task::{Context, Poll, Waker, ready},
};

use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection's wrappers share.
#[derive(Debug, Default)]
pub struct Shared {
    in_flight: AtomicUsize,
    /// Not 0 if the connection is to end, which nobody says here.
    orders: AtomicU32,
    /// Whether bytes have come since the last flush.
    read: AtomicBool,
    /// Of whoever would be told.
    waker: Mutex<Option<Waker>>,
}

/// What a request is called. Copied, for the handler gets the request, and to where the last one's was. It lives for ever:
/// what owns nothing is not looked at once more when its request is moved or its thread ends.
struct Name {
    method: Method,
    target: String,
}

thread_local!(static SPARE: Cell<Option<&'static mut Name>> = const { Cell::new(None) });

impl Name {
    #[inline]
    fn of<B>(request: &Request<B>) -> &'static mut Self {
        let name = SPARE.take().unwrap_or_else(|| {
            Box::leak(Box::new(Self {
                method: Method::GET,
                target: String::new(),
            }))
        });
        name.method.clone_from(request.method());
        name.target.clear();
        name.target.push_str(request.uri().path());
        name
    }
}

/// One request in flight.
struct Guard {
    shared: Arc<Shared>,
    name: Option<&'static mut Name>,
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        SPARE.set(self.name.take());
        self.shared.in_flight.fetch_sub(1, AcqRel);
    }
}

/// Counts requests to the last byte of their answer.
#[derive(Clone, Debug)]
pub struct Counter<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Counter<S> {
    /// `inner`, counted in `shared`.
    pub fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    #[inline]
    fn begin<B>(&self, request: &Request<B>) -> Guard {
        self.shared.in_flight.fetch_add(1, AcqRel);
        Guard {
            shared: self.shared.clone(),
            name: Some(Name::of(request)),
        }
    }
}

impl<S, ReqB, ResB> hyper::service::Service<Request<ReqB>> for Counter<S>
where
    S: hyper::service::Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    type Response = Response<Counted<ResB>>;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    #[inline]
    fn call(&self, request: Request<ReqB>) -> Self::Future {
        let guard = Some(self.begin(&request));
        let inner = self.inner.call(request);
        Counting { inner, guard }
    }
}

impl<S, ReqB, ResB> tower::Service<Request<ReqB>> for Counter<S>
where
    S: tower::Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    type Response = Response<Counted<ResB>>;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let guard = Some(self.begin(&request));
        let inner = self.inner.call(request);
        Counting { inner, guard }
    }
}

pin_project! {
    /// The future of [`Counter`].
    pub struct Counting<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
    }
}

impl<F, B, E> Future for Counting<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Counted<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let guard = this.guard.take();
        Poll::Ready(Ok(response.map(|inner| Counted { inner, guard })))
    }
}

pin_project! {
    /// The body of its answer.
    pub struct Counted<B> {
        #[pin]
        inner: B,
        guard: Option<Guard>,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = this.inner.as_mut().poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || this.inner.is_end_stream() {
            *this.guard = None;
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// Knows whether bytes have come.
    #[derive(Debug)]
    pub struct Stream<T> {
        #[pin]
        inner: T,
        shared: Arc<Shared>,
    }
}

impl<T> Stream<T> {
    /// `inner`, which says in `shared` that it was read.
    pub fn new(inner: T, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<T: AsyncRead> AsyncRead for Stream<T> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.inner.poll_read(cx, buf))?;
        this.shared.read.store(true, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite> AsyncWrite for Stream<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.inner.poll_flush(cx))?;
        this.shared.read.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}

pin_project! {
    /// Can be told, which takes a look at each poll, and the waker of whoever polls.
    pub struct Told<C> {
        #[pin]
        inner: C,
        shared: Arc<Shared>,
        waker: Option<Waker>,
    }
}

impl<C> Told<C> {
    /// `inner`, which ends when `shared` says so.
    pub fn new(inner: C, shared: Arc<Shared>) -> Self {
        let waker = None;
        Self {
            inner,
            shared,
            waker,
        }
    }
}

impl<C: Future> Future for Told<C> {
    type Output = Option<C::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !this
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *this.waker = Some(cx.waker().clone());
            let mut told = this
                .shared
                .waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            told.clone_from(this.waker);
        }
        if this.shared.orders.load(Acquire) != 0 {
            return Poll::Ready(None);
        }
        this.inner.poll(cx).map(Some)
    }
}
