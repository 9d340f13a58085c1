//! A final stop and whoever is in the middle of a TCP handshake: its client believes that it is connected.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::os::fd::AsFd;

use graceful_server::{Grace, HandoffListener};
use socket2::{SockFilter, SockRef};
use support::{Server, app, get_close, read_all};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Duration, sleep, timeout},
};

/// Drops all packets but those that begin a connection (classic BPF, socket(7); RFC 9293 §3.1), until it is sealed.
const ONLY_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_half_done_gets_its_answer_and_who_comes_later_is_refused() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let socket = listener.as_fd().try_clone_to_owned().unwrap();
    let server = Server::on(listener, app(), |serve| serve);
    let addr = server.addr;
    // It serves.
    assert!(support::exchange(addr, &get_close("/")).await.is_ok());
    SockRef::from(&socket).attach_filter(&ONLY_SYN).unwrap();
    drop(socket);
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(get_close("/").as_bytes()).await.unwrap();
    let served = server.tracker.totals().0;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.tracker.totals().0, served, "not accepted yet");

    server.stop.fire();
    let answer = read_all(&mut client).await.expect("not reset");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_ends_holds_up_no_stop() {
    never_ends(support::quick()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_ends_is_not_waited_for_to_the_cutoff_of_a_short_drain() {
    let ms = Duration::from_millis;
    let grace = support::quick().with_drain(ms(600)).with_cutoff(ms(100));
    never_ends(grace).await;
}

async fn never_ends(grace: Grace) {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).attach_filter(&ONLY_SYN).unwrap();
    let socket = listener.as_fd().try_clone_to_owned().unwrap();
    let server = Server::on(listener, app(), |serve| serve.grace(grace));
    let client = TcpStream::connect(server.addr).await.unwrap();
    let stopped = tokio::spawn(server.stopped());
    // Nothing that it sends gets through, whatever the server has ordered.
    let keep = async {
        loop {
            SockRef::from(&socket).attach_filter(&ONLY_SYN).unwrap();
            sleep(Duration::from_micros(100)).await;
        }
    };
    let report = tokio::select! {
        report = timeout(support::BOUND, stopped) => report.unwrap().unwrap(),
        () = keep => unreachable!(),
    };
    assert!(report.is_clean(), "{report}");
    drop(client);
}
