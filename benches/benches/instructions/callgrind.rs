//! One run of a program under callgrind: how many instructions it took.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use graceful_benches::{
    process::{Server, listener, serving},
    wire::{Client, Protocol},
};
use rustix::process::Signal;

/// What a client does with a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    /// On the first connection.
    pub(super) requests: u32,
    /// How many of them at once: more than 1 is for HTTP/2 only. `requests` is a multiple of it.
    pub(super) streams: u32,
    /// With one request each.
    pub(super) connections: u32,
    pub(super) wait: Duration,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) instructions: f64,
    pub(super) seconds: f64,
}

/// A callgrind run to be: the command, and where its result is.
pub(super) fn valgrind(name: &str) -> (Command, PathBuf) {
    let out = std::env::temp_dir().join(format!("graceful-benches.{}.{name}", std::process::id()));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        // Where the stack begins must not depend on who calls.
        .env_clear()
        .stdout(Stdio::null());
    (command, out)
}

/// Reads the result and takes it away, unless `KEEP_CALLGRIND` is set for `callgrind_annotate`.
pub(super) fn instructions(out: PathBuf) -> io::Result<f64> {
    let text = fs::read_to_string(&out)?;
    if std::env::var_os("KEEP_CALLGRIND").is_none() {
        fs::remove_file(out)?;
    }
    let total = |line: &str| line.strip_prefix("totals: ")?.trim().parse().ok();
    let missing = || io::Error::other("callgrind wrote no totals");
    text.lines().rev().find_map(total).ok_or_else(missing)
}

/// Where this bench's own programs are, which are built with link-time optimization.
pub(super) fn optimized() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_serve-hyper"))
}

/// Builds the programs that serve as `kinds` as `cargo build --release` does it, into a folder of their own.
pub(super) fn as_released(kinds: &[&str]) -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--locked", "--quiet", "--profile", "as-released"])
        .args(["--package", "graceful-benches"]);
    for kind in kinds {
        command.args(["--bin", &format!("serve-{kind}")]);
    }
    if !command.status()?.success() {
        return Err(io::Error::other("cargo build failed"));
    }
    let missing = || io::Error::other("the programs of this bench are in no target folder");
    let optimized = optimized();
    let target = optimized.parent().and_then(Path::parent);
    Ok(target.ok_or_else(missing)?.join("as-released/serve-hyper"))
}

/// `program` is any program of the folder with `serve-{kind}`.
pub(super) fn serve(kind: &str, program: &Path, load: Load) -> io::Result<Cost> {
    let (listener, addr) = listener()?;
    let protocol = load.protocol.as_str();
    let name = format!(
        "{kind}.{protocol}.{}x{}.{}.{}",
        load.requests / load.streams,
        load.streams,
        load.connections,
        load.wait.as_secs(),
    );
    let (mut command, out) = valgrind(&name);
    command.arg(serving(kind, program)).args([protocol, "1"]);
    let seconds = run(&mut command, &listener, addr, load)?;
    Ok(Cost {
        instructions: instructions(out)?,
        seconds,
    })
}

/// Returns for how long the server has lived.
fn run(
    command: &mut Command,
    listener: &TcpListener,
    addr: SocketAddr,
    load: Load,
) -> io::Result<f64> {
    let mut server = Server::start(command, listener)?;
    let mut client = Client::connect(addr, load.protocol)?;
    client.request(false)?;
    settle(&server, &mut client)?;
    let began = Instant::now();
    for _ in 0..load.requests / load.streams {
        match load.streams {
            1 => client.request(false)?,
            streams => client.requests(streams)?,
        }
        server.asleep()?;
    }
    for _ in 0..load.connections {
        connection(&server, addr, load.protocol)?;
    }
    thread::sleep(load.wait);
    let seconds = began.elapsed().as_secs_f64();
    // Nobody handles this one, so that the end is the same for all.
    server.signal(Signal::USR1)?;
    server.wait()?;
    Ok(seconds)
}

/// Opened, one request, closed: by the server on HTTP/1, by the client on HTTP/2.
fn connection(server: &Server, addr: SocketAddr, protocol: Protocol) -> io::Result<()> {
    let before = server.sleeps()?;
    let mut client = Client::connect(addr, protocol)?;
    server.asleep_again(before)?;
    client.request(true)?;
    match protocol {
        Protocol::Http1 => {
            client.ended()?;
            server.asleep()
        }
        Protocol::Http2 => {
            settle(server, &mut client)?;
            let before = server.sleeps()?;
            drop(client);
            server.asleep_again(before)
        }
    }
}

/// The server sleeps, and has nothing left to wake up for.
fn settle(server: &Server, client: &mut Client) -> io::Result<()> {
    server.asleep()?;
    let before = server.sleeps()?;
    match client.settle()? {
        true => server.asleep_again(before),
        false => Ok(()),
    }
}
