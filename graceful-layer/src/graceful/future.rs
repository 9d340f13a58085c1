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

use crate::{ResponseBody, drain::Within, head::Head, record::Record, tunnel::Tunnel};

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
        if !record.is_handled() {
            return refuse(this.head, cx);
        }
        let within = record.enter();
        match this.inner.poll(cx) {
            Poll::Ready(Ok(response)) => answer(response, this.head, within),
            Poll::Ready(Err(error)) => {
                record.leave(within);
                *this.head = Head::NONE;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                record.leave(within);
                match record.wait(cx) {
                    false => Poll::Pending,
                    true => refuse_when_saved(this.head, cx),
                }
            }
        }
    }
}

/// First of all the answer is moved to where it stays: each look at it in between would be another move.
#[inline(always)]
fn answer<B: Body, E>(
    response: Response<B>,
    head: &mut Head,
    within: Within,
) -> Poll<Result<Response<ResponseBody<B>>, E>> {
    let mut answer = response.map(|body| ResponseBody::new(body, head.take()));
    let length = answer.body().size_hint().exact();
    if let Some(record) = answer.body_mut().head().record() {
        record.leave(within);
        if !record.note_answer(length) {
            dress(&mut answer);
        }
    }
    Poll::Ready(Ok(answer))
}

/// For an answer of which there is more to say, or that is over when it begins.
#[inline(never)]
fn dress<B: Body>(answer: &mut Response<ResponseBody<B>>) {
    let mut head = answer.body_mut().head().take();
    let Some(record) = head.record() else { return };
    if record.dress(answer) {
        *answer.body_mut() = ResponseBody::tunnel(Tunnel::offer(head));
        return;
    }
    if answer.body().is_end_stream() {
        // It is over when it begins: nobody may ever poll it.
        head.end(true);
    }
    *answer.body_mut().head() = head;
}

/// The response in place of the handler's response.
#[cold]
#[inline(never)]
fn refuse<B: Body, E>(
    head: &mut Head,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody<B>>, E>> {
    match head.record() {
        Some(record) if record.is_unhandled() => {
            let refusal = record.sign(unavailable());
            head.end(true);
            Poll::Ready(Ok(refusal))
        }
        _ => refuse_when_saved(head, cx),
    }
}

fn unavailable<B>() -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let retry = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, retry);
    response
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
    *head = Head::NONE;
    Poll::Ready(Ok(refusal))
}

/// The answer to a request whose time is up: a 503, which for gRPC is the status UNAVAILABLE. It may have been worked on,
/// so nobody is told to repeat it blindly.
///
/// References: gRPC over HTTP/2, "Responses" (Trailers-Only); gRPC status codes, 14.
fn refusal<B>(record: &mut Record, saved: bool) -> Response<ResponseBody<B>> {
    if !record.grpc {
        return record.refuse(unavailable(), saved);
    }
    let mut response = Response::new(ResponseBody::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static("14"));
    let message = HeaderValue::from_static("the server stops: time is up");
    headers.insert("grpc-message", message);
    record.refuse(response, saved)
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
