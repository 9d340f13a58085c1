//! Why a hand-over did not happen.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// Why a hand-over, or what was asked of a server at its control socket, did not happen.
///
/// Whatever it says, the process that had the listeners goes on serving, and the next attempt
/// starts afresh. It becomes an [`io::Error`] with `?`.
///
/// # Design
///
/// The causes are predicates and not variants, so that a new cause breaks nobody. It is cheap to
/// clone because each of several waiting tasks is told.
#[derive(Clone)]
pub struct HandoffError(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Aborted {
        reason: String,
    },
    BadState {
        name: String,
        why: String,
    },
    Busy,
    CheckFailed {
        program: PathBuf,
        status: Option<ExitStatus>,
        said: String,
    },
    Exited {
        pid: u32,
        status: Option<ExitStatus>,
    },
    Failed {
        reason: String,
    },
    HandedOver {
        pid: u32,
    },
    Io {
        step: &'static str,
        cause: io::Error,
    },
    NoAnswer {
        after: Duration,
    },
    NobodyThere {
        path: PathBuf,
    },
    NothingClaimed,
    NotReplaced {
        reason: String,
    },
    NotServing {
        beside: Option<u32>,
    },
    Protocol {
        what: String,
    },
    SilentPredecessor,
    SpawnFailed {
        program: PathBuf,
        cause: io::Error,
    },
    Supervised,
    TooLate,
    TimedOut {
        pid: u32,
        after: Duration,
    },
    UnknownProgram {
        arg0: String,
    },
    Vetoed {
        reason: String,
    },
    WouldKillContainer,
}

