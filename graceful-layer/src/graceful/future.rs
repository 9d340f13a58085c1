//! The future of [`Graceful`](super::Graceful).

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::timeout;

use crate::{
    ResponseBody,
    body::Sending,
    drain::{Saver, Savers, within},
    head::Head,
    report::Answer,
};

pin_project! {
    /// Waits for the answer. At the cutoff it runs what the handler left to be run, and answers 503 itself.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        head: Option<Head>,
        savers: Option<Arc<Savers>>,
        saving: Option<Saving>,
    }
}

/// Resolves to whether all savers ended in time.
type Saving = Pin<Box<dyn Future<Output = bool> + Send>>;

impl<F> ResponseFuture<F> {
    /// Calls the service, by `call`, for the request that `head` is of.
    #[inline]
    pub(super) fn new(head: Head, call: impl FnOnce() -> F) -> Self {
        let mut savers = None;
        let inner = within(head.arena(), &mut savers, call);
        Self {
            inner,
            head: Some(head),
            savers,
            saving: None,
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
        let Some(head) = this.head else {
            return Poll::Pending;
        };
        if this.saving.is_none() {
            head.note_run();
            let inner = this.inner;
            if let Poll::Ready(output) = within(head.arena(), this.savers, || inner.poll(cx)) {
                let head = this.head.take();
                return Poll::Ready(output.map(|response| finish(response, head)));
            }
            head.park(cx);
            if !head.is_cut() {
                return Poll::Pending;
            }
        }
        let saving = this
            .saving
            .get_or_insert_with(|| save(head, this.savers.take()));
        let saved = ready!(saving.as_mut().poll(cx));
        Poll::Ready(Ok(refuse(this.head.take(), saved)))
    }
}

/// Runs all savers side by side, as long as they may.
fn save(head: &Head, savers: Option<Arc<Savers>>) -> Saving {
    let mut savers = savers.map_or_else(Vec::new, |savers| savers.take());
    let bound = head.arena().saving();
    Box::pin(async move {
        let any = !savers.is_empty();
        any && timeout(bound.max(Duration::from_millis(1)), all(&mut savers))
            .await
            .is_ok()
    })
}

async fn all(savers: &mut Vec<Saver>) {
    poll_fn(|cx| {
        savers.retain_mut(|saver| saver.as_mut().poll(cx).is_pending());
        match savers.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

fn finish<B: Body>(mut response: Response<B>, head: Option<Head>) -> Response<ResponseBody<B>> {
    let Some(mut head) = head else {
        return response.map(|body| ResponseBody::new(body, Sending::Over));
    };
    head.answer(&mut response);
    response.map(|body| ResponseBody::new(body, Sending::Named(head)))
}

/// The answer to a request whose time is up: a 503, which for gRPC is the status UNAVAILABLE. It may have been worked on,
/// so nobody is told to repeat it blindly.
///
/// References: gRPC over HTTP/2, "Responses" (Trailers-Only); gRPC status codes, 14.
fn refuse<B: Body>(head: Option<Head>, saved: bool) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    let Some(mut head) = head else {
        return response;
    };
    let headers = response.headers_mut();
    if head.is_grpc() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert(
            "grpc-message",
            HeaderValue::from_static("the server stops: time is up"),
        );
    } else {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    head.abandon(Answer::Refused, saved);
    head.answer(&mut response);
    head.finish();
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
