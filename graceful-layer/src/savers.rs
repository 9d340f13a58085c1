//! What a handler leaves to be run if its request is aborted, and the running of it.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;

pub(crate) type Saver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a request wants to run before it is cut.
#[derive(Default)]
pub(crate) struct Savers(Mutex<Vec<Saver>>);

impl Savers {
    pub(crate) fn add(&self, saver: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(Box::pin(saver));
    }

    pub(crate) fn take(&self) -> Vec<Saver> {
        mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Saver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All savers of a request side by side, once they run. The lock is for `Sync`: nobody takes it.
#[derive(Default)]
pub(crate) struct Saving(Mutex<Option<Pin<Box<dyn Future<Output = bool> + Send>>>>);

impl Saving {
    /// Runs the savers that `start` returns at the first call, for `bound` at the most. A saver resolves to nothing if it
    /// panicked. Resolves to whether there were any, and all ended in time and without a panic.
    pub(crate) fn poll<S: Future<Output = Option<()>> + Unpin + Send + 'static>(
        &mut self,
        start: impl FnOnce() -> Vec<S>,
        bound: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let running = running.get_or_insert_with(|| {
            let savers = start();
            let any = !savers.is_empty();
            Box::pin(async move { timeout(bound, all(savers)).await.unwrap_or(false) && any })
        });
        running.as_mut().poll(cx)
    }
}

/// Runs them side by side. Resolves to whether none panicked.
async fn all<S: Future<Output = Option<()>> + Unpin>(mut savers: Vec<S>) -> bool {
    let mut whole = true;
    poll_fn(|cx| {
        savers.retain_mut(|saver| match Pin::new(saver).poll(cx) {
            Poll::Ready(saved) => {
                whole &= saved.is_some();
                false
            }
            Poll::Pending => true,
        });
        match savers.is_empty() {
            true => Poll::Ready(whole),
            false => Poll::Pending,
        }
    })
    .await
}

impl fmt::Debug for Savers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savers").finish_non_exhaustive()
    }
}

impl fmt::Debug for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saving").finish_non_exhaustive()
    }
}
