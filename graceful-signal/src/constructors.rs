//! Everything that can ask for a stop. Keeps law 13: no constructor that returns a `Result` panics,
//! and none starts a thread.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Cell;
use crate::context::source_of;
use crate::source::Source;
use crate::{Cause, ShutdownSignal, SignalKind, Trigger, platform, poll};

/// The delivery after which a signal from [`ShutdownSignal::notify`] is given back: the third means
/// cutoff, there is nothing faster to ask for, and a process that hangs must die by the fourth.
const LAST_LEVEL: u32 = 3;

/// # Constructors
impl ShutdownSignal {
    /// How often [`file`](Self::file) and `parent_gone` look.
    pub const POLL_PERIOD: Duration = Duration::from_millis(500);

    /// Fires when the process is asked to end: `SIGTERM` and `SIGINT`; on Windows Ctrl-C,
    /// Ctrl-Break, Close and Shutdown.
    ///
    /// The same as [`notify`](Self::notify) with these kinds.
    ///
    /// # Errors
    /// As [`notify`](Self::notify).
    pub fn terminate() -> io::Result<Self> {
        Self::notify(platform::TERMINATE)
    }

    /// Fires when one of `kinds` is delivered, and gives them back after the third delivery.
    ///
    /// 1. From the call on the signals no longer have their default action.
    /// 2. Deliveries 1, 2 and 3, of whichever kinds, make the level 1, 2 and 3.
    /// 3. With the third the default action is back, as if the process had never asked: a fourth
    ///    `SIGTERM` or Ctrl-C kills. (Unless another signal or hook of this process still wants the
    ///    kind; see [`NotifyContext::stop`](crate::NotifyContext::stop).)
    /// 4. Dropping the last handle, or the runtime, gives them back too.
    ///
    /// Deliveries are counted by a task of the current runtime. While that is blocked they wait, and
    /// those beyond the third are counted too instead of killing: a blocked process is ended by
    /// what is not listened for, such as `SIGQUIT` (Ctrl-\\). To choose the moment yourself use
    /// [`NotifyContext`](crate::NotifyContext); to act on a signal again and again,
    /// [`on_signal`](crate::on_signal()).
    ///
    /// # Errors
    /// Each names the signal or the setting at fault.
    /// - `InvalidInput` for a signal that cannot be caught (`SIGKILL`, `SIGSTOP`), that reports a
    ///   fault of the program (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`), or that Rust itself ignores
    ///   (`SIGPIPE`); and for no kind at all.
    /// - Outside a tokio runtime, or in one built without `enable_io`.
    /// - What the system answers, such as `EMFILE`: each kind takes two file descriptors.
    pub fn notify(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Self> {
        let (source, _) = source_of(kinds, Some(LAST_LEVEL))?;
        Ok(Self::from_source(source))
    }

    /// A signal that fires by hand, and its trigger.
    ///
    /// For tests, admin endpoints, and any event of the program's own. Needs no runtime. If all
    /// triggers are dropped unfired it never fires.
    pub fn manual() -> (Trigger, Self) {
        let cell = Arc::new(Cell::default());
        (
            Trigger::new(cell.clone()),
            Self::from_source(Source::new(cell, ())),
        )
    }

    /// Fires once, when `event` completes.
    ///
    /// The future runs in a task of the current runtime, so it makes progress without being
    /// polled through the signal; it is dropped with the last handle. If it panics the signal never
    /// fires.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn from_future<F: Future + Send + 'static>(event: F) -> Self {
        Self::from_source(Source::when(event, Cause::Future))
    }

    /// Fires once, when the file at `path` appears or goes, whichever its state at the call makes
    /// possible.
    ///
    /// 1. The call looks at `path`, following symbolic links. A missing parent folder, or a file in
    ///    its place, is just "not there".
    /// 2. From then on it is looked at every [`POLL_PERIOD`](Self::POLL_PERIOD), off the async
    ///    threads. If it was not there, it fires when it is; if it was, when it is gone or is
    ///    another file (renamed over it, made anew, the symbolic link turned).
    /// 3. A failing look, such as a permission taken away, changes nothing.
    ///
    /// Not seen are a change of the content in place, and a file that comes and goes between two
    /// looks.
    ///
    /// # Errors
    /// When the first look fails for another reason than absence; outside a tokio runtime, or in one
    /// built without `enable_time`.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let changed = poll::file_changed(&path, Self::POLL_PERIOD)?;
        Ok(Self::from_source(Source::when(changed, Cause::File(path))))
    }

    /// Fires once, when the parent process has ended.
    ///
    /// For a worker that must not outlive what started it. The parent is the one at the call, looked
    /// up again every [`POLL_PERIOD`](Self::POLL_PERIOD). One that ended before the call is not
    /// noticed, so make it the first thing in `main`.
    ///
    /// # Errors
    /// `Unsupported` if the parent is outside this PID namespace, as for the first process of a
    /// container; outside a tokio runtime, or in one built without `enable_time`.
    ///
    /// # References
    /// [getppid(2)](https://man7.org/linux/man-pages/man2/getppid.2.html)
    #[cfg(unix)]
    pub fn parent_gone() -> io::Result<Self> {
        let gone = poll::parent_gone(Self::POLL_PERIOD)?;
        Ok(Self::from_source(Source::when(gone, Cause::ParentGone)))
    }

    /// Never fires. The neutral element of [`or`](Self::or), and a default where a signal is due.
    pub const fn never() -> Self {
        Self::without_source()
    }
}
