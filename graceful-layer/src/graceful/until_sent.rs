//! [`Graceful`] for hyper's HTTP/2 server: its requests end when the last byte of their responses is written.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::Graceful;
use crate::SentBody;

impl<S> Graceful<S> {
    /// The same service for `hyper::server::conn::http2`: a request is in flight until hyper has written the last byte of
    /// its response, and not only until hyper has taken it. hyper takes a whole response at once and keeps it while the
    /// client's flow-control window is closed.
    ///
    /// `graceful_server::serve` does this. Not for HTTP/1, whose connection is watched until its flush anyway.
    pub fn until_sent(self) -> UntilSent<S> {
        UntilSent(self)
    }
}

/// A [`Graceful`] service on HTTP/2. From [`Graceful::until_sent`].
#[derive(Clone, Debug)]
pub struct UntilSent<S>(Graceful<S>);

impl<S, ReqB, F, ResB, E> hyper::service::Service<Request<ReqB>> for UntilSent<S>
where
    Graceful<S>: hyper::service::Service<
            Request<ReqB>,
            Response = Response<crate::ResponseBody<ResB>>,
            Error = E,
            Future = F,
        >,
    F: Future<Output = Result<Response<crate::ResponseBody<ResB>>, E>>,
    ResB: Body,
{
    type Response = Response<SentBody<ResB>>;
    type Error = E;
    type Future = UntilSentFuture<F>;

    #[inline(always)]
    fn call(&self, request: Request<ReqB>) -> Self::Future {
        let answer = hyper::service::Service::call(&self.0, request);
        UntilSentFuture { answer }
    }
}

pin_project! {
    /// The future of [`UntilSent`].
    #[must_use = "futures do nothing unless polled"]
    pub struct UntilSentFuture<F> {
        #[pin]
        answer: F,
    }
}

impl<F, B, E> Future for UntilSentFuture<F>
where
    F: Future<Output = Result<Response<crate::ResponseBody<B>>, E>>,
{
    type Output = Result<Response<SentBody<B>>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().answer.poll(cx))?;
        Poll::Ready(Ok(answer.map(SentBody::new)))
    }
}

impl<F> fmt::Debug for UntilSentFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilSentFuture").finish_non_exhaustive()
    }
}
