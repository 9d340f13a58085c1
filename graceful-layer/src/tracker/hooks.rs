//! What the program does of its own at each phase of a shutdown.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Tracker;
use crate::{Phase, contained::Contained, log, state::Blocker};

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

    fn blocker(&self) -> Blocker {
        Blocker::Hook(self.label.clone())
    }

    /// Runs it. One that panics or does not end in time is in the report.
    async fn run(self, tracker: Tracker) {
        let blocker = self.blocker();
        let run = self.run;
        // Called at the first poll, so that a panic in the closure is contained like one in its future.
        let running = Contained::new(
            tracker.clone(),
            blocker.to_string(),
            async move { run().await },
        );
        match timeout(self.bound, running).await {
            Ok(Some(())) => return,
            Ok(None) => {}
            Err(_) => log::hook_overran(&blocker, self.bound),
        }
        tracker.0.ledger.note_unfinished(self.label);
    }
}

/// Starts the hooks of `phase` side by side in `running`, each holding the drain while it runs.
pub(super) fn start(tracker: &Tracker, hooks: &[Hook], phase: Phase, running: &mut JoinSet<()>) {
    for hook in hooks.iter().filter(|hook| hook.phase == phase).cloned() {
        let holding = tracker.hold(hook.blocker());
        let tracker = tracker.clone();
        running.spawn(async move {
            hook.run(tracker).await;
            drop(holding);
        });
    }
}

/// Runs the hooks of `Closed` one after the other, the last registered first. Every `remind` the log names the one that runs.
pub(super) async fn finish(tracker: &Tracker, hooks: &[Hook], remind: Duration) {
    let closed = hooks
        .iter()
        .rev()
        .filter(|hook| hook.phase == Phase::Closed);
    for hook in closed.cloned() {
        let (blocker, bound) = (hook.blocker(), hook.bound);
        let mut running = std::pin::pin!(hook.run(tracker.clone()));
        let mut left = bound;
        loop {
            tokio::select! {
                biased;
                () = &mut running => break,
                () = sleep(remind) => {}
            }
            left = left.saturating_sub(remind);
            if !tracker.0.silent {
                log::still_open(&[blocker.to_string()], Some(left));
            }
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("phase", &self.phase)
            .field("label", &self.label)
            .finish()
    }
}
