//! The servers that are compared, each as a process.

use std::{
    env, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use graceful_benches::process::{Server, serving};

/// A server, by the name it has in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contestant {
    pub(super) name: &'static str,
    kind: &'static str,
    protocol: &'static str,
}

const fn contestant(name: &'static str, kind: &'static str, protocol: &'static str) -> Contestant {
    Contestant {
        name,
        kind,
        protocol,
    }
}

pub(super) const OURS: Contestant = contestant("graceful-server", "graceful", "auto");
pub(super) const HYPER: Contestant = contestant("hyper", "hyper", "http1");
pub(super) const HYPER_HTTP2: Contestant = contestant("hyper", "hyper", "http2");
pub(super) const HYPER_UTIL: Contestant =
    contestant("hyper-util auto + GracefulShutdown", "hyper-util", "auto");
pub(super) const AXUM: Contestant = contestant("axum", "axum", "auto");
pub(super) const AXUM_AROUND: Contestant =
    contestant("axum + GracefulLayer around it", "axum-around", "auto");
pub(super) const AXUM_LAYER: Contestant =
    contestant("axum + GracefulLayer on it", "axum-layer", "auto");
pub(super) const AXUM_IN_FLIGHT: Contestant = contestant(
    "axum + tower-http InFlightRequests",
    "axum-in-flight",
    "auto",
);
pub(super) const AXUM_SERVER: Contestant = contestant("axum-server", "axum-server", "auto");
pub(super) const GO: Contestant = contestant("Go net/http", "go", "auto");
pub(super) const RAW: Contestant = contestant("raw epoll", "raw", "auto");
/// For one connection.
pub(super) const LAST: Contestant =
    contestant("nothing but tokio, waits for the client", "last", "auto");

/// Where a server runs, and how it stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) workers: u32,
    /// On the first core, and the clients on the second.
    pub(super) pinned: bool,
    /// Idle connections get no grace.
    pub(super) at_once: bool,
    /// Its standard output is read.
    pub(super) piped: bool,
}

pub(super) const ALONE: Setting = Setting {
    workers: 1,
    pinned: true,
    at_once: true,
    piped: false,
};

impl Contestant {
    /// Whether it can be run here.
    pub(super) fn is_there(self) -> bool {
        self.kind != GO.kind || go_server().is_some()
    }

    pub(super) fn start(self, listener: &TcpListener, setting: Setting) -> io::Result<Server> {
        let program = match go_server() {
            Some(go) if self.kind == GO.kind => go.to_path_buf(),
            _ => serving(self.kind, env!("CARGO_BIN_EXE_serve-hyper")),
        };
        let mut command = match setting.pinned {
            true => pinned(0, program),
            false => Command::new(program),
        };
        command.args([self.protocol, &setting.workers.to_string()]);
        if setting.at_once {
            command.arg("at-once");
        }
        command.stdout(match setting.piped {
            true => Stdio::piped(),
            false => Stdio::null(),
        });
        Server::start(&mut command, listener)
    }
}

/// A command that stays on one core, so that servers and clients do not share one. A machine with a single core has no
/// choice.
pub(super) fn pinned(core: usize, program: impl AsRef<Path>) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let program = program.as_ref();
    if cores < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// Go's server, built once, if there is a Go toolchain.
fn go_server() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build_go).as_deref()
}

fn build_go() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-server");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go/server.go");
    let status = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .status()
        .ok()?;
    status.success().then_some(program)
}
