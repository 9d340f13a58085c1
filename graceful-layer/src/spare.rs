//! Records to use again, each thread's own: a request that is answered in one go allocates nothing, nor do the streams
//! of an HTTP/2 connection that begin before the first of them is over.

use std::cell::Cell;

use crate::record::Record;

/// How many a thread keeps: 200 kB, or the streams that ten clients open at once.
const MOST: u16 = 1_000;

thread_local!(static SPARE: Spare = const { Spare { last: Cell::new(None), count: Cell::new(0) } });

struct Spare {
    /// The last one that was kept; each knows the one before it.
    last: Cell<Option<Box<Record>>>,
    count: Cell<u16>,
}

impl Spare {
    #[inline]
    fn take(&self) -> Option<Box<Record>> {
        let mut last = self.last.take()?;
        self.last.set(last.before.take());
        self.count.set(self.count.get() - 1);
        Some(last)
    }

    #[inline]
    fn keep(&self, mut record: Box<Record>) {
        if self.count.get() < MOST && !record.line.is_long() {
            self.count.set(self.count.get() + 1);
            record.before = self.last.take();
            self.last.set(Some(record));
        }
    }
}

/// One after the other, for each in the other would take a stack that a thread may not have.
impl Drop for Spare {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

/// The record of the last request that was over on this thread.
#[inline]
pub(crate) fn take() -> Option<Box<Record>> {
    SPARE.try_with(Spare::take).ok().flatten()
}

/// Keeps `record` for the next request. At the end of the thread there is none.
#[inline]
pub(crate) fn keep(record: Box<Record>) {
    let _ = SPARE.try_with(|spare| spare.keep(record));
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use http::Request;

    use super::*;
    use crate::Tracker;

    #[test]
    fn a_thread_keeps_as_many_as_it_had_at_once_and_no_more_than_a_thousand_and_none_that_is_long()
    {
        let tracker = Tracker::new();
        let begin = |target: &str| {
            let request = Request::builder().uri(target).body(()).unwrap();
            let cell = tracker.arena().loose_cell();
            cell.count_in();
            Record::of(&request, cell)
        };
        let kept = || {
            let spares: Vec<_> = std::iter::from_fn(take).collect();
            spares.len()
        };
        for (at_once, expected) in [(1, 1), (32, 32), (1_100, usize::from(MOST))] {
            let records: Vec<_> = (0..at_once).map(|_| begin("/")).collect();
            assert!(take().is_none(), "all are in use");
            records.into_iter().for_each(Record::finish);
            assert_eq!(kept(), expected);
        }
        begin(&"/".repeat(1_000)).finish();
        assert_eq!(kept(), 0);
    }
}
