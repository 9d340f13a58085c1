//! The commands at the control socket of a server in this process. With processes: examples/tests/control.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::path::PathBuf;

use axum::Router;
use graceful_server::{ControlSocket, HandoffError, listener::command};
use support::{BOUND, Server};
use tokio::task::spawn_blocking;

struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Self {
        let name = format!("graceful-server-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn server(&self) -> Server {
        let socket = ControlSocket::bind(&self.0).unwrap();
        Server::start(Router::new(), |serve| serve.control(socket))
    }

    async fn ask(&self, text: &'static str) -> Result<String, HandoffError> {
        let path = self.0.clone();
        spawn_blocking(move || command(path, text, BOUND))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn what_is_unknown_is_refused_with_what_is_known() {
    let path = Path::new("unknown");
    let server = path.server();
    let status = path.ask("status").await.unwrap();
    let pid = std::process::id();
    let expected = format!(
        r#"{{"phase":"serving","generation":0,"pid":{pid},"connections":0,"in_flight":0}}"#
    );
    assert_eq!(status, expected);
    let error = path.ask("dance").await.unwrap_err();
    assert!(error.is_failed(), "{error}");
    for known in [
        "dance",
        "status",
        "drain wait",
        "resume",
        "restart",
        "cutoff",
    ] {
        assert!(error.to_string().contains(known), "{error}");
    }
    let report = path.ask("drain wait").await.unwrap();
    assert_eq!(report, server.report.await.unwrap().unwrap().to_string());
    assert!(!path.0.exists());
}

#[tokio::test]
async fn a_server_that_is_dropped_gives_up_on_what_it_was_asked_for() {
    let path = Path::new("dropped");
    let server = path.server();
    let _busy = server.tracker.beacon("busy");
    let (waited, ()) = tokio::join!(path.ask("drain wait"), async {
        server
            .tracker
            .reached(graceful_server::Phase::Draining)
            .await;
        server.report.abort();
    });
    let error = waited.unwrap_err();
    assert!(
        error.is_failed() && error.to_string().contains("gave up"),
        "{error}"
    );
    assert!(path.ask("status").await.unwrap_err().is_nobody_there());
}
