//! What can be told, and how it is written. Pure.

use std::fmt::Write;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Something to tell the service manager; [`Notify::send`](crate::Notify::send) does.
///
/// # References
///
/// [`sd_notify(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html),
/// "Well-known assignments"
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyState {
    /// `READY=1`: the start, or the reload that [`Reloading`](Self::Reloading) began, is over.
    Ready,
    /// `RELOADING=1`, with the time of now: a reload begins. It has to be followed by
    /// [`Ready`](Self::Ready), also when the reload fails.
    Reloading,
    /// `STOPPING=1`: the service stops. systemd takes no other word for it from then on.
    Stopping,
    /// `STATUS=`: one line for people, which `systemctl status` shows.
    Status(String),
    /// `MAINPID=`: that process is the main one of the service.
    MainPid(u32),
    /// `EXTEND_TIMEOUT_USEC=`: what is going on, a start, a reload or a stop, takes that much
    /// longer from now. Say it again before that time is over.
    ExtendTimeout(Duration),
    /// `WATCHDOG=1`: this process is alive.
    Watchdog,
}

/// One assignment a line.
pub(super) fn message(states: &[NotifyState]) -> String {
    let mut message = String::new();
    for state in states {
        // Writing to a string does not fail.
        let _ = write(&mut message, state);
        message.push('\n');
    }
    message.pop();
    message
}

fn write(to: &mut String, state: &NotifyState) -> std::fmt::Result {
    match state {
        NotifyState::Ready => write!(to, "READY=1"),
        // Type=notify-reload tells by the time whether the reload began after it asked for it.
        NotifyState::Reloading => write!(to, "RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()),
        NotifyState::Stopping => write!(to, "STOPPING=1"),
        NotifyState::Status(text) => write!(to, "STATUS={}", text.replace(['\n', '\r'], " ")),
        NotifyState::MainPid(pid) => write!(to, "MAINPID={pid}"),
        NotifyState::ExtendTimeout(by) => write!(to, "EXTEND_TIMEOUT_USEC={}", by.as_micros()),
        NotifyState::Watchdog => write!(to, "WATCHDOG=1"),
    }
}

fn monotonic_usec() -> u128 {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).map_or(0, |now| now.as_micros())
}
