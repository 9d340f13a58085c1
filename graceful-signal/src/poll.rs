//! The two events that are found by looking again and again: a file that changes, a parent that
//! ends. Polling, because inotify would be one system's answer and sees nothing on network and
//! overlay file systems, which is where orchestrators put such files.

use std::fs::{self, Metadata};
use std::future::Future;
use std::io;
use std::path::{self, Path};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::error::failed;
use crate::runtime::with_driver;

/// Completes when what is at `path` is not what is there now.
pub(crate) fn file_changed(
    path: &Path,
    period: Duration,
) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let text = |source| failed(format!("cannot watch {}", path.display()), source);
    // Later changes of the working directory must not point it elsewhere.
    let path_at_call = path::absolute(path).map_err(text)?;
    let before = look(&path_at_call).map_err(text)?;
    let mut ticks = ticks(period)?;
    Ok(async move {
        loop {
            ticks.tick().await;
            let path = path_at_call.clone();
            // A file that cannot be looked at just now has not been seen to change.
            if matches!(spawn_blocking(move || look(&path)).await, Ok(Ok(now)) if now != before) {
                return;
            }
        }
    })
}

/// Completes when this process has another parent than now.
#[cfg(unix)]
pub(crate) fn parent_gone(period: Duration) -> io::Result<impl Future<Output = ()> + Send> {
    use std::os::unix::process::parent_id;

    let before = parent_id();
    if before == 0 {
        let text = "cannot watch the parent process: it is outside this PID namespace";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let mut ticks = ticks(period)?;
    Ok(async move {
        while parent_id() == before {
            ticks.tick().await;
        }
    })
}

fn ticks(period: Duration) -> io::Result<Interval> {
    let mut ticks = with_driver("time", || interval_at(Instant::now() + period, period))?;
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(ticks)
}

/// What tells one file from another under the same name. The birth time is part of it because file
/// systems give the number of a removed inode to the next file made.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    inode: (u64, u64),
    born: Option<SystemTime>,
}

impl Identity {
    fn new(metadata: &Metadata) -> Self {
        Self {
            inode: inode(metadata),
            born: metadata.created().ok(),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;

    (metadata.dev(), metadata.ino())
}

/// Stable Rust shows no file index on Windows: there the birth time has to do.
#[cfg(not(unix))]
fn inode(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

fn look(path: &Path) -> io::Result<Option<Identity>> {
    use io::ErrorKind::{NotADirectory, NotFound};

    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Identity::new(&metadata))),
        Err(e) if [NotFound, NotADirectory].contains(&e.kind()) => Ok(None),
        Err(e) => Err(e),
    }
}
