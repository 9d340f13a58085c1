//! Two roles for what a process inherits: one that makes descriptors and becomes the other by
//! exec, and one that claims them and says what it got.
//!
//! The first makes what `MAKE` lists, from descriptor 3 up, and sets the variables of `VARS`
//! (one a line). In `VARS` and `CLAIMS`, `{pid}` is the process, which exec does not change, and
//! `{3}` the address of descriptor 3.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use graceful_listener::{HandoffFd, HandoffListener, HandoffUdp, ListenError, ready, unclaimed};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::say;

/// The command that makes `make`, sets `vars` and claims `claims`, one a line.
pub(crate) fn inherit(make: &str, vars: &str, claims: &str) -> Command {
    let inner = super::role("make");
    let mut command = Command::new("sh");
    // Whatever the test itself inherited is out of the way.
    command.args([
        "-c",
        "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; exec \"$@\"",
        "sh",
    ]);
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("ROLE", "make");
    command
        .env("MAKE", make)
        .env("VARS", vars)
        .env("CLAIMS", claims);
    command
}

pub(crate) fn make() {
    let var = |name| std::env::var(name).unwrap();
    let mut fill = vec![("{pid}".to_owned(), std::process::id().to_string())];
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    for (number, kind) in (3..).zip(var("MAKE").split_whitespace()) {
        let (fd, addr, other) = descriptor(kind);
        assert_eq!(
            fd.as_raw_fd(),
            number,
            "descriptor {number} is taken already"
        );
        if kind != "closed" {
            fcntl_setfd(&fd, FdFlags::empty()).unwrap();
        }
        fill.push((format!("{{{number}}}"), addr));
        kept.push(fd);
        if let Some(other) = other {
            fcntl_setfd(&other, FdFlags::empty()).unwrap();
            others.push(other);
        }
    }
    let filled = |name| {
        fill.iter()
            .fold(var(name), |text, (from, to)| text.replace(from, to))
    };
    let then = std::env::var("THEN");
    let mut command = super::role(then.as_deref().unwrap_or("claim"));
    command.env("CLAIMS", filled("CLAIMS"));
    for line in filled("VARS").lines() {
        let (name, value) = line.split_once('=').unwrap();
        command.env(name, value);
    }
    panic!("{}", command.exec());
}

/// A descriptor of a kind, its address, and what has to stay open beside it.
fn descriptor(kind: &str) -> (OwnedFd, String, Option<OwnedFd>) {
    let tcp = |addr| {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        (listener.into(), addr, None)
    };
    match kind {
        "tcp" | "closed" => tcp("127.0.0.1:0"),
        "tcp6" => tcp("[::1]:0"),
        "any6" => tcp("[::]:0"),
        "file" => (
            std::fs::File::open("/dev/null").unwrap().into(),
            String::new(),
            None,
        ),
        "pipe" => {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            // The other end has a number that is not wanted for the next descriptor.
            let write = rustix::io::fcntl_dupfd_cloexec(&write, 100).unwrap();
            (read, String::new(), Some(write))
        }
        "udp" => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let addr = socket.local_addr().unwrap().to_string();
            (socket.into(), addr, None)
        }
        "connection" => {
            let (first, addr, _) = tcp("127.0.0.1:0");
            let listener = rustix::io::fcntl_dupfd_cloexec(&first, 100).unwrap();
            drop(first);
            (
                TcpStream::connect(&addr).unwrap().into(),
                addr,
                Some(listener),
            )
        }
        "bound" => {
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::CLOEXEC,
                None,
            );
            let socket = socket.unwrap();
            let any: std::net::SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
            rustix::net::bind(&socket, &any).unwrap();
            (socket, String::new(), None)
        }
        kind if kind.starts_with("to:") => {
            let stream = UnixStream::connect(&kind[3..]).unwrap();
            (stream.into(), String::new(), None)
        }
        path => (
            UnixListener::bind(path).unwrap().into(),
            format!("unix:{path}"),
            None,
        ),
    }
}

