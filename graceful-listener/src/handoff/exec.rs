//! A supervisor that becomes another program in place: what it has travels through a socket that
//! only it itself reads, after the exec. Guards law 11: until the exec nothing is changed.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;

use super::calls::generation;
use super::introduction::introduction;
use super::plan::Plan;
use super::process;
use super::spawn::{program, with_channel};
use super::worker::Worker;
use crate::carried::{Carried, Carry};
use crate::error::HandoffError;
use crate::fd::HandoffFd;
use crate::link::channel::Channel;
use crate::protocol::frame::Frame;
use crate::protocol::machine::Event;

/// The program that runs, under whatever name it was put away.
const RUNNING: &str = "/proc/self/exe";

/// Does not return if it succeeds. The state machine is held as busy meanwhile: a child that is
/// about to be rolled back would be nobody's afterwards.
pub(super) fn exec(plan: &Plan, carried: Vec<Carried>, workers: &[&Worker]) -> HandoffError {
    if let Err(error) = process::trigger() {
        return error;
    }
    let error = try_exec(plan, carried, workers);
    process::tell(Event::Failed);
    error
}

/// If the exec itself fails, the standard library has already changed how this process takes
/// SIGPIPE; so it starts anew as what it was.
fn try_exec(plan: &Plan, mut carried: Vec<Carried>, workers: &[&Worker]) -> HandoffError {
    let program = match program(plan) {
        Ok(program) => program,
        Err(error) => return error,
    };
    match named(workers) {
        Ok(channels) => carried.extend(channels),
        Err(error) => return HandoffError::spawn_failed(program, error),
    }
    let what: Vec<_> = carried.into_iter().map(|one| one.0).collect();
    // The workers have them as well, and the next program knows those.
    let knows = process::knows_who_has_it(workers.len());
    let sole = what.iter().filter(|one| knows && one.is_sole());
    let sole: Vec<_> = sole.map(|one| one.name().to_owned()).collect();
    let error = replace(plan, &program, &what, &sole);
    crate::log::not_executed(&program, &error);
    replace(plan, Path::new(RUNNING), &what, &sole);
    HandoffError::spawn_failed(program, error)
}

fn named(workers: &[&Worker]) -> io::Result<Vec<Carried>> {
    let channels = workers.iter().map(|worker| {
        let (name, channel) = worker.channel()?;
        Ok(Carried::from(&HandoffFd::new(name, channel)?))
    });
    channels.collect()
}

/// All that a successor would hear, COMMIT included, waits in the socket for the program to come.
fn replace(plan: &Plan, program: &Path, what: &[Arc<dyn Carry>], sole: &[String]) -> io::Error {
    let prepared = Channel::pair().and_then(|(channel, theirs)| {
        let parcels = introduction(generation(), what).into_iter();
        let end = [Frame::Delivered, Frame::Commit].map(|frame| (frame, Vec::new()));
        for (frame, fds) in parcels.chain(end) {
            if !channel.post(&frame, fds)? {
                return Err(io::Error::other("there is too much to hand over"));
            }
        }
        channel.say_sole(sole.to_vec());
        // Its end of the pair closes at the exec; what was written is there to be read.
        Ok((channel, with_channel(plan, program, &theirs, None, None)?))
    });
    match prepared {
        Ok((_channel, mut command)) => command.as_std_mut().exec(),
        Err(error) => error,
    }
}
