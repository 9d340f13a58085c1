//! Tasks that run one connection after the other.

#[cfg(test)]
mod tests;

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
};

use crate::lock::lock;

/// Runs connections in tasks of tokio, of which those that are done wait for a next one: to spawn a task is what costs most
/// of a connection, next to hyper's own, for it is allocated where no other's cache line is.
///
/// A future that is done is dropped at once; one that panics takes its task along, and nothing else. When the pool is
/// dropped, the tasks that wait end, and the others with their futures. Those that share a task share its number, and one that
/// waits is alive to the runtime's metrics.
pub(crate) struct TaskPool<F>(Arc<Shared<F>>);

struct Shared<F> {
    most: usize,
    state: Mutex<State<F>>,
}

struct State<F> {
    desks: Vec<Desk<F>>,
    /// The desks of those that wait, the last one on top; and those that nobody has.
    waiting: Vec<usize>,
    free: Vec<usize>,
    over: bool,
}

/// Where a task that waits gets its next future.
enum Desk<F> {
    Empty,
    Waits(Waker),
    Next(F),
    End,
}

impl<F> TaskPool<F> {
    /// A pool in which no more than `most` tasks wait. Their desks are there before any connection is, for between those the
    /// allocator has a harder time.
    pub(crate) fn new(most: usize) -> Self {
        let state = Mutex::new(State {
            desks: Vec::with_capacity(most),
            waiting: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            over: false,
        });
        Self(Arc::new(Shared { most, state }))
    }
}

impl<F: Future<Output = ()> + Unpin + Send + 'static> TaskPool<F> {
    /// Runs `future`, in a task that waits or in a new one. All calls have to be made in the same runtime.
    pub(crate) fn run(&self, future: F) {
        let mut state = lock(&self.0.state);
        if let Some(at) = state.waiting.pop() {
            let waited = state.put(at, Desk::Next(future));
            drop(state);
            waited.wake();
            return;
        }
        drop(state);
        tokio::spawn(Task {
            future: Some(future),
            desk: None,
            pool: self.0.clone(),
        });
    }
}

impl<F> Drop for TaskPool<F> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.over = true;
        let waiting = mem::take(&mut state.waiting);
        let ended: Vec<_> = waiting
            .into_iter()
            .map(|at| state.put(at, Desk::End))
            .collect();
        drop(state);
        ended.into_iter().for_each(Desk::wake);
    }
}

impl<F> State<F> {
    /// Returns what was there. Neither dropped nor woken with the lock held.
    fn put(&mut self, at: usize, desk: Desk<F>) -> Desk<F> {
        mem::replace(&mut self.desks[at], desk)
    }

    fn leave(&mut self, at: usize) -> Desk<F> {
        self.free.push(at);
        self.put(at, Desk::Empty)
    }
}

impl<F> Desk<F> {
    fn wake(self) {
        if let Self::Waits(task) = self {
            task.wake();
        }
    }
}

impl<F> Shared<F> {
    /// Has a task that is done wait; not if enough of them do.
    fn sit_down(&self, cx: &Context<'_>) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.over || state.waiting.len() == self.most {
            return None;
        }
        let desk = Desk::Waits(cx.waker().clone());
        let at = match state.free.pop() {
            Some(at) => {
                state.put(at, desk);
                at
            }
            None => {
                state.desks.push(desk);
                state.desks.len() - 1
            }
        };
        state.waiting.push(at);
        Some(at)
    }

    /// What there is for the task at this desk, which it leaves then; nothing yet if it was woken by something else. Its waker
    /// stays as it is, for tokio's is one and the same.
    fn take(&self, at: usize) -> Option<Desk<F>> {
        let mut state = lock(&self.state);
        match state.desks[at] {
            Desk::Waits(_) => None,
            _ => Some(state.leave(at)),
        }
    }

    fn forget(&self, at: usize) -> Desk<F> {
        let mut state = lock(&self.state);
        state.waiting.retain(|&waiting| waiting != at);
        state.leave(at)
    }
}

struct Task<F> {
    /// None while it waits.
    future: Option<F>,
    /// Only while it waits.
    desk: Option<usize>,
    pool: Arc<Shared<F>>,
}

impl<F: Future<Output = ()> + Unpin> Future for Task<F> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(at) = this.desk {
            let Some(desk) = this.pool.take(at) else {
                return Poll::Pending;
            };
            if let Desk::Next(future) = desk {
                this.future = Some(future);
            }
            this.desk = None;
        }
        if let Some(future) = &mut this.future {
            ready!(Pin::new(future).poll(cx));
            this.future = None;
            this.desk = this.pool.sit_down(cx);
        }
        match this.desk {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

/// A runtime that is shut down drops tasks that wait: what another one runs must not be given to them.
impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        if let Some(at) = self.desk {
            drop(self.pool.forget(at));
        }
    }
}
