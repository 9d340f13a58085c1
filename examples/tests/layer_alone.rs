//! The layer under other people's servers: axum's and tonic's. Connections in use lose nothing in a stop.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use graceful_examples::load::{Call, Expect};
use graceful_server::{Grace, GracefulLayer, ShutdownSignal};
use http::Method;
use rustix::process::Signal;
use support::loops::{LOOPS, Loops};
use support::process::{Process, signal};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// The loops end when they are told: what comes after that is the accept queue, which is axum's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_axum_serve_busy_connections_get_every_answer_and_are_told_of_the_last() {
    let program = env!("CARGO_BIN_EXE_axum-serve");
    let mut process = Process::start(program.as_ref(), &["127.0.0.1:0"]);
    let line = process.line().await;
    let addr: SocketAddr = line.split_once("listening ").unwrap().1.parse().unwrap();
    let body = "echoed";
    let call = Call::get("/echo".to_owned(), Expect::body(body));
    let loops = Loops::until_told(
        addr,
        Call {
            method: Method::POST,
            body: body.into(),
            ..call
        },
    );
    loops.answer(50 * LOOPS as u64).await;
    signal(process.first, Signal::TERM);
    let tally = loops.ended().await;
    tally.assert_all_answered();
    assert_eq!(process.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tonic_busy_channels_get_every_answer() {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let graceful = GracefulLayer::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopping) = ShutdownSignal::manual();
    let drain = tokio::spawn(graceful.tracker().drain_on(stopping, Grace::default()));
    let server = Server::builder()
        .layer(graceful.clone())
        .add_service(health);
    let told = graceful.tracker().told();
    let incoming = TcpListenerStream::new(listener);
    let server = tokio::spawn(server.serve_with_incoming_shutdown(incoming, told));

    let mut calls = JoinSet::new();
    for _ in 0..LOOPS {
        let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        calls.spawn(check_until_refused(channel.connect().await.unwrap()));
    }
    support::until("calls", async || {
        graceful.tracker().totals().1 > 50 * LOOPS as u64
    })
    .await;
    stop.fire();
    let answered = calls.join_all().await;
    assert!(answered.iter().all(|&answered| answered > 0));
    server.await.unwrap().unwrap();
    let report = drain.await.unwrap();
    assert!(report.is_clean(), "{report}");
    // Also those that came behind the report, which is made when the layer knows of nothing any more.
    let begun = graceful.tracker().totals().1;
    assert_eq!(begun, answered.iter().sum::<u64>(), "begun and answered");
}

/// Every call that the server begins is answered, until no connection can be made any more.
async fn check_until_refused(channel: Channel) -> u64 {
    let mut client = HealthClient::new(channel);
    let mut answered = 0;
    loop {
        match client.check(HealthCheckRequest::default()).await {
            Ok(_) => answered += 1,
            Err(status) if was_refused(&status) => return answered,
            Err(status) if was_never_begun(&status) => {}
            Err(status) => panic!("lost after {answered} answers: {status:?}"),
        }
    }
}

fn was_refused(status: &tonic::Status) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    cause(status).is_some_and(refused)
}

/// It was still in the client's own queue when its connection ended, or it was written behind the PONG to the GOAWAY, and
/// the server said that it has not looked at it (RFC 9113 §6.8): h2 writes a PONG before what is in its queue.
fn was_never_begun(status: &tonic::Status) -> bool {
    cause(status).is_some_and(hyper::Error::is_canceled)
        || cause(status).is_some_and(|error: &h2::Error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        })
}

/// The first cause of this type.
fn cause<E: Error + 'static>(status: &tonic::Status) -> Option<&E> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<E>() {
            return error.downcast_ref();
        }
        cause = error.source();
    }
    None
}
