//! What is looked at before a successor costs anything: whether this process may have one, whether
//! the application agrees, whether the program is there and finds its own configuration good.
//! Guards law 11: nothing has been started yet that would have to be undone.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::time::{sleep, timeout};

use super::calls::{asked_supervisor, beside, owns};
use super::contained::contained;
use super::plan::{Plan, Veto};
use super::spawn::{command, program};
use crate::error::HandoffError;

/// How much of what a check says on standard error goes into the error.
const TAIL: usize = 1024;
/// From the end of a check to the end of what it wrote, should a child of its own hold the pipe, and from a KILL to the end
/// of a check, should it hang in the kernel.
const EXIT_TO_END: Duration = Duration::from_secs(1);

/// Whether this process may have a successor at all, and the application agrees.
pub(super) fn allowed(plan: &Plan) -> Result<(), HandoffError> {
    // A supervisor serves nobody: its workers come and go before and after it has let its own
    // predecessor go.
    if plan.worker.is_none() && !owns() {
        return Err(HandoffError::not_serving(beside()));
    }
    unvetoed(plan)
}

/// Whether the application of this process has nothing against a successor.
pub(super) fn unvetoed(plan: &Plan) -> Result<(), HandoffError> {
    for Veto(veto) in &plan.vetoes {
        contained(&**veto)
            .and_then(|verdict| verdict)
            .map_err(HandoffError::vetoed)?;
    }
    Ok(())
}

/// Whether a child of this process can succeed it.
pub(super) async fn startable(plan: &Plan, own: Pid) -> Result<(), HandoffError> {
    if plan.worker.is_none() {
        if asked_supervisor() {
            return Err(HandoffError::supervised());
        }
        if own.is_init() {
            return Err(HandoffError::would_kill_container());
        }
    }
    usable(plan).await
}

/// Whether the program can be executed, and finds its configuration good.
pub(super) async fn usable(plan: &Plan) -> Result<(), HandoffError> {
    let program = program(plan)?;
    // What is not a whole path is looked up by whoever starts it.
    if program.is_absolute() {
        access(&program, Access::EXEC_OK)
            .map_err(|error| HandoffError::spawn_failed(program.clone(), error.into()))?;
    }
    match &plan.check {
        Some(args) => check(plan, &program, args).await,
        None => Ok(()),
    }
}

/// Runs the program for its opinion. Dropping the future ends it.
async fn check(plan: &Plan, program: &Path, args: &[OsString]) -> Result<(), HandoffError> {
    let mut check = command(plan, program);
    check.args(args).kill_on_drop(true);
    check.stdin(Stdio::null()).stdout(Stdio::null());
    let ran = match check.stderr(Stdio::piped()).spawn() {
        Ok(child) => run(child, plan.ready_timeout).await,
        Err(error) => Err(error),
    };
    match ran.map_err(|error| HandoffError::spawn_failed(program.to_owned(), error))? {
        (Some(status), _) if status.success() => Ok(()),
        (status, said) => Err(HandoffError::check_failed(program, status, &said)),
    }
}

/// Waits for its end, at most for `bound`; returns how it ended and what it said last.
async fn run(mut child: Child, bound: Duration) -> io::Result<(Option<ExitStatus>, Vec<u8>)> {
    let (mut stderr, mut said) = (child.stderr.take(), Vec::new());
    let mut late = pin!(sleep(bound));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            () = read(&mut stderr, &mut said) => {}
            () = &mut late => {
                // Reaped before anybody hears of it.
                let _ = timeout(EXIT_TO_END, child.kill()).await;
                return Ok((None, said));
            }
        }
    };
    let rest = async {
        while stderr.is_some() {
            read(&mut stderr, &mut said).await;
        }
    };
    let _ = timeout(EXIT_TO_END, rest).await;
    Ok((Some(status), said))
}

/// Reads some more; for ever, once there is no more. Cancel safe.
async fn read(stderr: &mut Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(pipe) = stderr else {
        return std::future::pending().await;
    };
    let mut bytes = [0; TAIL];
    match pipe.read(&mut bytes).await {
        Ok(read @ 1..) => {
            said.extend_from_slice(&bytes[..read]);
            said.drain(..said.len().saturating_sub(TAIL));
        }
        _ => *stderr = None,
    }
}
