//! The future of [`Graceful`](super::Graceful).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{ResponseBody, body::Sending, head::Head, report::Answer};

pin_project! {
    /// Waits for the answer. At the cutoff it stops waiting and answers 503 itself.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        pending: Pending,
    }
}

/// A request without an answer. Dropped at the cutoff, it is one that was cut.
struct Pending(Option<Head>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(head) = self.0.take().filter(Head::is_cut) {
            head.abandon(Answer::None);
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, head: Head) -> Self {
        Self {
            inner,
            pending: Pending(Some(head)),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = this.inner.poll(cx);
        let cut = this.pending.0.as_ref().is_some_and(Head::is_cut);
        match output {
            Poll::Pending if !cut => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(refuse(this.pending.0.take()))),
            Poll::Ready(output) => {
                let head = this.pending.0.take();
                Poll::Ready(output.map(|response| finish(response, head)))
            }
        }
    }
}

fn finish<B: Body>(mut response: Response<B>, head: Option<Head>) -> Response<ResponseBody<B>> {
    let Some(mut head) = head else {
        return response.map(|body| ResponseBody::new(body, Sending::Over));
    };
    head.answer(&mut response);
    response.map(|body| ResponseBody::new(body, Sending::Named(head)))
}

/// The answer to a request whose time is up. It may have been worked on, so nobody is told to repeat it blindly.
fn refuse<B: Body>(head: Option<Head>) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if let Some(mut head) = head {
        head.abandon(Answer::Refused);
        head.answer(&mut response);
    }
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
