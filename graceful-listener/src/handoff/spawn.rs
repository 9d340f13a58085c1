//! Starting the program of the successor with the channel as the only descriptor it inherits
//! besides the standard three.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use rustix::io::fcntl_dupfd_cloexec;
use tokio::process::Command;

use super::origin::Origin;
use super::plan::Plan;
use super::started::Started;
use crate::env::{self, ChannelFd};
use crate::error::HandoffError;
use crate::link::channel::{Channel, Parcel};
use crate::notify::{self, Claim, MainPid};
use crate::sys;

/// How long a program that is just being written is waited for.
const BEING_WRITTEN: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(50);

/// Starts the program. A missing or unusable one is an error at once.
///
/// A deployment that writes into the file instead of renaming over it makes exec fail for a
/// moment (ETXTBSY); that is waited out. execve(2).
///
/// `introduction` waits in its channel when it begins to run.
pub(super) async fn spawn(plan: &Plan, introduction: &[Parcel]) -> Result<Started, HandoffError> {
    let program = program(plan)?;
    let give_up = Instant::now() + BEING_WRITTEN;
    loop {
        match start(plan, &program, introduction) {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < give_up =>
            {
                tokio::time::sleep(RETRY).await;
            }
            result => return result.map_err(|error| HandoffError::spawn_failed(program, error)),
        }
    }
}

/// The path it is started by.
pub(super) fn program(plan: &Plan) -> Result<PathBuf, HandoffError> {
    let origin = Origin::recorded();
    let program = plan.program.clone().or_else(|| origin.program.clone());
    program.ok_or_else(|| HandoffError::unknown_program(origin.arg0.to_string_lossy().into_owned()))
}

/// The program in the environment of the successor, without its arguments.
pub(super) fn command(plan: &Plan, program: &Path) -> Command {
    let mut command = Command::new(program);
    if plan.program.is_none() {
        command.arg0(&Origin::recorded().arg0);
    }
    for variable in env::of_our_start() {
        command.env_remove(variable);
    }
    if notify::watchdog_is_ours() {
        command.env_remove(notify::WATCHDOG_PID);
    }
    command.envs(plan.env.iter().map(|(key, value)| (key, value)));
    command
}

fn start(plan: &Plan, program: &Path, introduction: &[Parcel]) -> io::Result<Started> {
    let (channel, theirs) = Channel::pair()?;
    let inode = fstat(&theirs)?.st_ino;
    channel.post_all(introduction);
    // A worker is not the main process of the unit, and its supervisor speaks to the manager.
    let is_worker = plan.worker.is_some();
    let claim = if is_worker { None } else { Claim::from_env() };
    let mut command = with_channel(plan, program, &theirs, plan.worker, claim)?;
    if is_worker {
        for variable in notify::VARIABLES {
            command.env_remove(variable);
        }
    }
    // A process that could not become the successor has said that it is the main one.
    let refuted = |_: &io::Error| {
        if !is_worker {
            MainPid::Own.tell()
        }
    };
    let child = command.spawn().inspect_err(refuted)?;
    Ok(Started::new(child, channel, inode))
}

/// The program with its arguments, which finds `theirs` as its channel.
pub(super) fn with_channel(
    plan: &Plan,
    program: &Path,
    theirs: &OwnedFd,
    worker: Option<u32>,
    claim: Option<Claim>,
) -> io::Result<Command> {
    // Out of the way of the standard three, should one of them be closed here.
    let theirs = fcntl_dupfd_cloexec(theirs, 3)?;
    let mut command = command(plan, program);
    let args = plan.args.as_ref();
    command.args(args.unwrap_or_else(|| &Origin::recorded().args));
    let channel = ChannelFd {
        fd: theirs.as_raw_fd(),
        ino: fstat(&theirs)?.st_ino,
        worker,
    };
    let (key, value) = channel.variable();
    command.env(key, value);
    sys::pass_through_exec(&mut command, theirs, move || {
        if let Some(claim) = &claim {
            claim.say();
        }
    });
    Ok(command)
}
