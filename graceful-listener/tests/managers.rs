//! Listeners as other people's tools pass them: the real ones where a package has them, and for
//! einhorn and Go programs what they are documented to set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::process::Command;

use common::claim::inherit;
use common::{Folder, Process, ask, connect_unix, has_tool, own_address, role, signal, until};
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// `tool` with its arguments, which starts a process in a role.
fn under(tool: &str, args: &[&str], role: &Command) -> Command {
    let mut command = Command::new(tool);
    command
        .args(args)
        .arg("--")
        .arg(role.get_program())
        .args(role.get_args());
    let set = role
        .get_envs()
        .filter_map(|(key, value)| Some((key, value?)));
    command.envs(set);
    command
}

fn claiming(claims: &str) -> Command {
    let mut command = role("claim");
    command.env("CLAIMS", claims);
    command
}

#[test]
fn systemd_socket_activate_passes_listeners_with_names() {
    if !has_tool("systemd-socket-activate") {
        return;
    }
    let folder = Folder::new();
    let (web, admin) = (folder.path("web"), folder.path("admin"));
    let role = claiming("env web\nenv admin\nenv");
    let args = [
        "-l",
        &web,
        "-l",
        &admin,
        "--fdname=web:admin",
        "-E",
        "ROLE",
        "-E",
        "CLAIMS",
    ];
    let mut process = Process::start(under("systemd-socket-activate", &args, &role));
    // It starts the program when somebody connects.
    until("it listens", || connect_unix(&web).is_ok());
    assert_eq!(process.line("got "), format!("web@unix:{web}"));
    assert_eq!(process.line("got "), format!("admin@unix:{admin}"));
    process.line("error none-inherited: ");
}

#[test]
fn systemd_socket_activate_passes_datagram_sockets() {
    if !has_tool("systemd-socket-activate") {
        return;
    }
    let address = own_address(8053);
    let role = claiming("env\nudp env dns");
    let args = [
        "-d",
        "-l",
        &address,
        "--fdname=dns",
        "-E",
        "ROLE",
        "-E",
        "CLAIMS",
    ];
    let mut process = Process::start(under("systemd-socket-activate", &args, &role));
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    until("it is started", || {
        client.send_to(b"x", &address).unwrap();
        process.has_line("error wrong-type: ")
    });
    assert_eq!(process.line("got "), format!("dns@{address}"));
}

#[test]
fn systemfd_passes_tcp_unix_and_udp() {
    if !has_tool("systemfd") {
        return;
    }
    let folder = Folder::new();
    let unix = folder.path("s");
    for (port, no_pid) in [(8001, false), (8002, true)] {
        let tcp = own_address(port);
        let role = claiming(&format!("addr {tcp}\naddr unix:{unix}\nudp addr {tcp}"));
        let sockets = [
            format!("http::{tcp}"),
            format!("unix::{unix}"),
            format!("udp::{tcp}"),
        ];
        let mut args = vec!["--quiet"];
        args.extend(sockets.iter().flat_map(|socket| ["-s", socket]));
        if no_pid {
            args.push("--no-pid");
        }
        let _ = std::fs::remove_file(&unix);
        let mut process = Process::start(under("systemfd", &args, &role));
        assert_eq!(process.line("got "), format!("{tcp}@{tcp}"));
        assert_eq!(process.line("got "), format!("unix:{unix}@unix:{unix}"));
        assert_eq!(process.line("got "), format!("udp:{tcp}@{tcp}"));
    }
}

#[test]
fn server_starter_replaces_workers_and_every_client_is_answered() {
    if !has_tool("start_server") {
        return;
    }
    let folder = Folder::new();
    let (tcp, unix) = (own_address(8003), folder.path("s"));
    let mut role = role("server");
    role.env("ADDRS", format!("{tcp} unix:{unix}"));
    let (port, path) = (format!("--port={tcp}"), format!("--path={unix}"));
    let starter = under("start_server", &[&port, &path, "--interval=1"], &role);
    let mut process = Process::start(starter);
    let mut last = process.ready().0;
    for _ in 0..2 {
        signal(process.pids[0], Signal::HUP);
        let next = process.ready().0;
        assert_ne!(next, last);
        until("the one before is gone", || {
            for addr in [&tcp, &format!("unix:{unix}")] {
                let answer = ask(addr, "who").unwrap();
                assert!(answer.ends_with(" 0"), "{answer:?}");
            }
            !common::exists(last)
        });
        last = next;
    }
    signal(process.pids[0], Signal::TERM);
    process.all_gone();
}

