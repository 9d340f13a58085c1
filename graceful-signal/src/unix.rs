//! Unix: which signals there are, and how one is caught and given back. Keeps law 13 (a signal that
//! nobody here wants has its default action).
//!
//! tokio's own listener is not used, for two reasons. It never gives a signal back: once asked for,
//! Ctrl-C is swallowed for the life of the process. And it merges deliveries that come before the
//! runtime looks, while here each one counts. Instead the handler writes one byte into a socket, and
//! reading it is the delivery; both crates share signal-hook-registry, so they get along.
//!
//! # Invariants
//! 1. Per signal and process there is one `Slot`, made at the first registration and never removed.
//!    Its action comes before all of ours: it performs the default action if `unwanted` is set.
//! 2. `unwanted` is set exactly while no `Registration` of the signal lives.
//! 3. A registration clears `unwanted` only after its own action is in place, and sets it before
//!    that is removed: at every instant a delivery is either caught or has its default action.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::unix::net;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use signal_hook::consts::signal as sig;
use signal_hook::{SigId, flag, low_level};
use tokio::net::UnixStream;

use crate::SignalKind;
use crate::error::failed;
use crate::runtime::with_driver;

pub(crate) type Raw = i32;

pub(crate) const TERMINATE: [SignalKind; 2] = [SignalKind::terminate(), SignalKind::interrupt()];

pub(crate) fn write_name(raw: Raw, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match low_level::signal_name(raw) {
        Some(name) => f.write_str(name),
        None => write!(f, "signal {raw}"),
    }
}

/// Catches `kind` from now until the [`Registration`] is dropped.
pub(crate) fn listen(kind: SignalKind) -> io::Result<(Registration, Deliveries)> {
    if let Some(reason) = refusal(kind.0) {
        let text = format!("cannot listen for {kind}: {reason}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let named = |source| failed(format!("cannot listen for {kind}"), source);
    let (ours, handlers) = net::UnixStream::pair().map_err(named)?;
    ours.set_nonblocking(true).map_err(named)?;
    let ours = with_driver("I/O", || UnixStream::from_std(ours))?.map_err(named)?;
    let registration = Registration::new(kind.0, handlers).map_err(named)?;
    Ok((registration, Deliveries(ours)))
}

fn refusal(raw: Raw) -> Option<&'static str> {
    match raw {
        sig::SIGKILL | sig::SIGSTOP => Some("the kernel lets no process catch it"),
        sig::SIGILL | sig::SIGFPE | sig::SIGSEGV | sig::SIGBUS => {
            Some("it reports a fault of this program, which must not go on")
        }
        sig::SIGPIPE => Some("Rust ignores it, and its default action would kill at a closed pipe"),
        _ => None,
    }
}

/// The bytes that the handler wrote, one for each delivery.
#[derive(Debug)]
pub(crate) struct Deliveries(UnixStream);

impl Deliveries {
    /// `None` once the registration is gone and everything before that was read.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            if ready!(self.0.poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            match self.0.try_read(&mut [0]) {
                Ok(read) => return Poll::Ready((read > 0).then_some(())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }
}

/// One party's interest in one signal. The drop of the last one gives the default action back.
#[derive(Debug)]
pub(crate) struct Registration {
    raw: Raw,
    action: SigId,
}

#[derive(Debug)]
struct Slot {
    unwanted: Arc<AtomicBool>,
    registrations: usize,
}

static SLOTS: Mutex<BTreeMap<Raw, Slot>> = Mutex::new(BTreeMap::new());

fn slots() -> MutexGuard<'static, BTreeMap<Raw, Slot>> {
    SLOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    fn new(raw: Raw) -> io::Result<Self> {
        let unwanted = Arc::new(AtomicBool::new(true));
        // signal-hook knows the default action of the named signals. The others (Linux's real-time
        // signals, SIGPWR) all end the process: with the status a shell would show.
        flag::register_conditional_default(raw, unwanted.clone()).or_else(|_| {
            flag::register_conditional_shutdown(raw, raw.saturating_add(128), unwanted.clone())
        })?;
        Ok(Self {
            unwanted,
            registrations: 0,
        })
    }
}

impl Registration {
    fn new(raw: Raw, handlers: net::UnixStream) -> io::Result<Self> {
        let mut slots = slots();
        let slot = match slots.entry(raw) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(none) => none.insert(Slot::new(raw)?),
        };
        let action = low_level::pipe::register(raw, handlers)?;
        slot.registrations += 1;
        slot.unwanted.store(false, Ordering::SeqCst);
        Ok(Self { raw, action })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut slots = slots();
        if let Some(slot) = slots.get_mut(&self.raw) {
            slot.registrations -= 1;
            slot.unwanted
                .store(slot.registrations == 0, Ordering::SeqCst);
        }
        low_level::unregister(self.action);
    }
}

macro_rules! kinds {
    ($($name:ident = $raw:ident: $doc:literal,)*) => {
        /// The kinds that Unix has.
        impl SignalKind {$(
            #[doc = concat!("`", stringify!($raw), "`: ", $doc)]
            pub const fn $name() -> Self {
                Self(sig::$raw)
            }
        )*}
    };
}

kinds! {
    alarm = SIGALRM: "a timer of alarm(2) ended.",
    child = SIGCHLD: "a child process ended or stopped.",
    hangup = SIGHUP: "the terminal went; for daemons by custom: reload or restart.",
    interrupt = SIGINT: "Ctrl-C.",
    io = SIGIO: "I/O is possible.",
    quit = SIGQUIT: "Ctrl-\\; by custom: stop at once.",
    terminal_stop = SIGTSTP: "Ctrl-Z.",
    terminate = SIGTERM: "the polite request to end, from `kill`, systemd, Kubernetes.",
    user_defined1 = SIGUSR1: "free for the program.",
    user_defined2 = SIGUSR2: "free for the program.",
    window_change = SIGWINCH: "the terminal has another size.",
}

impl SignalKind {
    /// The kind with this number, such as `SIGRTMIN + 3`.
    ///
    /// Every number is accepted here; one that does not exist is an error when it is listened for.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number of this kind.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl From<tokio::signal::unix::SignalKind> for SignalKind {
    fn from(kind: tokio::signal::unix::SignalKind) -> Self {
        Self(kind.as_raw_value())
    }
}

impl From<SignalKind> for tokio::signal::unix::SignalKind {
    fn from(kind: SignalKind) -> Self {
        Self::from_raw(kind.0)
    }
}
