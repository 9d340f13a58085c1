//! Who waits for a connection's stream, so that the cut reaches all of them (law 7).

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use crate::state::{Cell, Orders};

/// The connection's task, and after an upgrade the task or two that have the stream then: one that reads, and one that
/// writes to a peer that does not.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<Waker>);

impl Waiting {
    /// Has `waker` hear of orders too, and returns them as they are after that. Costs a comparison while nobody new waits.
    #[inline]
    pub(super) fn listen(&mut self, cell: &Cell, waker: &Waker) -> Orders {
        if self.0.as_ref().is_some_and(|last| last.will_wake(waker)) {
            return cell.orders();
        }
        self.take_turns(cell, waker)
    }

    #[cold]
    fn take_turns(&mut self, cell: &Cell, waker: &Waker) -> Orders {
        match self.0.replace(waker.clone()) {
            None => cell.listen(waker),
            Some(other) => cell.listen(&Waker::from(Arc::new(Both(waker.clone(), other)))),
        }
    }
}

/// A cell has place for one.
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::{Peer, Tracker};

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_reader_and_a_writer_both_hear_of_the_cut_whoever_waited_last() {
        let tracker = Tracker::new();
        let part = tracker.arena().open(Peer::Unix);
        let tasks: [Arc<Task>; 3] = Default::default();
        let wakers = tasks.clone().map(Waker::from);
        let mut waiting = Waiting::default();
        // The connection's own task at first, then the two.
        for task in [0, 0, 1, 2, 1, 2, 2] {
            let orders = waiting.listen(part.cell(), &wakers[task]);
            assert!(!orders.says(Orders::CUT));
        }
        part.cell().order(|old| old | Orders::CUT);
        assert_eq!(tasks.each_ref().map(|task| task.0.load(SeqCst)), [0, 1, 1]);
        let orders = waiting.listen(part.cell(), &wakers[2]);
        assert!(orders.says(Orders::CUT));
    }
}
