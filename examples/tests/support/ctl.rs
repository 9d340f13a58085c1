//! `gracefulctl` as a process, and the control socket that it asks at.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::BOUND;
use super::process::{Process, scratch};
use super::server::{BINARY, Server};

/// A control socket that is gone with its folder in the end.
pub(crate) struct Control {
    folder: PathBuf,
    pub(crate) path: String,
}

/// How a run of `gracefulctl` ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Control {
    pub(crate) fn new() -> Self {
        let folder = scratch();
        let path = folder.join("control").to_str().unwrap().to_owned();
        Self { folder, path }
    }

    pub(crate) async fn server(&self, flags: &[&str]) -> Server {
        Server::start(&[&["--control", &self.path], flags].concat()).await
    }

    /// `words` are what stands after the socket on the command line.
    pub(crate) async fn ctl(&self, words: &str) -> Ran {
        ctl(&["--socket", &self.path], words).await
    }

    pub(crate) async fn status(&self) -> Value {
        let ran = self.ctl("status").await;
        assert_eq!((ran.status, ran.out.lines().count()), (0, 1), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }

    /// A process that asks for the place of the one that serves.
    pub(crate) fn candidate(&self, flags: &[&str]) -> Process {
        let own = [
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--takeover",
        ];
        let control = ["--control", &self.path];
        Process::start(BINARY.as_ref(), &[&own, &control[..], flags].concat())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) async fn ctl(socket: &[&str], words: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gracefulctl"));
    command.args(socket).args(words.split_whitespace());
    let ran = timeout(BOUND, command.kill_on_drop(true).output()).await;
    let ran = ran
        .unwrap_or_else(|_| panic!("gracefulctl {words} does not end"))
        .unwrap();
    Ran {
        status: ran.status.code().unwrap(),
        out: String::from_utf8(ran.stdout).unwrap(),
        err: String::from_utf8(ran.stderr).unwrap(),
    }
}
