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

use crate::{ResponseBody, head::Head, report::Answer, tunnel::Tunnel};

#[cfg(feature = "hyper")]
pub use super::called::Called;

pin_project! {
    /// Waits for the answer. At the cutoff it runs what the handler left to be run, and answers 503 itself.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        head: Option<Head>,
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn new(inner: F, head: Head) -> Self {
        Self {
            inner,
            head: Some(head),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(head) = this.head else {
            return Poll::Pending;
        };
        if !head.is_saving() {
            let within = head.enter();
            let polled = this.inner.poll(cx);
            head.leave(within);
            if let Poll::Ready(answered) = polled {
                let head = this.head.take();
                return Poll::Ready(answered.map(|response| finish(response, head)));
            }
            head.note_waiting();
            head.park(cx);
            if !head.is_cut() {
                return Poll::Pending;
            }
        }
        let saved = ready!(head.poll_save(cx));
        Poll::Ready(Ok(refuse(this.head.take(), saved)))
    }
}

#[inline]
fn finish<B: Body>(response: Response<B>, head: Option<Head>) -> Response<ResponseBody<B>> {
    let Some(mut head) = head else {
        return response.map(|body| ResponseBody::uncounted(body));
    };
    if !head.note_answer(response.body().size_hint().exact()) {
        return dressed(response, head);
    }
    response.map(|body| ResponseBody::named(body, head))
}

/// Apart, so that an answer is not moved once more where there is nothing to do to it.
#[cold]
#[inline(never)]
fn dressed<B: Body>(mut response: Response<B>, mut head: Head) -> Response<ResponseBody<B>> {
    head.dress(&mut response);
    match head.opens_tunnel(&response) {
        true => response.map(|body| ResponseBody::tunnel(body, Tunnel::offer(head))),
        false => response.map(|body| ResponseBody::named(body, head)),
    }
}

/// The answer to a request whose time is up: a 503, which for gRPC is the status UNAVAILABLE. It may have been worked on,
/// so nobody is told to repeat it blindly.
///
/// References: gRPC over HTTP/2, "Responses" (Trailers-Only); gRPC status codes, 14.
#[cold]
#[inline(never)]
fn refuse<B: Body>(head: Option<Head>, saved: bool) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    let Some(mut head) = head else {
        return response;
    };
    let headers = response.headers_mut();
    if head.is_grpc() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        let message = HeaderValue::from_static("the server stops: time is up");
        headers.insert("grpc-message", message);
    } else {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    head.abandon(Answer::Refused, saved);
    head.dress(&mut response);
    head.finish();
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
