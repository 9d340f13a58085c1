//! Listeners for operators: probes are answered to the end, and nobody waits for them (law 7).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::time::Duration;

use axum::Router;
use graceful_server::{HandoffListener, Health, Phase, Tracker, serve};
use support::{Server, app, exchange, get_close, read_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn probes_are_answered_while_everything_drains_and_hold_up_nothing() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().as_tcp().unwrap();
    let tracker = Tracker::new();
    let probes = Router::new()
        .route_service("/ready", Health::ready(tracker.clone()))
        .route_service("/live", Health::live(tracker.clone()));
    let server = Server::start(app(), |main| {
        main.with_tracker(tracker.clone())
            .aside(serve(listener, probes))
    });
    let mut slow = server.connect(&get_close("/slow/1500")).await;
    // A scraper that keeps its connection.
    let mut kept = TcpStream::connect(admin).await.unwrap();
    kept.write_all(b"GET /ready HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let n = kept.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"));
    assert_eq!(tracker.totals().0, 1, "only the slow one counts");

    server.stop.fire();
    tracker.reached(Phase::Draining).await;
    assert!(TcpStream::connect(server.addr).await.is_err(), "sealed");
    let ready = exchange(admin, &get_close("/ready")).await.unwrap();
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("draining"),
        "{ready}"
    );
    let live = exchange(admin, &get_close("/live")).await.unwrap();
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");

    let report = server.stopped().await;
    assert!(read_all(&mut slow).await.unwrap().ends_with("slow"));
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.connections, report.requests), (1, 1));
    // Closed with FIN, unasked, for it was idle.
    assert_eq!(kept.read(&mut answer).await.unwrap(), 0);
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_drops_what_is_aside_as_well() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().as_tcp().unwrap();
    let server = Server::start(app(), |main| main.aside(serve(listener, app())));
    let mut held = TcpStream::connect(admin).await.unwrap();
    held.write_all(get_close("/slow/300000").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.report.abort();
    let ended = read_all(&mut held).await;
    assert!(ended.is_err() || ended.unwrap().is_empty());
}
