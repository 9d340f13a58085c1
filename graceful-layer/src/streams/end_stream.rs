//! A stream that ends when its server stops: events, gRPC messages, lines.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use super::{Told, told};
use crate::{Drain, drain::share};

/// The least time after which a client is asked to come back.
const RETRY: Duration = Duration::from_secs(1);
/// What is added to it, a different part of it for each client.
const RETRY_SPREAD: Duration = Duration::from_secs(2);

impl Drain {
    /// Passes `stream` on until this caller is told, then gives the item that `last` makes, if any, and ends.
    ///
    /// Told means [`draining_within`](Self::draining_within) of `spread`. For server-sent events the last item is a
    /// `retry:`, from the time that `last` gets: between one second and three, a different one for each stream, so that
    /// clients whose server is gone do not come back all at once. A gRPC stream may end with a last message, or with
    /// `Err(Status::unavailable(..))` if its client should know that there would have been more. A stream that ends by itself
    /// is only passed on.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// use axum::response::sse::{Event, Sse};
    /// use futures_util::{Stream, stream};
    /// use graceful_layer::Drain;
    ///
    /// async fn events(drain: Drain) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    ///     let events = stream::pending();
    ///     Sse::new(drain.end_stream(Duration::from_secs(5), events, |retry| {
    ///         Some(Ok(Event::default().retry(retry)))
    ///     }))
    /// }
    /// ```
    ///
    /// What is not covered: a stream that waits inside of one item for long, and work that the stream's end does not stop.
    /// Use [`draining_within`](Self::draining_within) there.
    ///
    /// # References
    /// [HTML, server-sent events, `retry`](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)
    #[doc(alias = "sse")]
    pub fn end_stream<S, F>(&self, spread: Duration, stream: S, last: F) -> EndStream<S, F>
    where
        S: Stream,
        F: FnOnce(Duration) -> Option<S::Item>,
    {
        EndStream {
            stream,
            last: Some(last),
            told: told(self, spread),
        }
    }
}

pin_project! {
    /// The stream of [`Drain::end_stream`].
    #[must_use = "streams do nothing unless polled"]
    pub struct EndStream<S, F> {
        #[pin]
        stream: S,
        // Taken at the end, whichever it is.
        last: Option<F>,
        told: Told,
    }
}

impl<S, F> Stream for EndStream<S, F>
where
    S: Stream,
    F: FnOnce(Duration) -> Option<S::Item>,
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.last.is_none() {
            return Poll::Ready(None);
        }
        // Looked at first: a stream that always has something must end too.
        if this.told.as_mut().poll(cx).is_ready() {
            let retry = RETRY + share(RETRY_SPREAD);
            return Poll::Ready(this.last.take().and_then(|last| last(retry)));
        }
        let item = ready!(this.stream.poll_next(cx));
        if item.is_none() {
            *this.last = None;
        }
        Poll::Ready(item)
    }
}

impl<S, F> FusedStream for EndStream<S, F>
where
    S: Stream,
    F: FnOnce(Duration) -> Option<S::Item>,
{
    fn is_terminated(&self) -> bool {
        self.last.is_none()
    }
}

impl<S, F> fmt::Debug for EndStream<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndStream")
            .field("ended", &self.last.is_none())
            .finish_non_exhaustive()
    }
}
