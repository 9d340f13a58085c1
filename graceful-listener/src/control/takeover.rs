//! Asking a running server for its place, by the path of its control socket. What follows is the
//! protocol between a process and the one it started; only who started whom is different.

use std::path::Path;

use super::TAKEOVER;
use super::client::knock;
use crate::error::HandoffError;
use crate::handoff::heritage::{self, GREETING, Heritage, from_environment, inherit};
use crate::link::creator::Creator;

/// Asks the server whose control socket is at `path` to hand over to this process, which anybody
/// may have started: another container that shares the folder, another unit, a deployment script.
///
/// Call it first in `main`, before any listener is asked for. It connects, checks that both sides
/// speak a common version, and receives listeners and [state](crate::inherited_state), in ten
/// seconds at most; it blocks the thread meanwhile. From then on everything is as if the server
/// had started this process: `from_env` finds the listeners, [`ready`](crate::ready) waits for
/// COMMIT, and the server serves until then, and again if this process dies while it drains. If
/// the server turns this process down, by a veto for instance, `ready` or this function says why.
///
/// Claim what the server listens on, under the names and addresses that it has there: if this
/// process claims none of it but the control socket, it is turned down as well.
///
/// Returns whether there is a predecessor. There is none if nothing is at `path`, or what is there
/// was left by a server that is gone: then bind. A process that was started by its predecessor
/// has it already, so that a restart may use the same command line; `path` is then not looked at.
///
/// # Errors
///
/// [`is_aborted`](HandoffError::is_aborted) if the server does not want to hand over now,
/// [`is_protocol`](HandoffError::is_protocol) if there is no common version,
/// [`is_timed_out`](HandoffError::is_timed_out) if it says nothing, and
/// [`is_too_late`](HandoffError::is_too_late). The server then serves as before; this process
/// should end.
///
/// # Examples
///
/// ```no_run
/// use graceful_listener::{ControlSocket, HandoffListener, take_over};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// take_over("/run/app/control")?;
/// let listener = HandoffListener::from_env_or_bind("0.0.0.0:8080")?;
/// let control = ControlSocket::bind("/run/app/control")?;
/// # drop((listener, control));
/// # Ok(())
/// # }
/// ```
pub fn take_over(path: impl AsRef<Path>) -> Result<bool, HandoffError> {
    if !heritage::is_open() {
        return Err(HandoffError::too_late());
    }
    let found = match from_environment() {
        Heritage::Nobody => match knock(path.as_ref(), TAKEOVER, GREETING)? {
            Some(channel) => inherit(channel, None, Creator::default()).asked_for(),
            None => return Ok(false),
        },
        found => found,
    };
    match found {
        Heritage::Nobody => Err(HandoffError::aborted("the server ended meanwhile")),
        Heritage::Failed(error) => Err(error),
        found => heritage::settle(found).map(|()| true),
    }
}
