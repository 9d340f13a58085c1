//! The service: counts in `call`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(feature = "hyper")]
use http::Version;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

#[cfg(feature = "hyper")]
use super::called::Called;
use super::{future::ResponseFuture, upgrade};
use crate::{
    ResponseBody,
    head::Head,
    source::{Loose, Source},
    state::Part,
};

/// The service of [`GracefulLayer`](super::GracefulLayer) and of
/// [`Connection::service`](crate::conn::Connection::service).
///
/// Never holds a place in `poll_ready`: an idle clone that is ready must not hold up a drain (law 3). `S::Error` stays
/// what it is; at the cutoff a request that has no answer yet gets a 503 (law 4).
#[derive(Clone, Debug)]
pub struct Graceful<S> {
    inner: S,
    source: Source,
}

impl<S> Graceful<S> {
    pub(super) fn loose(inner: S, loose: Arc<Loose>) -> Self {
        Self {
            inner,
            source: Source::Loose(loose),
        }
    }

    pub(crate) fn on_connection(inner: S, part: Part) -> Self {
        Self {
            inner,
            source: Source::Connection(part),
        }
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for Graceful<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        if self.source.is_draining() {
            return call_late(&self.source, &mut self.inner, request);
        }
        let head = begin(&self.source, &request);
        ResponseFuture::new(self.inner.call(request), head)
    }
}

/// For hyper: a clone of the inner service is made ready and called.
///
/// On HTTP/1 that happens here, where hyper polls the future immediately after: a future that is made in its final place saves 250
/// instructions. On HTTP/2 it happens at the future's first poll, in the task of the stream. hyper takes all streams that have arrived off
/// the connection before one of them is polled, so that 32 of them would hold what the inner service allocates for a call at once.
#[cfg(feature = "hyper")]
impl<S, ReqB, ResB> hyper::service::Service<Request<ReqB>> for Graceful<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
    ResB: Body,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<Called<S, Request<ReqB>>>;

    #[inline(always)]
    fn call(&self, request: Request<ReqB>) -> Self::Future {
        let head = match self.source.is_draining() {
            false => begin_apart(&self.source, &request),
            true => begin_late(&self.source, &request),
        };
        if request.version() == Version::HTTP_2 {
            return ResponseFuture::new(Called::later(self.inner.clone(), request), head);
        }
        let (mut one, ready) = Called::ready(&self.inner);
        match ready {
            Poll::Ready(Ok(())) => ResponseFuture::new(Called::now(one.call(request)), head),
            Poll::Pending => ResponseFuture::new(Called::later(one, request), head),
            // A clone that failed must not be polled again (tower's contract): another clone returns the error. The error itself cannot
            // wait in the future, because it need not be `Send`.
            Poll::Ready(Err(_)) => {
                ResponseFuture::new(Called::later(self.inner.clone(), request), head)
            }
        }
    }
}

/// Apart, for otherwise the compiler takes more moves of the request to get it to its handler.
#[cfg(feature = "hyper")]
#[inline(never)]
fn begin_apart<B>(source: &Source, request: &Request<B>) -> Head {
    begin(source, request)
}

#[inline(always)]
fn begin<B>(source: &Source, request: &Request<B>) -> Head {
    let cell = source.count_in();
    source.note(request);
    Head::of(request, cell)
}

/// While draining. Apart, because a branch around the making of a future has it moved once more, for every request.
#[cold]
#[inline(never)]
fn call_late<S: Service<Request<B>>, B>(
    source: &Source,
    inner: &mut S,
    request: Request<B>,
) -> ResponseFuture<S::Future> {
    let head = begin_late(source, &request);
    ResponseFuture::new(inner.call(request), head)
}

/// A tunnel that opens now would be closed in a moment. Its client gets a 503 instead, and retries at the successor or at another
/// instance.
#[cold]
#[inline(never)]
fn begin_late<B>(source: &Source, request: &Request<B>) -> Head {
    let mut head = begin(source, request);
    if let Some(record) = head.record().filter(|_| upgrade::is_requested(request)) {
        record.skip_handler();
    }
    head
}
