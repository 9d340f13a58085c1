//! A record to use again, one a thread: a request that is answered in one go allocates nothing.

use std::cell::Cell;

use crate::record::Record;

thread_local!(static SPARE: Cell<Option<Box<Record>>> = const { Cell::new(None) });

/// The record of the last request that was over on this thread.
#[inline]
pub(crate) fn take() -> Option<Box<Record>> {
    SPARE.try_with(Cell::take).ok().flatten()
}

/// Keeps `record` for the next request. At the end of the thread there is none.
#[inline]
pub(crate) fn keep(record: Box<Record>) {
    let _ = SPARE.try_with(|spare| spare.set(Some(record)));
}
