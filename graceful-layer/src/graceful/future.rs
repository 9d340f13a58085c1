//! The future of [`Graceful`](super::Graceful).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{ResponseBody, head::Head, record::Record, tunnel::Tunnel};

#[cfg(feature = "hyper")]
pub use super::called::Called;

pin_project! {
    /// Waits for the answer. At the cutoff it runs what the handler left to be run, and answers 503 itself.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        head: Head,
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn new(inner: F, head: Head) -> Self {
        Self { inner, head }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(record) = this.head.record() else {
            return Poll::Pending;
        };
        if record.is_saving() {
            return refuse_when_saved(this.head, cx);
        }
        let within = record.enter();
        let polled = this.inner.poll(cx);
        record.leave(within);
        match polled {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(
                match record.note_answer(response.body().size_hint().exact()) {
                    true => response.map(|body| ResponseBody::new(body, this.head.take())),
                    false => dress(response, this.head.take()),
                },
            )),
            Poll::Ready(Err(error)) => {
                *this.head = Head::NONE;
                Poll::Ready(Err(error))
            }
            Poll::Pending if !record.wait(cx) => Poll::Pending,
            Poll::Pending => refuse_when_saved(this.head, cx),
        }
    }
}

#[cold]
#[inline(never)]
fn dress<B: Body>(mut response: Response<B>, mut head: Head) -> Response<ResponseBody<B>> {
    let dress = |record: &mut Record| record.dress(&mut response);
    if head.record().is_some_and(dress) {
        return response.map(|_| ResponseBody::tunnel(Tunnel::offer(head)));
    }
    if response.body().is_end_stream() {
        // It is over when it begins: nobody may ever poll it.
        head.end(true);
    }
    response.map(|body| ResponseBody::new(body, head))
}

/// Once what the handler left has been run.
#[cold]
#[inline(never)]
fn refuse_when_saved<B: Body, E>(
    head: &mut Head,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody<B>>, E>> {
    let Some(record) = head.record() else {
        return Poll::Pending;
    };
    let saved = ready!(record.poll_save(cx));
    let refusal = refusal(record, saved);
    drop(head.take());
    Poll::Ready(Ok(refusal))
}

/// The answer to a request whose time is up: a 503, which for gRPC is the status UNAVAILABLE. It may have been worked on,
/// so nobody is told to repeat it blindly.
///
/// References: gRPC over HTTP/2, "Responses" (Trailers-Only); gRPC status codes, 14.
fn refusal<B>(record: &mut Record, saved: bool) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    let headers = response.headers_mut();
    if record.grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        let message = HeaderValue::from_static("the server stops: time is up");
        headers.insert("grpc-message", message);
    } else {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    record.refuse(response, saved)
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
