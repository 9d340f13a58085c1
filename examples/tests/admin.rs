//! What the server says of itself: on the admin listener, in every answer's head, and on standard error.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use rustix::process::Signal;
use support::server::Server;
use support::wire::Wire;
use support::{get, json, text};

#[tokio::test]
async fn every_answer_says_who_gave_it() {
    let server = Server::start(&[]).await;
    let pid = Some(server.pid.as_raw_nonzero().get().unsigned_abs());
    let paths = [
        "/",
        "/ping",
        "/nothing",
        "/slow?ms=x",
        "/panic",
        "/bytes?n=10",
        "/ready",
    ];
    for path in paths {
        let answer = get(server.addr, path).await;
        assert_eq!((answer.pid, answer.generation), (pid, Some(0)), "{path}");
    }
    for path in [
        "/",
        "/status",
        "/connections",
        "/metrics",
        "/live",
        "/nothing",
    ] {
        let answer = get(server.admin, path).await;
        assert_eq!(
            (answer.pid, answer.generation),
            (pid, Some(0)),
            "admin {path}"
        );
    }
    assert_eq!(get(server.addr, "/panic").await.status, 500);
    assert_eq!(get(server.addr, "/nothing").await.status, 404);
}

#[tokio::test]
async fn status_and_connections_show_what_is_there() {
    let server = Server::start(&[]).await;
    let mut idle = Wire::open(server.addr).await;
    for _ in 0..2 {
        idle.get("/ping").await;
        idle.read_until("ok\n").await;
    }
    let mut busy = Wire::open(server.addr).await;
    busy.get("/slow?ms=300000").await;
    server.in_flight(1).await;
    server.idle(1).await;

    let status = server.status().await;
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["deadline_ms"], serde_json::Value::Null);
    assert_eq!(status["generation"], 0);
    assert_eq!(status["pid"], server.pid.as_raw_nonzero().get());
    assert!(status["uptime_ms"].as_u64() >= status["since_ms"].as_u64());
    assert_eq!(status["connections"]["idle"], 1);

    let connections = json(&get(server.admin, "/connections").await);
    let of = |wire: &Wire| {
        let peer = wire.0.local_addr().unwrap().to_string();
        let mut all = connections.as_array().unwrap().iter();
        all.find(|connection| connection["peer"] == *peer).unwrap()
    };
    let (idle, busy) = (of(&idle), of(&busy));
    assert_eq!(
        (&idle["state"], &idle["requests"]),
        (&"idle".into(), &2.into())
    );
    assert_eq!(
        (&busy["state"], &busy["requests_in_flight"]),
        (&"active".into(), &1.into())
    );
    assert_eq!(busy["protocol"], "http/1");
    assert_eq!(busy["listener"], *server.addr.to_string());
    let request = &busy["in_flight"][0];
    assert_eq!(
        (&request["method"], &request["path"]),
        (&"GET".into(), &"/slow".into())
    );
    assert!(request["age_ms"].is_u64() && request["answering"] == false);
    assert_eq!(idle["in_flight"], serde_json::json!([]));
    assert_ne!(idle["id"], busy["id"]);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Server::start(&[]).await;
    let mut idle = Wire::open(server.addr).await;
    idle.get("/ping").await;
    idle.read_until("ok\n").await;
    server.idle(1).await;
    let metrics = get(server.admin, "/metrics").await;
    for sample in [
        "graceful_phase{phase=\"serving\"} 1",
        "graceful_connections_active{state=\"idle\"} 1",
        "graceful_requests_active 0",
        "graceful_generation 0",
    ] {
        assert!(
            text(&metrics).lines().any(|line| line == sample),
            "{sample}: {}",
            text(&metrics)
        );
    }
}

#[tokio::test]
async fn the_page_is_self_contained() {
    let server = Server::start(&[]).await;
    let page = get(server.admin, "/").await;
    assert_eq!(page.status, 200);
    assert!(text(&page).contains("<html"));
    for outside in ["http://", "https://", "src=", "@import"] {
        assert!(!text(&page).contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn usr1_writes_the_connections() {
    let server = Server::start(&[]).await;
    let mut idle = Wire::open(server.addr).await;
    idle.get("/ping").await;
    idle.read_until("ok\n").await;
    let peer = idle.0.local_addr().unwrap().to_string();
    server.idle(1).await;
    server.signal(Signal::USR1);
    server.process.logged(1, &peer).await;
    assert_eq!(text(&get(server.addr, "/ping").await), "ok\n");
}
