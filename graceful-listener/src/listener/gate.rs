//! Whether this process may take connections from a listener it holds. Guards law 10: handing
//! over closes nothing, so it can be taken back.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    handed_over: AtomicBool,
    reopened: Notify,
}

impl Gate {
    pub(crate) fn is_open(&self) -> bool {
        !self.handed_over.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.handed_over.store(false, Ordering::Release);
        self.reopened.notify_waiters();
    }

    /// Waits until it is open, without bound. Cancel safe.
    ///
    /// `notify_waiters` reaches every `Notified` made before it, so one made before the look at
    /// the flag misses nothing.
    pub(crate) async fn opened(&self) {
        loop {
            let reopened = self.reopened.notified();
            if self.is_open() {
                return;
            }
            reopened.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn it_lets_through_while_open_and_wakes_all_when_it_opens_again() {
        let gate = Gate::default();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(pin!(gate.opened()).poll(cx).is_ready());
        gate.close();
        let (mut one, mut other) = (pin!(gate.opened()), pin!(gate.opened()));
        assert!(one.as_mut().poll(cx).is_pending() && other.as_mut().poll(cx).is_pending());
        gate.open();
        assert!(one.poll(cx).is_ready() && other.poll(cx).is_ready());
    }
}
