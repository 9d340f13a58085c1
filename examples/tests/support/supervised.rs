//! A reference server under `--supervise`, and what is seen of its processes.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

use super::server::{ANYWHERE, BINARY, Server};
use super::until;

pub(crate) async fn supervised(flags: &[&str]) -> Server {
    supervised_program(BINARY.as_ref(), flags).await
}

pub(crate) async fn supervised_program(program: &Path, flags: &[&str]) -> Server {
    let args = [&["--supervise"], &ANYWHERE[..], flags].concat();
    let server = Server::run_others(program, &args, 0).await;
    assert_ne!(server.pid, server.process.first);
    server
}

/// The supervisor reaps it, so it is seen to be gone.
pub(crate) async fn gone(pid: Pid) {
    let path = format!("/proc/{}", pid.as_raw_nonzero());
    until(&format!("the end of process {pid:?}"), async || {
        !Path::new(&path).exists()
    })
    .await;
}

/// `pid (name) state parent …` of all processes.
pub(crate) fn children(parent: Pid) -> Vec<(Pid, String)> {
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let child = |stat: String| {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.to_owned();
        let is_child = fields.next()? == parent.as_raw_nonzero().to_string();
        is_child.then_some((Pid::from_raw(pid)?, state))
    };
    stats.filter_map(child).collect()
}

pub(crate) fn zombies(parent: Pid) -> usize {
    let all = children(parent);
    all.iter().filter(|(_, state)| state == "Z").count()
}

pub(crate) fn descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    fs::read_dir(folder).unwrap().count()
}
