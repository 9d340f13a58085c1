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

use crate::{ResponseBody, head::Head, tunnel::Tunnel};

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
            match polled {
                Poll::Ready(Ok(response)) => {
                    let head = this.head.take();
                    return head.map_or(Poll::Pending, |head| {
                        Poll::Ready(Ok(finish(response, head)))
                    });
                }
                Poll::Ready(Err(error)) => {
                    *this.head = None;
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {}
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

/// In parts, so that the answer is moved as seldom as the compiler allows.
#[inline(always)]
fn finish<B: Body>(response: Response<B>, mut head: Head) -> Response<ResponseBody<B>> {
    let (mut parts, body) = response.into_parts();
    let plain = head.note_answer(body.size_hint().exact());
    let body = match plain || !head.dress(&mut parts) {
        true => ResponseBody::named(body, head),
        false => ResponseBody::tunnel(body, Tunnel::offer(head)),
    };
    Response::from_parts(parts, body)
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
    let (mut parts, body) = response.into_parts();
    head.refuse(&mut parts, saved);
    head.finish();
    Response::from_parts(parts, body)
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