#[test]
fn server_starter_passes_a_datagram_socket_beside_a_listener_of_the_same_port() {
    if !has_tool("start_server") {
        return;
    }
    let tcp = own_address(8004);
    let udp = tcp.replace(':', ":u");
    let role = claiming(&format!("addr {tcp}\nudp addr {tcp}\nenv"));
    let (tcp_port, udp_port) = (format!("--port={tcp}"), format!("--port={udp}"));
    let mut process = Process::start(under("start_server", &[&tcp_port, &udp_port], &role));
    assert_eq!(process.line("got "), format!("{tcp}@{tcp}"));
    assert_eq!(process.line("got "), format!("udp:{tcp}@{tcp}"));
    process.line("error none-inherited: ");
}

/// What einhorn's master gets from a worker.
fn acknowledgement(vars: &str, make: &str, socket: &str) -> (String, Process) {
    let master = UnixListener::bind(socket).unwrap();
    let parent = std::process::id();
    let vars = format!("EINHORN_MASTER_PID={parent}\nEINHORN_FD_COUNT=1\nEINHORN_FD_0=3\n{vars}");
    let claims = "env\nready\nready\nwait";
    let mut worker = Process::start(inherit(make, &vars, claims));
    assert!(worker.line("got ").starts_with("unknown@127.0.0.1:"));
    assert_eq!(worker.line("ready "), "Ok(())");
    let (stream, _) = master.accept().unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    // It is said once, and the connection ends with it.
    assert_eq!(stream.read_to_string(&mut String::new()).unwrap(), 0);
    (line, worker)
}

#[test]
fn einhorn_is_told_that_its_worker_is_ready() {
    let folder = Folder::new();
    let path = folder.path("path");
    let (line, worker) = acknowledgement(&format!("EINHORN_SOCK_PATH={path}"), "tcp", &path);
    // The shell, the process that made the listener and the one that claims it are one by exec.
    let expected = |worker: &Process| {
        format!(
            "{{\"command\":\"worker:ack\",\"pid\":{}}}\n",
            worker.pids[0]
        )
    };
    assert_eq!(line, expected(&worker));
    let path = folder.path("fd");
    let vars = "EINHORN_SOCK_FD=4\nEINHORN_SOCK_PATH=/nowhere";
    let (line, worker) = acknowledgement(vars, &format!("tcp to:{path}"), &path);
    assert_eq!(line, expected(&worker));
}

#[test]
fn a_process_that_is_no_worker_of_einhorn_says_nothing_and_binds() {
    let folder = Folder::new();
    let path = folder.path("e");
    let master = UnixListener::bind(&path).unwrap();
    master.set_nonblocking(true).unwrap();
    let vars = format!(
        "EINHORN_MASTER_PID=1\nEINHORN_FD_COUNT=1\nEINHORN_FD_0=3\nEINHORN_SOCK_PATH={path}"
    );
    let mut process = Process::start(inherit("tcp", &vars, "addr 127.0.0.1:0\nready\nopen 3"));
    process.line("got 127.0.0.1:0@");
    process.line("ready Ok(())");
    assert_eq!(process.line("open "), "true");
    process.exit();
    assert_eq!(
        master.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn a_master_that_is_gone_does_not_keep_a_worker_from_serving() {
    let parent = std::process::id();
    let vars = format!(
        "EINHORN_MASTER_PID={parent}\nEINHORN_FD_COUNT=1\nEINHORN_FD_0=3\nEINHORN_SOCK_PATH=/nowhere"
    );
    let mut worker = Process::start(inherit("tcp", &vars, "env\nready"));
    worker.line("got unknown@");
    assert_eq!(worker.line("ready "), "Ok(())");
}

#[test]
fn json_of_a_go_program_passes_one_listener() {
    let vars = "LISTENER={\"addr\":\"{3}\",\"fd\":3,\"filename\":\"tcp:{3}->\"}";
    let mut process = Process::start(inherit("tcp", vars, "addr {3}\nenv"));
    let got = process.line("got ");
    let (name, addr) = got.split_once('@').unwrap();
    assert_eq!(name, addr);
    process.line("error none-inherited: ");
}

#[test]
fn the_successor_of_a_managed_process_has_the_listener_and_not_the_variables() {
    let parent = std::process::id();
    let vars = format!(
        "EINHORN_MASTER_PID={parent}\nEINHORN_FD_COUNT=1\nEINHORN_FD_0=3\n\
         SERVER_STARTER_PORT=80=9\nLISTENER={{\"fd\":9}}\nLISTEN_PIDFDID=1"
    );
    let mut command = inherit("tcp", &vars, "");
    command.env("THEN", "server").env("ADDRS", "127.0.0.1:0");
    let mut process = Process::start(command);
    let addr = process.line("listening ");
    process.ready();
    assert!(
        ask(&addr, "restart good")
            .unwrap()
            .starts_with("committed ")
    );
    assert_eq!(process.ready().1, 1);
    until("the successor answers", || {
        ask(&addr, "who").unwrap().ends_with(" 1")
    });
    let left = ask(&addr, "variables EINHORN_ SERVER_STARTER_ LISTEN").unwrap();
    assert_eq!(
        left, "EINHORN_FD_0",
        "a number without a count means nothing"
    );
}
