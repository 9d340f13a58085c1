//! A supervisor that gives up. What else it does needs a program of its own, see the tests of the reference server.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::time::Duration;

use graceful_listener::ready;
use graceful_server::{HandoffListener, Successor, SuccessorBuilder, Supervisor};
use rustix::process::{Signal, getpid, kill_process};

/// Not a test of its own: a worker that crashes once it serves.
#[tokio::test]
async fn child_process() {
    if Supervisor::is_worker() {
        let _listener = HandoffListener::from_env().unwrap();
        ready().await.unwrap();
        kill_process(getpid(), Signal::KILL).unwrap();
    }
}

/// The status of a supervisor that gives up after four crashes of this worker, and closes its listener.
async fn status(worker: SuccessorBuilder) -> u8 {
    // A process has one successor at a time.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().as_tcp().unwrap();
    let (first, longest) = (Duration::from_millis(1), Duration::from_secs(60));
    let supervisor = Supervisor::new([listener])
        .worker(worker)
        .backoff(first, longest)
        .max_crashes(4);
    assert!(!Supervisor::is_worker());
    let supervised = tokio::time::timeout(Duration::from_secs(60), supervisor.run()).await;
    let refused = tokio::net::TcpStream::connect(addr).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    supervised.unwrap().unwrap()
}

#[tokio::test]
async fn when_the_first_worker_never_serves_it_ends_as_that_did() {
    let count = std::env::temp_dir().join(format!("graceful-starts-{}", std::process::id()));
    let script = format!("echo >> {}; exit 7", count.display());
    let worker = Successor::builder()
        .program("/bin/sh")
        .args(["-c", &script]);
    assert_eq!(status(worker).await, 7);
    assert_eq!(std::fs::read(&count).unwrap(), b"\n", "it was started once");
    std::fs::remove_file(count).unwrap();
}

#[tokio::test]
async fn after_so_many_crashes_it_ends_as_the_last_worker_did() {
    let worker = Successor::builder()
        .program(std::env::current_exe().unwrap())
        .args(["--exact", "child_process"]);
    assert_eq!(status(worker).await, 128 + 9);
}
