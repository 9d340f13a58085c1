//! The reference server as a process: where it listens, who serves.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::process::{self, Process};
use super::{get, json, until};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_reference-server");

/// Listeners on ports that the system chooses.
pub(crate) const ANYWHERE: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// A running reference server, with an admin listener.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Who serves.
    pub(crate) pid: Pid,
}

impl Server {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_program(BINARY.as_ref(), flags).await
    }

    pub(crate) async fn start_program(program: &Path, flags: &[&str]) -> Self {
        Self::run(program, &[&ANYWHERE, flags].concat()).await
    }

    /// The same with a command line of one's own, which has one `--listen` and an `--admin`.
    pub(crate) async fn run(program: &Path, args: &[&str]) -> Self {
        let server = Self::run_others(program, args, 0).await;
        assert_eq!(server.pid, server.process.first);
        server
    }

    /// With another process than the one that is started to serve in the end, as this generation.
    pub(crate) async fn run_others(program: &Path, args: &[&str], generation: u32) -> Self {
        let mut process = Process::start(program, args);
        let listening = |line: String| {
            let address = line.strip_prefix("listening ").map(str::parse);
            address
                .unwrap_or_else(|| panic!("not a listener: {line}"))
                .unwrap()
        };
        let addr = listening(process.line().await);
        let admin = listening(process.line().await);
        let pid = process.first;
        let mut server = Self {
            process,
            addr,
            admin,
            pid,
        };
        server.ready(generation).await;
        server
    }

    /// Waits until a process of this generation serves.
    pub(crate) async fn ready(&mut self, generation: u32) -> Pid {
        loop {
            let line = self.process.line().await;
            if line.starts_with("listening ") {
                continue;
            }
            let pid = line
                .strip_prefix("ready pid=")
                .and_then(|rest| rest.split(' ').next());
            let pid = pid.unwrap_or_else(|| panic!("not ready: {line}"));
            assert_eq!(line, format!("ready pid={pid} generation={generation}"));
            self.pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
            return self.pid;
        }
    }

    /// Waits until a process of this generation serves, whether or not one before it has come so far.
    pub(crate) async fn ready_at_last(&mut self, generation: u32) -> Pid {
        let ready = format!(" generation={generation}");
        let line = loop {
            let line = self.process.line().await;
            if line.starts_with("ready pid=") && line.ends_with(&ready) {
                break line;
            }
        };
        let pid = line["ready pid=".len()..].split(' ').next().unwrap();
        self.pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        self.pid
    }

    /// Waits until a process that had handed over serves again.
    pub(crate) async fn serves_again(&mut self, pid: Pid) {
        let ready = format!("ready pid={} ", pid.as_raw_nonzero());
        // The one that it had handed over to may have said that it is ready, or not come to that.
        while !self.process.line().await.starts_with(&ready) {}
        self.pid = pid;
    }

    /// To the process that serves.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid, signal);
    }

    /// The exit status of the process that serves.
    pub(crate) async fn exit(&self) -> i32 {
        process::exit(self.pid).await
    }

    pub(crate) async fn status(&self) -> Value {
        json(&get(self.admin, "/status").await)
    }

    /// Waits until `n` requests are in flight besides the one that asks.
    pub(crate) async fn in_flight(&self, n: u64) {
        until(&format!("{n} requests in flight"), async || {
            self.status().await["in_flight"] == n
        })
        .await;
    }

    /// The same for requests that come and go.
    pub(crate) async fn in_flight_at_least(&self, n: u64) {
        until(&format!("{n} requests in flight"), async || {
            self.status().await["in_flight"]
                .as_u64()
                .is_some_and(|now| now >= n)
        })
        .await;
    }

    /// Waits until `n` connections are idle. The client sees the end of an answer before the server has noted it.
    pub(crate) async fn idle(&self, n: u64) {
        until(&format!("{n} idle connections"), async || {
            self.status().await["connections"]["idle"] == n
        })
        .await;
    }

    pub(crate) async fn entered(&self, phase: &str) {
        self.process.logged(1, &format!("phase=\"{phase}\"")).await;
    }
}
