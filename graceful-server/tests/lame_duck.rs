//! A lame duck on the wire: it serves everybody, and asks more and more of them to go (laws 4 and 5).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::{io, net::SocketAddr, time::Duration};

use graceful_server::{Phase, Tracker};
use support::{Server, app, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

const CLIENTS: usize = 64;

/// Asks until an answer says that it is the last. In which phase that was, and at which moment of it.
async fn until_told(addr: SocketAddr, tracker: Tracker) -> io::Result<(Phase, std::time::Instant)> {
    let mut client = TcpStream::connect(addr).await?;
    loop {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhello") {
            if client.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let told = (tracker.phase(), std::time::Instant::now());
        match String::from_utf8_lossy(&answer)
            .matches("connection: close")
            .count()
        {
            0 => sleep(Duration::from_millis(20)).await,
            1 => {
                assert_eq!(
                    read_all(&mut client).await?,
                    "",
                    "the last answer is the last"
                );
                return Ok(told);
            }
            times => panic!("said {times} times"),
        }
    }
}

#[tokio::test]
async fn clients_are_told_a_few_at_first_and_all_at_the_end_while_everybody_is_served() {
    let lame_duck = Duration::from_secs(4);
    let server = Server::start(app(), |serve| {
        serve.grace(quick().with_lame_duck(lame_duck))
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(until_told(server.addr, server.tracker.clone()));
    }
    until("all of them", || server.tracker.counts().total() == CLIENTS).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(
        server.tracker.counts().total(),
        CLIENTS,
        "nobody is told before the signal"
    );
    let began = std::time::Instant::now();
    server.stop.fire();
    let mut told = Vec::new();
    while let Some(client) = clients.join_next().await {
        told.push(client.unwrap().expect("an answer to every request"));
    }
    let while_lame = told
        .iter()
        .filter(|(phase, _)| *phase == Phase::LameDuck)
        .count();
    assert!(
        while_lame > CLIENTS / 2,
        "{while_lame} of {CLIENTS} told by the lame duck"
    );
    let spread = told.iter().map(|(_, at)| at.duration_since(began));
    let (first, last) = (spread.clone().min().unwrap(), spread.max().unwrap());
    assert!(
        last - first > lame_duck / 4,
        "all told between {first:?} and {last:?}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn with_nobody_there_it_waits_all_the_same_and_serves_who_comes_late() {
    let grace = quick().with_lame_duck(Duration::from_secs(300));
    let server = Server::start(app(), |serve| serve.grace(grace));
    server.stop.fire();
    server.tracker.reached(Phase::LameDuck).await;
    sleep(Duration::from_millis(500)).await;
    let mut late = server.connect(&support::get_close("/")).await;
    assert!(read_all(&mut late).await.unwrap().ends_with("hello"));
    assert_eq!(server.tracker.phase(), Phase::LameDuck);
    server.tracker.advance();
    let report = server.stopped().await;
    assert!(report.is_clean() && report.requests == 1, "{report}");
}
