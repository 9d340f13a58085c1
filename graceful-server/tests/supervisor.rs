//! A supervisor that gives up. What else it does needs a program of its own, see the tests of the reference server.

use std::time::Duration;

use graceful_server::{HandoffListener, Successor, Supervisor};

#[tokio::test]
async fn after_so_many_crashes_it_ends_as_the_last_worker_did() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().as_tcp().unwrap();
    let worker = Successor::builder()
        .program("/bin/sh")
        .args(["-c", "exit 7"]);
    let (first, longest) = (Duration::from_millis(1), Duration::from_millis(4));
    let supervisor = Supervisor::new([listener])
        .worker(worker)
        .backoff(first, longest)
        .max_crashes(4);
    assert!(!Supervisor::is_worker());
    let supervised = tokio::time::timeout(Duration::from_secs(60), supervisor.run()).await;
    assert_eq!(supervised.unwrap().unwrap(), 7);
    let refused = tokio::net::TcpStream::connect(addr).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}
