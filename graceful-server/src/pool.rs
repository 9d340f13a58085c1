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
    waiting: Vec<Arc<Desk<F>>>,
    over: bool,
}

/// Where a task that waits gets its next future.
struct Desk<F> {
    next: Mutex<Next<F>>,
    task: Waker,
}

enum Next<F> {
    Unknown,
    Run(F),
    End,
}

impl<F> TaskPool<F> {
    /// A pool in which no more than `most` tasks wait.
    pub(crate) fn new(most: usize) -> Self {
        let (waiting, over) = (Vec::new(), false);
        let state = Mutex::new(State { waiting, over });
        Self(Arc::new(Shared { most, state }))
    }
}

impl<F: Future<Output = ()> + Unpin + Send + 'static> TaskPool<F> {
    /// Runs `future`, in a task that waits or in a new one. All calls have to be made in the same runtime.
    pub(crate) fn run(&self, future: F) {
        let waiting = lock(&self.0.state).waiting.pop();
        match waiting {
            Some(desk) => desk.give(Next::Run(future)),
            None => drop(tokio::spawn(Task {
                future: Some(future),
                desk: None,
                pool: self.0.clone(),
            })),
        }
    }
}

impl<F> Drop for TaskPool<F> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.over = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        for desk in waiting {
            desk.give(Next::End);
        }
    }
}

impl<F> Shared<F> {
    /// Where a task that is done waits; nothing if enough of them do.
    fn desk(&self, cx: &Context<'_>) -> Option<Arc<Desk<F>>> {
        let mut state = lock(&self.state);
        if state.over || state.waiting.len() == self.most {
            return None;
        }
        let desk = Arc::new(Desk {
            next: Mutex::new(Next::Unknown),
            task: cx.waker().clone(),
        });
        state.waiting.push(desk.clone());
        Some(desk)
    }

    fn forget(&self, desk: &Arc<Desk<F>>) {
        lock(&self.state)
            .waiting
            .retain(|waiting| !Arc::ptr_eq(waiting, desk));
    }
}

impl<F> Desk<F> {
    fn give(&self, next: Next<F>) {
        *lock(&self.next) = next;
        self.task.wake_by_ref();
    }

    fn take(&self) -> Next<F> {
        mem::replace(&mut *lock(&self.next), Next::Unknown)
    }
}

struct Task<F> {
    /// None while it waits.
    future: Option<F>,
    /// While it waits, and not longer, for a connection may stay for days.
    desk: Option<Arc<Desk<F>>>,
    pool: Arc<Shared<F>>,
}

impl<F: Future<Output = ()> + Unpin> Future for Task<F> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(desk) = &this.desk {
            this.future = match desk.take() {
                Next::Unknown => return Poll::Pending,
                Next::Run(future) => Some(future),
                Next::End => None,
            };
            this.desk = None;
        }
        if let Some(future) = &mut this.future {
            ready!(Pin::new(future).poll(cx));
            this.future = None;
            this.desk = this.pool.desk(cx);
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
        if let Some(desk) = &self.desk {
            self.pool.forget(desk);
        }
    }
}
