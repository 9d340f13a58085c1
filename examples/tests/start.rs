//! The start: what is refused and how, and what a stop meets that comes too early.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;
use support::process::{Process, scratch, signal};
use support::server::{BINARY, Server};

/// Runs the server to its end, and returns its exit status and its log.
async fn run(args: &str) -> (i32, String) {
    let args: Vec<_> = args.split_whitespace().collect();
    let process = Process::start(BINARY.as_ref(), &args);
    (process.exit().await, process.log())
}

#[tokio::test]
async fn usage_errors_have_status_2_and_name_the_flag() {
    for (args, named) in [
        ("--nonsense", "--nonsense"),
        ("--drain 5", "--drain"),
        ("--listen localhost:80", "--listen"),
        ("--grace slow", "--grace"),
        ("--tls-cert a", "--tls-key"),
        ("--takeover", "--control"),
    ] {
        let (status, log) = run(args).await;
        assert_eq!(status, 2, "{args}: {log}");
        assert!(log.contains(named), "{args}: {log}");
    }
}

#[tokio::test]
async fn what_cannot_be_bound_written_or_read_has_status_3_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (status, log) = run(&format!("--listen {addr}")).await;
    assert_eq!(status, 3);
    assert!(log.contains(&addr), "{log}");

    let (status, log) = run("--listen 127.0.0.1:0 --journal /nowhere/journal").await;
    assert_eq!(status, 3);
    assert!(log.contains("/nowhere/journal"), "{log}");

    let tls = "--listen 127.0.0.1:0 --tls-cert /nowhere/cert --tls-key /nowhere/key";
    let (status, log) = run(tls).await;
    assert_eq!(status, 3);
    assert!(log.contains("certificate from /nowhere/cert"), "{log}");
}

#[tokio::test]
async fn a_stop_during_the_start_is_clean() {
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--lame-duck",
        "300s",
        "--start-delay",
        "300s",
    ];
    let process = Process::start(
        BINARY.as_ref(),
        &[&args[..], &["--journal", "/dev/stderr"]].concat(),
    );
    // Its handlers are there when the listener is.
    support::until("a listener", async || {
        listens(process.first.as_raw_nonzero().get())
    })
    .await;
    signal(process.first, Signal::TERM);
    assert_eq!(process.exit().await, 0);
}

/// Whether the process has a listening socket among its descriptors.
fn listens(pid: i32) -> bool {
    let Ok(sockets) = fs::read_to_string(format!("/proc/{pid}/net/tcp")) else {
        return false;
    };
    let mine: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|fd| {
            fs::read_link(fd.ok()?.path())
                .ok()?
                .to_str()
                .map(str::to_owned)
        })
        .collect();
    sockets
        .lines()
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .any(|line| {
            let inode = line.split_whitespace().nth(9).unwrap_or("");
            mine.contains(&format!("socket:[{inode}]"))
        })
}

#[tokio::test]
async fn a_pid_file_is_there_from_ready_to_the_end_and_follows_the_generation() {
    let folder = scratch();
    let path = folder.join("pid");
    let read = || {
        fs::read_to_string(&path)
            .unwrap()
            .trim()
            .parse::<i32>()
            .unwrap()
    };
    let mut server = Server::start(&["--pid-file", path.to_str().unwrap()]).await;
    assert_eq!(read(), server.pid.as_raw_nonzero().get());
    server.signal(Signal::HUP);
    let successor = server.ready(1).await;
    assert_eq!(read(), successor.as_raw_nonzero().get());
    assert_eq!(server.process.exit().await, 0);
    assert_eq!(
        read(),
        successor.as_raw_nonzero().get(),
        "the old one takes it with it"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert!(
        fs::read_dir(&folder).unwrap().next().is_none(),
        "something is left"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn it_listens_on_a_unix_socket_as_well() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = scratch();
    let path = folder.join("socket");
    let listen = format!("unix:{}", path.display());
    let args = ["--listen", &listen];
    let mut process = Process::start(BINARY.as_ref(), &args);
    assert_eq!(process.line().await, format!("listening {listen}"));
    assert!(process.line().await.starts_with("ready pid="));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    signal(process.first, Signal::TERM);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    assert_eq!(process.exit().await, 0);
    assert!(!path.exists());
    fs::remove_dir_all(folder).unwrap();
}
