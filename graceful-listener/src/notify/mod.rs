//! Telling the service manager: one datagram to the socket that `NOTIFY_SOCKET` names, as
//! sd_notify(3) does. Nothing here ends a process or changes its environment (laws 12 and 13).

mod listeners;
mod main_pid;
mod socket;
mod stand_in;
mod state;
mod store;
mod watchdog;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use self::socket::Address;

pub use self::state::NotifyState;

/// What the manager set for this process, and is not for its workers.
pub(crate) const VARIABLES: [&str; 3] = [SOCKET, watchdog::PID, watchdog::USEC];

const SOCKET: &str = "NOTIFY_SOCKET";

pub(crate) use self::main_pid::{Claim, MainPid};
pub(crate) use self::stand_in::StandIn;
pub(crate) use self::store::{is_called, is_stored, stored_as};
pub(crate) use self::watchdog::{PID as WATCHDOG_PID, is_ours as watchdog_is_ours};

/// The service manager that started this process, if one did and wants to hear from it.
///
/// systemd sets `NOTIFY_SOCKET` for units of `Type=notify` and for all with `NotifyAccess=`; other
/// managers and container runtimes speak the same protocol. Without the variable every call does
/// nothing and succeeds, so a program says what it has to say wherever it runs.
///
/// A hand-over to a [`Successor`](crate::Successor) tells the manager by itself which process is
/// the main one (`MAINPID=`): the successor before its program begins, the predecessor at COMMIT,
/// and once more for itself if the successor failed or died. What a program has to say is that it
/// is ready, reloads or stops; `graceful-server` says that, too.
///
/// For a process that was another's child when it became the main one, systemd does not wait between SIGTERM and SIGKILL. So a
/// successor has it look again when the predecessor has ended: [`reparented`](crate::reparented).
///
/// What is not covered: `vsock:` addresses, which systemd gives to virtual machines.
///
/// # Examples
///
/// ```
/// use graceful_listener::{Notify, NotifyState};
///
/// let manager = Notify::from_env();
/// manager.send(&[NotifyState::Ready, NotifyState::Status("12 routes".into())])?;
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// # References
///
/// [`sd_notify(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)
#[derive(Clone, Debug)]
pub struct Notify {
    address: Address,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET` and the variables of the watchdog. What is malformed is told by the
    /// first [`send`](Self::send).
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name), std::process::id())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        Self {
            address: Address::parse(variable(SOCKET)),
            watchdog: watchdog::interval(variable, pid),
        }
    }

    /// Returns whether anybody listens.
    pub fn is_enabled(&self) -> bool {
        !self.address.is_nobody()
    }

    /// Returns within what time the manager wants to hear [`NotifyState::Watchdog`] again, if it
    /// watches this process. Say it twice as often.
    ///
    /// A successor has the watchdog of its predecessor: `WATCHDOG_PID`, which names the
    /// predecessor, is left out of its environment, and without it the others count for whoever
    /// reads them.
    ///
    /// # References
    ///
    /// [`sd_watchdog_enabled(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html)
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_enabled())
    }

    /// Tells the manager, all in one message; nothing without one.
    ///
    /// It waits for a manager whose queue is full, a tenth of a second at the most.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `NOTIFY_SOCKET` is neither an absolute path
    /// nor an abstract `@name`, [`WouldBlock`](io::ErrorKind::WouldBlock) if the manager does not
    /// read, and those of connect(2) if it is gone. None of them is a reason to stop serving.
    pub fn send(&self, states: &[NotifyState]) -> io::Result<()> {
        if states.is_empty() {
            return Ok(());
        }
        self.address.send(&state::message(states), &[])
    }
}

/// With abstract names, which only Linux has.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
