//! The wrapper around a connection future: it hears orders, and knows when the I/O was given away.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;

use super::GracefulConnection;
use crate::{
    phase::Phase,
    state::{Orders, Part},
};

pin_project! {
    /// The future of [`Connection::watch`](super::Connection::watch): the inner one's output, or `None` if it was cut.
    ///
    /// Costs one load per poll. When the drain begins it is woken, and tells an HTTP/2 connection to send its GOAWAY.
    /// When the inner future ends while the I/O lives, the connection is `Hijacked` and stays in the tracker.
    #[must_use = "futures do nothing unless polled"]
    pub struct ConnFuture<C> {
        #[pin]
        connection: Option<C>,
        part: Part,
        waker: Option<Waker>,
        obeyed: Orders,
        told: bool,
    }
}

impl<C> ConnFuture<C> {
    #[inline]
    pub(super) fn new(connection: C, part: Part) -> Self {
        Self {
            connection: Some(connection),
            part,
            waker: None,
            obeyed: SERVING,
            told: false,
        }
    }
}

impl<C: GracefulConnection> Future for ConnFuture<C> {
    type Output = Option<C::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let mut orders = this.part.cell().orders();
        let known = this.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            orders = listen(this.waker, this.part, cx);
        }
        // In normal service there is nothing to obey, now or behind the poll.
        let routine = orders == SERVING && *this.obeyed == SERVING;
        if !routine && (orders != *this.obeyed || !*this.told) {
            *this.obeyed = orders;
            if orders.says(Orders::CUT) {
                this.connection.set(None);
                return Poll::Ready(None);
            }
            tell(this.connection.as_mut(), this.part, orders, this.told);
        }
        loop {
            let Some(connection) = this.connection.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            if let Poll::Ready(output) = connection.poll(cx) {
                this.connection.set(None);
                this.part.ended();
                return Poll::Ready(Some(output));
            }
            // This poll may have found out that HTTP/2 is spoken: then it is time to say what could not be said before.
            if routine
                || *this.told
                || !tell(this.connection.as_mut(), this.part, orders, this.told)
            {
                return Poll::Pending;
            }
        }
    }
}

const SERVING: Orders = Orders::new(Phase::Serving, 0);

#[cold]
fn listen(known: &mut Option<Waker>, part: &Part, cx: &Context<'_>) -> Orders {
    *known = Some(cx.waker().clone());
    part.cell().listen(cx.waker())
}

/// Has an HTTP/2 connection send its GOAWAY, once, when it is time, and says whether it did. Until it is known to speak
/// HTTP/2 nothing is said.
///
/// A client that waits for the server's SETTINGS before it opens its first stream, as those of gRPC do, would not open it
/// after a GOAWAY. So a connection without a request so far is notified with its first one, or when it is ordered to close.
/// In a lame duck its turn comes only after it had time enough.
fn tell<C: GracefulConnection>(
    connection: Pin<&mut Option<C>>,
    part: &Part,
    orders: Orders,
    told: &mut bool,
) -> bool {
    let cell = part.cell();
    let used = cell.begun() > 0 || orders.phase() == Phase::LameDuck;
    let time = orders.retires(|| 0) && used || orders.says(Orders::CLOSE);
    if *told || !time || !cell.is_http2() {
        return false;
    }
    if let Some(connection) = connection.as_pin_mut() {
        connection.graceful_shutdown();
        cell.set_going_away();
        *told = true;
    }
    *told
}

impl<C> fmt::Debug for ConnFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnFuture")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A connection future that cannot be told of a drain; it is only counted, and cut.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Hold<F> {
        #[pin]
        future: F,
    }
}

impl<F> Hold<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Hold<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<F: Future> GracefulConnection for Hold<F> {
    fn graceful_shutdown(self: Pin<&mut Self>) {}
}
