//! From operating-system signals to calls: registers any number of them, and runs one task that
//! makes a call for each delivery. Keeps law 7's shape: the task ends with the registrations.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::{io, mem};

use tokio::task::AbortHandle;

use crate::SignalKind;
use crate::platform::{self, Deliveries, Registration};

/// The registrations of one party, given back together: by `release` or by the last drop.
#[derive(Debug)]
pub(crate) struct Registrations(Mutex<Vec<Registration>>);

impl Registrations {
    /// Gives all of them back, at once and from any thread. Doing it twice is nothing.
    pub(crate) fn release(&self) {
        let released = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(released);
    }
}

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) registrations: Arc<Registrations>,
    pub(crate) task: AbortHandle,
}

/// Calls `on_delivery` for each delivery of one of `kinds`. Just before it does so for the `last`
/// one it gives the registrations back; what was delivered until then is still called for.
pub(crate) fn listen(
    kinds: impl IntoIterator<Item = SignalKind>,
    last: Option<u32>,
    on_delivery: impl FnMut(SignalKind) + Send + 'static,
) -> io::Result<Listening> {
    // In this order: on an early return the handlers go before what they write to.
    let mut open: Vec<(SignalKind, Deliveries)> = Vec::new();
    let mut registrations = Vec::new();
    for kind in kinds {
        // Named twice, a signal would count twice.
        if !open.iter().any(|(other, _)| *other == kind) {
            let (registration, deliveries) = platform::listen(kind)?;
            registrations.push(registration);
            open.push((kind, deliveries));
        }
    }
    if open.is_empty() {
        let text = "no signal named: name one, or use ShutdownSignal::never()";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let registrations = Arc::new(Registrations(Mutex::new(registrations)));
    let pump = Pump {
        registrations: Arc::downgrade(&registrations),
        open,
    };
    let task = tokio::spawn(pump.run(last, on_delivery)).abort_handle();
    Ok(Listening {
        registrations,
        task,
    })
}

/// The task. It holds the registrations weakly: they belong to the handles.
#[derive(Debug)]
struct Pump {
    registrations: Weak<Registrations>,
    open: Vec<(SignalKind, Deliveries)>,
}

impl Pump {
    async fn run(mut self, last: Option<u32>, mut on_delivery: impl FnMut(SignalKind)) {
        let mut count = 0_u32;
        while let Some(kind) = poll_fn(|cx| self.poll_recv(cx)).await {
            count = count.saturating_add(1);
            if last == Some(count) {
                self.release();
            }
            on_delivery(kind);
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<SignalKind>> {
        let mut at = 0;
        while let Some((kind, deliveries)) = self.open.get_mut(at) {
            match deliveries.poll_recv(cx) {
                Poll::Ready(Some(())) => return Poll::Ready(Some(*kind)),
                Poll::Ready(None) => drop(self.open.swap_remove(at)),
                Poll::Pending => at += 1,
            }
        }
        if self.open.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    fn release(&self) {
        if let Some(registrations) = self.registrations.upgrade() {
            registrations.release();
        }
    }
}

/// A runtime that is dropped takes the task with it. Without this, a handle that lives on would keep
/// swallowing Ctrl-C for nobody.
impl Drop for Pump {
    fn drop(&mut self) {
        self.release();
    }
}