/// Does what `CLAIMS` says, line by line, and says what came of it.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run() {
    let claims = std::env::var("CLAIMS").unwrap();
    // Claimed listeners stay open to the end.
    let mut claimed = Vec::new();
    for line in claims.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let outcome = match words[..] {
            ["env"] => one(HandoffListener::from_env()),
            ["env", name] => one(HandoffListener::options().name(name).from_env()),
            ["all"] => all(HandoffListener::options().all_from_env()),
            ["all", name] => all(HandoffListener::options().name(name).all_from_env()),
            ["addr", addr] => one(HandoffListener::from_env_or_bind(addr)),
            ["addr", addr, name] => {
                one(HandoffListener::options().name(name).from_env_or_bind(addr))
            }
            ["bind", addr] => one(HandoffListener::bind(addr)),
            ["number", number] => one(HandoffListener::from_inherited_fd(number.parse().unwrap())),
            ["udp", "env"] => udp(HandoffUdp::from_env()),
            ["udp", "env", name] => udp(HandoffListener::options().name(name).udp_from_env()),
            ["udp", "addr", addr] => udp(HandoffUdp::from_env_or_bind(addr)),
            ["udp", "addr", addr, name] => udp(HandoffListener::options()
                .name(name)
                .udp_from_env_or_bind(addr)),
            ["fd", name] => HandoffFd::from_env(name).map(|fd| {
                assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
                vec![Claimed::of(fd.name().to_owned(), fd)]
            }),
            ["wait"] => std::future::pending().await,
            ["left"] => {
                say(format!("left {}", unclaimed().join(",")));
                continue;
            }
            ["ready"] => {
                say(format!("ready {:?}", ready().await));
                continue;
            }
            ["open", number] => {
                say(format!(
                    "open {}",
                    std::fs::exists(format!("/proc/self/fd/{number}")).unwrap()
                ));
                continue;
            }
            _ => panic!("{line:?}"),
        };
        match outcome {
            Ok(got) => {
                let described: Vec<_> = got.iter().map(|one| one.text.as_str()).collect();
                say(format!("got {}", described.join(" ")));
                claimed.extend(got);
            }
            Err(error) => say(format!("error {}: {error}", kind(&error))),
        }
    }
}

/// What was claimed, and how the test is told of it.
struct Claimed {
    text: String,
    _held: Box<dyn std::any::Any>,
}

impl Claimed {
    fn of(text: String, held: impl std::any::Any) -> Self {
        let _held = Box::new(held);
        Self { text, _held }
    }
}

fn one(outcome: Result<HandoffListener, ListenError>) -> Result<Vec<Claimed>, ListenError> {
    all(outcome.map(|listener| vec![listener]))
}

fn all(outcome: Result<Vec<HandoffListener>, ListenError>) -> Result<Vec<Claimed>, ListenError> {
    outcome.map(|listeners| listeners.into_iter().map(listener).collect())
}

fn listener(listener: HandoffListener) -> Claimed {
    assert!(fcntl_getfd(&listener).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(&listener).unwrap().contains(OFlags::NONBLOCK));
    let text = format!("{}@{}", listener.name(), listener.local_addr());
    Claimed::of(text, listener)
}

fn udp(outcome: Result<HandoffUdp, ListenError>) -> Result<Vec<Claimed>, ListenError> {
    let udp = outcome?;
    assert!(fcntl_getfd(&udp).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(&udp).unwrap().contains(OFlags::NONBLOCK));
    let text = format!("{}@{}", udp.name(), udp.local_addr());
    Ok(vec![Claimed::of(text, udp)])
}

fn kind(error: &ListenError) -> String {
    let is = [
        (error.is_malformed_addr(), "malformed-addr"),
        (error.is_malformed_env(), "malformed-env"),
        (error.is_bad_fd(), "bad-fd"),
        (error.is_taken(), "taken"),
        (error.is_not_a_socket(), "not-a-socket"),
        (error.is_wrong_type(), "wrong-type"),
        (error.is_not_listening(), "not-listening"),
        (error.is_address_mismatch(), "address-mismatch"),
        (error.is_addr_in_use(), "addr-in-use"),
        (error.is_bind_failed(), "bind-failed"),
        (error.is_ambiguous(), "ambiguous"),
        (error.is_none_inherited(), "none-inherited"),
        (error.is_handoff_failed(), "handoff-failed"),
    ];
    let kinds: Vec<_> = is
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    kinds.join("+")
}