impl HandoffError {
    fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    /// An attempt is under way, or being rolled back, or it is the one that started this process
    /// and has not committed yet. One successor at a time.
    pub fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy | Kind::NotServing { .. })
    }

    /// The listeners are the successor's already; ask it, by its [`pid`](Self::pid).
    pub fn is_handed_over(&self) -> bool {
        matches!(*self.0, Kind::HandedOver { .. })
    }

    /// The program is missing, not executable, or the system does not start it.
    pub fn is_spawn_failed(&self) -> bool {
        matches!(
            *self.0,
            Kind::SpawnFailed { .. } | Kind::UnknownProgram { .. }
        )
    }

    /// The successor ended before it took over; [`exit_status`](Self::exit_status) says how.
    pub fn is_exited(&self) -> bool {
        matches!(*self.0, Kind::Exited { .. })
    }

    /// The other side was not ready, or said nothing, for as long as it may take.
    pub fn is_timed_out(&self) -> bool {
        matches!(
            *self.0,
            Kind::TimedOut { .. } | Kind::SilentPredecessor | Kind::NoAnswer { .. }
        )
    }

    /// This process is PID 1: once it ends, the kernel kills the successor too.
    pub fn is_would_kill_container(&self) -> bool {
        matches!(*self.0, Kind::WouldKillContainer)
    }

    /// This process is a supervisor's worker ([`is_worker`](crate::is_worker)), and the supervisor
    /// was asked to replace it: it starts the next worker and tells this one to end. What becomes
    /// of that is in the supervisor's log; [`ask_supervisor`](crate::ask_supervisor) waits for it.
    pub fn is_supervised(&self) -> bool {
        matches!(*self.0, Kind::Supervised)
    }

    /// The other side called the hand-over off, or the caller did.
    pub fn is_aborted(&self) -> bool {
        matches!(*self.0, Kind::Aborted { .. })
    }

    /// The server was asked for something ([`command`](crate::command())), or a supervisor for a
    /// restart ([`ask_supervisor`](crate::ask_supervisor)), and did not do it.
    pub fn is_failed(&self) -> bool {
        matches!(*self.0, Kind::Failed { .. } | Kind::NotReplaced { .. })
    }

    /// No server is behind the path of the control socket.
    pub fn is_nobody_there(&self) -> bool {
        matches!(*self.0, Kind::NobodyThere { .. })
    }

    /// Listeners were asked for before [`take_over`](crate::take_over).
    pub fn is_too_late(&self) -> bool {
        matches!(*self.0, Kind::TooLate)
    }

    /// The program was asked to check itself ([`check`](crate::SuccessorBuilder::check)) and found
    /// something, or did not come to an end.
    pub fn is_check_failed(&self) -> bool {
        matches!(*self.0, Kind::CheckFailed { .. })
    }

    /// The application of this process is against it ([`veto`](crate::SuccessorBuilder::veto)).
    pub fn is_vetoed(&self) -> bool {
        matches!(*self.0, Kind::Vetoed { .. })
    }

    /// A process that asked to take over ([`take_over`](crate::take_over)) claims none of the listeners that clients
    /// come to: it has other addresses or names for them, and the service would end with the old process. Both sides
    /// hear of it, and the old process serves on.
    pub fn is_nothing_claimed(&self) -> bool {
        matches!(*self.0, Kind::NothingClaimed)
    }

    /// The application state for the successor is too large; nothing was started.
    pub fn is_bad_state(&self) -> bool {
        matches!(*self.0, Kind::BadState { .. })
    }

    /// The other side does not speak the protocol, or no version of it that we do.
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Protocol { .. })
    }

    /// Returns how the successor or its check ended, if that is the cause.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match *self.0 {
            Kind::Exited { status, .. } | Kind::CheckFailed { status, .. } => status,
            _ => None,
        }
    }

    /// Returns the process number of the successor that the error speaks of.
    pub fn pid(&self) -> Option<u32> {
        match *self.0 {
            Kind::Exited { pid, .. } | Kind::HandedOver { pid } | Kind::TimedOut { pid, .. } => {
                Some(pid)
            }
            _ => None,
        }
    }

    pub(crate) fn aborted(reason: impl Into<String>) -> Self {
        Self::new(Kind::Aborted {
            reason: reason.into(),
        })
    }

    pub(crate) fn bad_state(name: &str, why: String) -> Self {
        let name = name.to_owned();
        Self::new(Kind::BadState { name, why })
    }

    pub(crate) fn busy() -> Self {
        Self::new(Kind::Busy)
    }

    pub(crate) fn check_failed(program: &Path, status: Option<ExitStatus>, said: &[u8]) -> Self {
        let said = String::from_utf8_lossy(said);
        let said: Vec<_> = said.lines().map(str::trim).collect();
        Self::new(Kind::CheckFailed {
            program: program.to_owned(),
            status,
            said: said.join("; "),
        })
    }

    pub(crate) fn exited(pid: u32, status: Option<ExitStatus>) -> Self {
        Self::new(Kind::Exited { pid, status })
    }

    pub(crate) fn failed(reason: String) -> Self {
        Self::new(Kind::Failed { reason })
    }

    pub(crate) fn handed_over(pid: u32) -> Self {
        Self::new(Kind::HandedOver { pid })
    }

    pub(crate) fn io(step: &'static str, cause: io::Error) -> Self {
        Self::new(Kind::Io { step, cause })
    }

    pub(crate) fn no_answer(after: Duration) -> Self {
        Self::new(Kind::NoAnswer { after })
    }

    pub(crate) fn nobody_there(path: PathBuf) -> Self {
        Self::new(Kind::NobodyThere { path })
    }

    pub(crate) fn nothing_claimed() -> Self {
        Self::new(Kind::NothingClaimed)
    }

    pub(crate) fn not_replaced(reason: String) -> Self {
        Self::new(Kind::NotReplaced { reason })
    }

    /// `beside` is the predecessor that serves as well.
    pub(crate) fn not_serving(beside: Option<u32>) -> Self {
        Self::new(Kind::NotServing { beside })
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::new(Kind::Protocol { what: what.into() })
    }

    pub(crate) fn silent_predecessor() -> Self {
        Self::new(Kind::SilentPredecessor)
    }

    pub(crate) fn spawn_failed(program: PathBuf, cause: io::Error) -> Self {
        Self::new(Kind::SpawnFailed { program, cause })
    }

    pub(crate) fn supervised() -> Self {
        Self::new(Kind::Supervised)
    }

    pub(crate) fn timed_out(pid: u32, after: Duration) -> Self {
        Self::new(Kind::TimedOut { pid, after })
    }

    pub(crate) fn too_late() -> Self {
        Self::new(Kind::TooLate)
    }

    pub(crate) fn unknown_program(arg0: String) -> Self {
        Self::new(Kind::UnknownProgram { arg0 })
    }

    pub(crate) fn vetoed(reason: String) -> Self {
        Self::new(Kind::Vetoed { reason })
    }

    /// The reason as it was given, or all that is to be said.
    pub(crate) fn reason(&self) -> String {
        match &*self.0 {
            Kind::Vetoed { reason } => reason.clone(),
            _ => self.to_string(),
        }
    }

    pub(crate) fn would_kill_container() -> Self {
        Self::new(Kind::WouldKillContainer)
    }
}

