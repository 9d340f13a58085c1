//! Runs the program's own code outside of its handlers: hooks, savers, callbacks, make-services.
//!
//! One rule holds for all of them. A panic is caught in the call that makes the future, in each poll, and in the drop of the
//! future. The panic is logged and noted for the report, and everything else continues. In a program that is built with
//! `panic = "abort"` nothing is caught.

use std::{
    any::Any,
    fmt,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Notes panics for the log and the report.
pub(crate) trait NotePanic {
    /// `what` panicked, with this text.
    fn note_panic(&self, what: &str, message: String);
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future whose panics end nothing but itself. Its output is `None` if it panicked.
pub(crate) struct Contained<T, N: NotePanic> {
    notes: N,
    what: String,
    future: Option<Boxed<T>>,
}

impl<T, N: NotePanic> Contained<T, N> {
    /// `what` names it in the log and in the report: `hook "flush-kafka"`.
    pub(crate) fn new(
        notes: N,
        what: String,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self {
            notes,
            what,
            future: Some(Box::pin(future)),
        }
    }
}

impl<T, N: NotePanic + Unpin> Future for Contained<T, N> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let Some(future) = &mut this.future else {
            return Poll::Ready(None);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let output = match polled {
            Ok(polled) => Some(ready!(polled)),
            Err(payload) => {
                this.notes.note_panic(&this.what, text(payload));
                None
            }
        };
        this.let_go();
        Poll::Ready(output)
    }
}

impl<T, N: NotePanic> Contained<T, N> {
    /// Drops the future, which is code of the program as well.
    fn let_go(&mut self) {
        if let Some(future) = self.future.take() {
            call(&self.notes, &self.what, || drop(future));
        }
    }
}

impl<T, N: NotePanic> Drop for Contained<T, N> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<T, N: NotePanic> fmt::Debug for Contained<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// Calls a function of the program. Returns `None` if it panicked.
pub(crate) fn call<R>(
    notes: &impl NotePanic,
    what: &str,
    function: impl FnOnce() -> R,
) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(value) => Some(value),
        Err(payload) => {
            notes.note_panic(what, text(payload));
            None
        }
    }
}

/// The text of a panic. Drops its payload, which may panic in its turn.
fn text(payload: Box<dyn Any + Send>) -> String {
    let text = match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    };
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its drop panics: it is never dropped.
        let _ = ManuallyDrop::new(again);
    }
    text
}
