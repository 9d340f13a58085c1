//! Reaping what the kernel gives to PID 1: processes whose parents have ended.
//!
//! A child that this process started itself is waited for by whoever started it, who wants to know how it ended. Nobody
//! can tell such a child from an orphan. But it is reaped within moments, so what remains a zombie for a second has
//! nobody who waits for it.

use std::{collections::BTreeMap, fs, future::pending, io, time::Duration};

use graceful_signal::{Hook, SignalKind, on_signal};
use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// How long a zombie may be somebody's.
const ITS_PARENTS: Duration = Duration::from_secs(1);

/// Reaps orphans if this process is PID 1, and does nothing otherwise.
pub(super) struct Orphans {
    ended: Option<(mpsc::UnboundedReceiver<()>, Hook)>,
    /// Since when.
    zombies: BTreeMap<i32, Instant>,
}

impl Orphans {
    pub(super) fn of_this_process() -> io::Result<Self> {
        Self::new(getpid().is_init())
    }

    fn new(is_init: bool) -> io::Result<Self> {
        let (sender, ended) = mpsc::unbounded_channel();
        let listen = || on_signal(SignalKind::child(), move || _ = sender.send(()));
        let hook = is_init.then(listen).transpose()?;
        Ok(Self {
            ended: hook.map(|hook| (ended, hook)),
            zombies: BTreeMap::new(),
        })
    }

    /// Waits until there may be something to reap. Cancel safe.
    pub(super) async fn wait(&mut self) {
        match &mut self.ended {
            Some(_) if !self.zombies.is_empty() => sleep(ITS_PARENTS).await,
            Some((ended, _)) => _ = ended.recv().await,
            None => pending().await,
        }
    }

    /// Reaps what is nobody's; those in `waited_for` never are.
    pub(super) fn reap(&mut self, waited_for: &[u32]) {
        let seen = std::mem::take(&mut self.zombies);
        let others = zombies(getpid())
            .into_iter()
            .filter(|pid| !waited_for.contains(&pid.unsigned_abs()));
        for pid in others {
            let since = seen.get(&pid).copied().unwrap_or_else(Instant::now);
            if since.elapsed() < ITS_PARENTS {
                self.zombies.insert(pid, since);
            } else if let Some(pid) = Pid::from_raw(pid) {
                // It may have been somebody's after all, and gone.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        while let Some((ended, _)) = &mut self.ended {
            if ended.try_recv().is_err() {
                break;
            }
        }
    }
}

/// The zombies among the children of `parent`. A process may end while we look.
fn zombies(parent: Pid) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let zombie = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        is_zombie_of(&stat, parent).then_some(pid)
    };
    processes.flatten().filter_map(zombie).collect()
}

/// `pid (name) state parent …`, where the name may contain anything. proc_pid_stat(5).
fn is_zombie_of(stat: &str, parent: Pid) -> bool {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_ascii_whitespace();
    fields.next() == Some("Z") && fields.next() == Some(&parent.as_raw_nonzero().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_is_waited_for_is_left_to_who_waits_and_another_is_reaped() {
        let mut orphans = Orphans::new(true).unwrap();
        let shell = |script: &str| {
            let mut shell = tokio::process::Command::new("sh");
            shell.args(["-c", script]);
            shell
        };
        let mut waited_for = shell("exit 7").spawn().unwrap();
        let ours = shell("exit 8").into_std().spawn().unwrap().id();
        let orphan = shell("exit 9").into_std().spawn().unwrap().id();
        let is_zombie = |pid: u32| zombies(getpid()).contains(&i32::try_from(pid).unwrap());
        let reaped = async {
            while !is_zombie(ours) || !orphans.zombies.is_empty() || is_zombie(orphan) {
                orphans.wait().await;
                orphans.reap(&[ours]);
            }
        };
        let (status, reaped) = tokio::join!(
            waited_for.wait(),
            tokio::time::timeout(Duration::from_secs(60), reaped)
        );
        assert_eq!(status.unwrap().code(), Some(7));
        reaped.unwrap();
        let ours = Pid::from_raw(i32::try_from(ours).unwrap());
        assert!(waitpid(ours, WaitOptions::empty()).unwrap().is_some());
    }

    #[test]
    fn a_zombie_is_known_by_its_state_and_its_parent() {
        let parent = Pid::from_raw(1).unwrap();
        assert!(is_zombie_of("7 (sh) Z 1 7 7 0", parent));
        assert!(is_zombie_of("7 (a) Z 2 b) Z 1 7 7 0", parent));
        for other in ["7 (sh) S 1 7", "7 (sh) Z 12 7", "7 (Z 1", "", "7 (sh) Z"] {
            assert!(!is_zombie_of(other, parent), "{other}");
        }
    }
}
