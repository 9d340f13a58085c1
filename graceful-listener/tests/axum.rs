//! The listener by itself under `axum::serve`.
#![cfg(feature = "axum")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use common::{Folder, PATIENCE, Process, connect_unix, role, say};
use graceful_listener::{HandoffListener, PeerAddr};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    match std::env::var("ROLE").as_deref() {
        Ok("few-descriptors") => few_descriptors(),
        _ => common::run_role(),
    }
}

fn app() -> Router {
    Router::new().route(
        "/",
        get(async |peer: ConnectInfo<PeerAddr>| peer.0.to_string()),
    )
}

async fn serve(listener: HandoffListener) {
    let service = app().into_make_service_with_connect_info::<PeerAddr>();
    axum::serve(listener, service).await.unwrap();
}

fn fetch(mut stream: impl Read + Write) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.rsplit_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn axum_serves_tcp_and_unix_and_tells_the_peer() {
    let folder = Folder::new();
    let tcp = HandoffListener::bind("127.0.0.1:0").unwrap();
    let unix = HandoffListener::bind(format!("unix:{}", folder.path("s"))).unwrap();
    let addr = tcp.local_addr().as_tcp().unwrap();
    tokio::spawn(serve(tcp));
    tokio::spawn(serve(unix));
    let client = TcpStream::connect(addr).unwrap();
    let own = client.local_addr().unwrap().to_string();
    let answer = tokio::task::spawn_blocking(|| fetch(client)).await.unwrap();
    assert_eq!(answer, own);
    let client = connect_unix(&folder.path("s")).unwrap();
    assert_eq!(
        tokio::task::spawn_blocking(|| fetch(client)).await.unwrap(),
        "unix:"
    );
}

/// The role: a server that may not open a single descriptor more until it is told.
#[tokio::main(flavor = "current_thread")]
async fn few_descriptors() {
    let listener = HandoffListener::from_env_or_bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().clone();
    tokio::spawn(serve(listener));
    // The first connection makes whatever is made lazily.
    let client = TcpStream::connect(addr.as_tcp().unwrap()).unwrap();
    tokio::task::spawn_blocking(|| fetch(client)).await.unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            ..limit
        },
    )
    .unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let hoard: Vec<OwnedFd> =
        std::iter::from_fn(|| rustix::io::fcntl_dupfd_cloexec(&null, 0).ok()).collect();
    say(format!("listening {addr}"));
    let before = cpu_time();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    say(format!("cpu {}", (cpu_time() - before).as_millis()));
    drop(hoard);
    tokio::time::sleep(PATIENCE).await;
}

fn cpu_time() -> std::time::Duration {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

#[test]
fn a_lack_of_descriptors_is_waited_out_without_spinning() {
    let mut process = Process::start(role("few-descriptors"));
    let addr = process.line("listening ");
    let client = TcpStream::connect(&addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = client.local_addr().unwrap().to_string();
    let answer = std::thread::spawn(|| fetch(client));
    let cpu: u64 = process.line("cpu ").parse().unwrap();
    assert!(cpu < 250, "it spins: {cpu} of 500 ms");
    assert_eq!(answer.join().unwrap(), own);
}
