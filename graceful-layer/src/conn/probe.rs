//! Finds out what an HTTP server waits for, by the waker that it is polled with.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::io::ReadBuf;

/// The end of malformed request headers, regardless of their beginning: NUL is invalid at every position of them (RFC 9110
/// §5.5, RFC 9112 §3).
pub(super) const SPOILER: &[u8] = b"\0\r\n\r\n";

/// The thing that an HTTP server waits for, as found by [`Detach::probe`](super::Detach::probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waits {
    /// It read its stream before it passed its waker to anything else: it waits for the next request.
    ForStream,
    /// It passed its waker to something else first. hyper does so while a request body has a reader, or lost it just now.
    ForMore,
    /// It neither read its stream nor kept its waker.
    ForNothing,
}

thread_local! {
    /// The probe of the server that this thread polls now.
    static CURRENT: RefCell<Option<Arc<Probe>>> = const { RefCell::new(None) };
}

/// The state of the waker. The count of its references shows whether the server keeps the waker.
struct Probe {
    task: Waker,
    /// One of [`Waits`].
    waits: AtomicU8,
    /// Whether the next read returns [`SPOILER`].
    spoils: AtomicBool,
}

/// The references during a probe: one here, one in the waker, one in [`CURRENT`].
const OWN_REFERENCES: usize = 3;

/// Polls a server with a waker of its own. Each read meanwhile has to end in [`poll_read`].
pub(super) fn run<R>(
    task: &Waker,
    spoils: bool,
    poll: impl FnOnce(&mut Context<'_>) -> R,
) -> (R, Waits) {
    let probe = Arc::new(Probe {
        task: task.clone(),
        waits: AtomicU8::new(Waits::ForNothing as u8),
        spoils: AtomicBool::new(spoils),
    });
    let waker = Waker::from(probe.clone());
    let current = Current::set(probe.clone());
    let polled = poll(&mut Context::from_waker(&waker));
    drop((current, waker));
    (polled, probe.waits())
}

/// The result of a read during a probe.
#[cold]
pub(super) fn poll_read<E>(buf: &mut ReadBuf<'_>) -> Poll<Result<(), E>> {
    CURRENT.with_borrow(|probe| {
        let Some(probe) = probe else {
            return Poll::Pending;
        };
        let first = Arc::strong_count(probe) == OWN_REFERENCES;
        probe.learn(if first {
            Waits::ForStream
        } else {
            Waits::ForMore
        });
        if buf.remaining() >= SPOILER.len() && probe.spoils.swap(false, Relaxed) {
            buf.put_slice(SPOILER);
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    })
}

impl Probe {
    /// Only the first act of the server counts.
    fn learn(&self, waits: Waits) {
        let nothing = Waits::ForNothing as u8;
        let _ = self
            .waits
            .compare_exchange(nothing, waits as u8, Relaxed, Relaxed);
    }

    /// After the poll a reference that is left is in the server.
    fn waits(self: &Arc<Self>) -> Waits {
        if Arc::strong_count(self) > 1 {
            self.learn(Waits::ForMore);
        }
        match self.waits.load(Relaxed) {
            waits if waits == Waits::ForStream as u8 => Waits::ForStream,
            waits if waits == Waits::ForNothing as u8 => Waits::ForNothing,
            _ => Waits::ForMore,
        }
    }
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // An `AtomicWaker` that is being woken in this instant wakes the new waker at once, and does not keep it.
        self.learn(Waits::ForMore);
        self.task.wake_by_ref();
    }
}

/// For the time of the probe, even if the server panics.
struct Current;

impl Current {
    fn set(probe: Arc<Probe>) -> Self {
        CURRENT.set(Some(probe));
        Self
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.take();
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use super::*;

    fn probe(poll: impl FnOnce(&mut Context<'_>)) -> Waits {
        run(Waker::noop(), false, poll).1
    }

    fn read() {
        let mut bytes = [0; 8];
        assert!(poll_read::<()>(&mut ReadBuf::new(&mut bytes)).is_pending());
    }

    #[test]
    fn a_server_that_reads_first_waits_for_its_stream_even_if_it_keeps_the_waker_later() {
        let mut kept = None;
        assert_eq!(probe(|_| read()), Waits::ForStream);
        let keeps = probe(|cx| {
            read();
            kept = Some(cx.waker().clone());
        });
        let wakes = probe(|cx| {
            read();
            cx.waker().wake_by_ref();
        });
        assert_eq!((keeps, wakes), (Waits::ForStream, Waits::ForStream));
    }

    #[test]
    fn a_server_that_keeps_the_waker_first_or_is_woken_waits_for_more() {
        let mut kept = Vec::new();
        let mut keep = |cx: &mut Context<'_>| kept.push(cx.waker().clone());
        assert_eq!(probe(&mut keep), Waits::ForMore);
        let reads_later = probe(|cx| {
            keep(cx);
            read();
        });
        assert_eq!(reads_later, Waits::ForMore);
        assert_eq!(probe(|cx| cx.waker().wake_by_ref()), Waits::ForMore);
        let woken = probe(|cx| {
            cx.waker().wake_by_ref();
            read();
        });
        assert_eq!(woken, Waits::ForMore);
    }

    #[test]
    fn a_server_that_does_neither_waits_for_nothing() {
        assert_eq!(probe(|_| ()), Waits::ForNothing);
    }

    #[test]
    fn only_one_read_of_a_probe_is_spoiled() {
        let mut bytes = [0; 16];
        let mut buf = ReadBuf::new(&mut bytes);
        run(Waker::noop(), true, |_| {
            assert!(poll_read::<()>(&mut buf).is_ready());
            assert!(poll_read::<()>(&mut buf).is_pending());
        });
        assert_eq!(buf.filled(), SPOILER);
    }
}
