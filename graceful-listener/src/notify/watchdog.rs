//! The variables of the watchdog: whether this process is watched, and how closely. Pure.

use std::ffi::OsString;
use std::time::Duration;

pub(crate) const PID: &str = "WATCHDOG_PID";
pub(super) const USEC: &str = "WATCHDOG_USEC";

/// Within what time a sign of life is wanted. `WATCHDOG_PID` keeps descendants from taking it for
/// theirs; without it, it is for whoever reads it.
pub(super) fn interval(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Duration> {
    let text = variable(USEC)?;
    let usec: u64 = text.to_str()?.parse().ok()?;
    let meant = match variable(PID) {
        Some(text) => text.to_str()?.parse() == Ok(pid),
        None => true,
    };
    (meant && usec > 0).then(|| Duration::from_micros(usec))
}

/// Whether `WATCHDOG_PID` names this process. A successor must not see it then: it would not feel
/// meant, and be ended as soon as it is the main process.
pub(crate) fn is_ours() -> bool {
    std::env::var(PID).is_ok_and(|text| text.parse() == Ok(std::process::id()))
}
