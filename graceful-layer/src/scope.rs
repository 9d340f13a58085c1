//! `Drain::current` outside of a handler: in a task that a handler has spawned.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::Drain;

impl Drain {
    /// Makes [`current`](Self::current) return this drain in `work`: for a task that a handler spawns, such as the task of a WebSocket.
    ///
    /// In such a task `current` is `None`, because tokio does not show which task spawned it. Take the `Drain` in the handler and move
    /// it into the task. That is enough if the task's own code uses it; code that calls `current` has to run in this scope.
    ///
    /// `work` is not a request: the drain does not wait for it, and requests that begin in it are counted. The savers of
    /// [`on_cutoff`](Self::on_cutoff) belong to the handler's request, which drops them as soon as it has its response.
    ///
    /// ```
    /// use axum::{
    ///     extract::ws::{WebSocket, WebSocketUpgrade},
    ///     response::Response,
    /// };
    /// use graceful_layer::Drain;
    ///
    /// async fn open(drain: Drain, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(move |socket| drain.scope(chat(socket)))
    /// }
    ///
    /// async fn chat(mut socket: WebSocket) {
    ///     let drain = Drain::current().expect("in the scope of one");
    ///     while let Some(Some(message)) = drain.or_drained(Default::default(), socket.recv()).await {
    ///         // …
    ///         # drop(message);
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// As cancel safe as `work`.
    pub fn scope<F: Future>(&self, work: F) -> Scope<F> {
        let drain = self.clone();
        Scope { work, drain }
    }
}

pin_project! {
    /// The future of [`Drain::scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        #[pin]
        work: F,
        drain: Drain,
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _within = this.drain.enter();
        this.work.poll(cx)
    }
}

impl<F> fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}
