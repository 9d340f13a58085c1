//! The future of [`Graceful`](super::Graceful).

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::timeout;

use crate::{
    ResponseBody,
    body::Sending,
    drain::{Saver, Savers, within},
    head::Head,
    report::Answer,
    state::Bed,
};

pin_project! {
    /// Waits for the answer. At the cutoff it runs what the handler left to be run, and answers 503 itself.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        pending: Pending,
        savers: Option<Arc<Savers>>,
        saving: Option<Saving>,
        bed: Option<Bed>,
    }
}

/// Resolves to whether all savers ended in time.
type Saving = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A request without an answer. Dropped at the cutoff, it is one that was cut.
struct Pending(Option<Head>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(head) = self.0.take().filter(Head::is_cut) {
            head.abandon(Answer::None, false);
        }
    }
}

impl<F> ResponseFuture<F> {
    /// Calls the service, by `call`, for the request that `head` is of.
    pub(super) fn new(head: Head, call: impl FnOnce() -> F) -> Self {
        let mut savers = None;
        let inner = within(head.arena(), &mut savers, call);
        Self {
            inner,
            pending: Pending(Some(head)),
            savers,
            saving: None,
            bed: None,
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
        let Some(head) = &this.pending.0 else {
            return Poll::Pending;
        };
        if this.saving.is_none() {
            let inner = this.inner;
            if let Poll::Ready(output) = within(head.arena(), this.savers, || inner.poll(cx)) {
                let head = this.pending.0.take();
                return Poll::Ready(output.map(|response| finish(response, head)));
            }
            rest(head, this.bed, cx);
            if !head.is_cut() {
                return Poll::Pending;
            }
        }
        let saving = this
            .saving
            .get_or_insert_with(|| save(head, this.savers.take()));
        let saved = ready!(saving.as_mut().poll(cx));
        Poll::Ready(Ok(refuse(this.pending.0.take(), saved)))
    }
}

/// Sees to it that the task of a waiting request is woken at the cutoff, if its connection does not do it.
fn rest(head: &Head, bed: &mut Option<Bed>, cx: &Context<'_>) {
    match bed {
        Some(bed) => bed.stay(cx.waker()),
        None if head.waits_alone() => *bed = Some(Bed::new(head.arena(), cx.waker())),
        None => {}
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

/// The answer to a request whose time is up. It may have been worked on, so nobody is told to repeat it blindly.
fn refuse<B: Body>(head: Option<Head>, saved: bool) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if let Some(mut head) = head {
        head.abandon(Answer::Refused, saved);
        head.answer(&mut response);
    }
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
