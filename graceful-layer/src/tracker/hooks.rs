//! What the program does of its own at each phase of a stop.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::Tracker;
use crate::Phase;

type Run = dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// One thing to do when a phase begins.
#[derive(Clone)]
pub(super) struct Hook {
    phase: Phase,
    label: String,
    bound: Duration,
    run: Arc<Run>,
}

impl Hook {
    pub(super) fn new<F, Fut>(phase: Phase, label: String, bound: Duration, hook: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            phase,
            label,
            bound,
            run: Arc::new(move || Box::pin(hook())),
        }
    }

    /// Runs it, and says whether it ended in time.
    async fn run(&self) -> bool {
        timeout(self.bound, (self.run)()).await.is_ok()
    }
}

/// Starts the hooks of `phase` side by side, each holding the drain while it runs.
pub(super) fn start(tracker: &Tracker, hooks: &[Hook], phase: Phase) {
    for hook in hooks.iter().filter(|hook| hook.phase == phase).cloned() {
        let beacon = tracker.beacon(hook.label.clone());
        tokio::spawn(async move {
            hook.run().await;
            drop(beacon);
        });
    }
}

/// Runs the hooks of `Closed` one after the other, the last registered first. Returns the labels of those cut.
pub(super) async fn finish(hooks: &[Hook]) -> Vec<String> {
    let mut cut = Vec::new();
    for hook in hooks
        .iter()
        .rev()
        .filter(|hook| hook.phase == Phase::Closed)
    {
        if !hook.run().await {
            cut.push(hook.label.clone());
        }
    }
    cut
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("phase", &self.phase)
            .field("label", &self.label)
            .finish()
    }
}