/// Writes an error and its causes in one line.
pub(crate) fn with_causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    match error.source() {
        Some(cause) => {
            f.write_str(": ")?;
            with_causes(cause, f)
        }
        None => Ok(()),
    }
}

/// What `main` prints when it returns this: the text for people, with its causes.
impl fmt::Debug for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_causes(self, f)
    }
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Aborted { reason } => write!(f, "the hand-over was called off: {reason}"),
            Kind::BadState { name, why } => {
                write!(f, "state {name:?} cannot be handed over: {why}")
            }
            Kind::Busy => f.write_str("a successor is being started already; wait for it"),
            Kind::CheckFailed {
                program,
                status,
                said,
            } => {
                let program = program.display();
                match status {
                    Some(status) => write!(f, "{program} does not pass its own check ({status})")?,
                    None => write!(f, "the check of {program} did not end in time")?,
                }
                match said.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; it says: {said}"),
                }
            }
            Kind::Exited { pid, status } => {
                write!(f, "successor {pid} ended before it took over")?;
                match status {
                    Some(status) => write!(f, " ({status}); see its log"),
                    None => f.write_str("; see its log"),
                }
            }
            Kind::Failed { reason } => write!(f, "the server did not do it: {reason}"),
            Kind::HandedOver { pid } => {
                write!(
                    f,
                    "process {pid} has the listeners already; send it the request"
                )
            }
            Kind::Io { step, .. } => write!(f, "cannot {step}"),
            Kind::NoAnswer { after } => write!(
                f,
                "the server did not answer within {after:?}; it may still do what it was asked for"
            ),
            Kind::NobodyThere { path } => {
                write!(f, "no server answers at {}", path.display())
            }
            Kind::NothingClaimed => f.write_str(
                "the process that asked to take over claims none of the service's listeners; give it the addresses \
                 and names that they have, at least one of them",
            ),
            Kind::NotReplaced { reason } => {
                write!(f, "the supervisor did not replace this process: {reason}")
            }
            Kind::NotServing { beside: Some(pid) } => write!(
                f,
                "this process serves beside process {pid}, which decides who goes on: a restart of that one (SIGHUP) commits this one, SIGTERM to this one rolls it back"
            ),
            Kind::NotServing { beside: None } => f.write_str(
                "this process has not taken over itself yet; wait for `ready` before a successor",
            ),
            Kind::Protocol { what } => write!(f, "the other side breaks the protocol: {what}"),
            Kind::SilentPredecessor => {
                f.write_str("the predecessor did not send its listeners in time")
            }
            Kind::SpawnFailed { program, .. } => {
                write!(f, "cannot start the successor {}", program.display())
            }
            Kind::TooLate => f.write_str(
                "listeners were asked for before `take_over`; call it first, right after the start",
            ),
            Kind::TimedOut { pid, after } => write!(
                f,
                "successor {pid} was not ready within {after:?}; give it more with \
                 `ready_timeout`, or let it call `extend`"
            ),
            Kind::UnknownProgram { arg0 } => write!(
                f,
                "this process was started as {arg0:?}, which names no file; say where the \
                 program is with `program(path)`"
            ),
            Kind::Vetoed { reason } => write!(f, "a successor is not wanted now: {reason}"),
            Kind::WouldKillContainer => f.write_str(
                "this process is PID 1, so its end would end the container and the successor with \
                 it; run it under a supervisor that keeps the listeners (`Supervisor`, \
                 `--supervise`), let the next container take over at the control socket \
                 (`take_over`), or start it under an init such as `docker run --init`",
            ),
            Kind::Supervised => f.write_str(
                "this process is a worker, and its supervisor was asked to replace it; what becomes of \
                 that is in its log",
            ),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::Io { cause, .. } | Kind::SpawnFailed { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<HandoffError> for io::Error {
    fn from(error: HandoffError) -> Self {
        let kind = match &*error.0 {
            Kind::Aborted { .. } => io::ErrorKind::ConnectionAborted,
            Kind::Busy | Kind::HandedOver { .. } | Kind::NotServing { .. } => {
                io::ErrorKind::ResourceBusy
            }
            Kind::Io { cause, .. } | Kind::SpawnFailed { cause, .. } => cause.kind(),
            Kind::Protocol { .. } => io::ErrorKind::InvalidData,
            Kind::NoAnswer { .. } | Kind::SilentPredecessor | Kind::TimedOut { .. } => {
                io::ErrorKind::TimedOut
            }
            Kind::NobodyThere { .. } | Kind::UnknownProgram { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
