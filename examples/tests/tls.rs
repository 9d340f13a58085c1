//! TLS as clients meet it: curl, sessions that outlive a process, restarts and stops under load.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod support;

use std::io;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use graceful_server::rustls::HandshakeKind::{Full, Resumed};
use rustix::process::Signal;
use support::process::{exit, signal};
use support::server::{ANYWHERE, BINARY, Server};
use support::tls::{Certificate, ask, connect};
use support::{BOUND, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

async fn start(certificate: &Certificate, flags: &[&str]) -> Server {
    let tls = certificate.flags();
    let tls = tls.iter().map(String::as_str);
    Server::start(&tls.chain(flags.iter().copied()).collect::<Vec<_>>()).await
}

/// The keys of generation 0 open its tickets in generation 1, and through it in generation 2.
#[tokio::test]
async fn a_session_resumes_in_the_next_generation_and_in_the_one_after_it() {
    let certificate = Certificate::new();
    let mut server = start(&certificate, &[]).await;
    let (client, latecomer) = (certificate.client(), certificate.client());
    let (_, kind) = ask(&client, server.addr, "/").await.unwrap();
    assert_eq!(kind, Some(Full));
    ask(&latecomer, server.addr, "/").await.unwrap();
    for generation in 1..=2 {
        let old = server.pid;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        assert_eq!(exit(old).await, 0);
        let (answer, kind) = ask(&client, server.addr, "/").await.unwrap();
        assert!(
            answer.contains(&format!("x-generation: {generation}")),
            "{answer}"
        );
        assert_eq!(kind, Some(Resumed), "generation {generation}");
    }
    let (_, kind) = ask(&latecomer, server.addr, "/").await.unwrap();
    assert_eq!(kind, Some(Resumed), "with a ticket of generation 0");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);

    let stranger = start(&certificate, &[]).await;
    let (_, kind) = ask(&client, stranger.addr, "/").await.unwrap();
    assert_eq!(kind, Some(Full), "no successor, no keys");
}

/// The supervisor passes the keys on from worker to worker.
#[tokio::test]
async fn a_session_resumes_with_the_next_worker_of_a_supervisor() {
    let certificate = Certificate::new();
    let tls = certificate.flags();
    let tls = tls.iter().map(String::as_str);
    let args: Vec<_> = ["--supervise"]
        .into_iter()
        .chain(ANYWHERE)
        .chain(tls)
        .collect();
    let mut server = Server::run_others(BINARY.as_ref(), &args, 0).await;
    let supervisor = server.process.first;
    let (client, latecomer) = (certificate.client(), certificate.client());
    ask(&client, server.addr, "/").await.unwrap();
    ask(&latecomer, server.addr, "/").await.unwrap();
    for generation in 1..=3 {
        signal(supervisor, Signal::HUP);
        server.ready(generation).await;
        server
            .process
            .logged(generation as usize, "a worker ended")
            .await;
        let (answer, kind) = ask(&client, server.addr, "/").await.unwrap();
        assert!(
            answer.contains(&format!("x-generation: {generation}")),
            "{answer}"
        );
        assert_eq!(kind, Some(Resumed), "generation {generation}");
    }
    let (_, kind) = ask(&latecomer, server.addr, "/").await.unwrap();
    assert_eq!(kind, Some(Resumed), "with a ticket of generation 0");
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

/// Asks again and again, each time on a new connection, and counts the answers.
struct Fresh {
    tasks: JoinSet<io::Result<()>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Fresh {
    fn start(certificate: &Certificate, server: &Server) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (client, addr) = (certificate.client(), server.addr);
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tasks.spawn(async move {
                while !stop.load(Relaxed) {
                    let (answer, _) = ask(&client, addr, "/ping").await?;
                    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
                    answered.fetch_add(1, Relaxed);
                }
                Ok(())
            });
        }
        Self {
            tasks,
            stop,
            answered,
        }
    }

    async fn answer(&self, n: u64) {
        let goal = self.answered.load(Relaxed) + n;
        until("more answers", async || self.answered.load(Relaxed) >= goal).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_restarts_refuse_no_handshake() {
    let certificate = Certificate::new();
    let mut server = start(&certificate, &[]).await;
    let mut load = Fresh::start(&certificate, &server);
    for generation in 1..=3 {
        load.answer(50).await;
        let old = server.pid;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        load.answer(50).await;
        assert_eq!(exit(old).await, 0);
    }
    load.stop.store(true, Relaxed);
    while let Some(client) = load.tasks.join_next().await {
        client.unwrap().unwrap();
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// An idle connection across a restart: closed in order, and its client's next connection resumes.
#[tokio::test]
async fn an_idle_connection_is_told_goodbye() {
    let certificate = Certificate::new();
    let mut server = start(&certificate, &[]).await;
    let mut idle = connect(&certificate.client(), server.addr).await.unwrap();
    idle.write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert!(idle.read_buf(&mut answer).await.unwrap() > 0);
    }
    server.signal(Signal::HUP);
    server.ready(1).await;
    let end = timeout(BOUND, idle.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    assert_eq!(end.expect("close_notify"), 0);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn curl_speaks_both_protocols() {
    let certificate = Certificate::new();
    let server = start(&certificate, &[]).await;
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let Some(output) = curl(&server, &certificate, &[flag, "-w", "%{http_version}"]).await
        else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("ok\n{version}")
        );
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn http_1_alone_is_all_that_is_offered() {
    let certificate = Certificate::new();
    let server = start(&certificate, &["--http", "1"]).await;
    let Some(output) = curl(&server, &certificate, &["--http2", "-w", "%{http_version}"]).await
    else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ok\n1.1",
        "{output:?}"
    );
}

/// `/ping`; nothing where there is no curl.
async fn curl(server: &Server, certificate: &Certificate, flags: &[&str]) -> Option<Output> {
    let port = server.addr.port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert", certificate.path().to_str().unwrap()])
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .args(flags)
        .arg(format!("https://localhost:{port}/ping"));
    let ran = tokio::task::spawn_blocking(move || curl.output());
    match ran.await.unwrap() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: no curl here: {error}");
            None
        }
    }
}
