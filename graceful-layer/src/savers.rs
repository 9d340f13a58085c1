//! What a handler leaves to be run if its request is cut, and the running of it.

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

type Saver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a request wants to run before it is cut.
#[derive(Default)]
pub(crate) struct Savers(Mutex<Vec<Saver>>);

impl Savers {
    pub(crate) fn add(&self, saver: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(Box::pin(saver));
    }

    fn take(&self) -> Vec<Saver> {
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
    /// Runs `savers` for `bound` at the most. Resolves to whether there were any and all ended in time.
    pub(crate) fn poll(
        &mut self,
        savers: Option<&Savers>,
        bound: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let running = running.get_or_insert_with(|| {
            let mut savers = savers.map_or_else(Vec::new, Savers::take);
            Box::pin(async move {
                let any = !savers.is_empty();
                any && timeout(bound, all(&mut savers)).await.is_ok()
            })
        });
        running.as_mut().poll(cx)
    }
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
