//! The name of one operating-system signal. Which ones exist, and what they are made of, is in the
//! platform's file.

use std::fmt;

use crate::platform;

/// One kind of operating-system signal, such as `SIGTERM` or Ctrl-C.
///
/// Each platform has constructors for its own kinds only, so that a signal which cannot arrive there
/// does not compile: Unix has [`hangup`](Self::hangup), [`terminate`](Self::terminate) and more, and
/// [`from_raw`](Self::from_raw) for the rest; Windows has `interrupt` (Ctrl-C), `ctrl_break`, `close`
/// and `shutdown`. [`interrupt`](Self::interrupt) exists on both.
///
/// `Display` is the usual name: `SIGTERM`, `Ctrl-Break`, or `signal 40` where there is none.
///
/// # References
/// [signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html),
/// [HandlerRoutine](https://learn.microsoft.com/en-us/windows/console/handlerroutine)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKind(pub(crate) platform::Raw);

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        platform::write_name(self.0, f)
    }
}

impl fmt::Debug for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalKind({self})")
    }
}
