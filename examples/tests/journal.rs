//! The journal of what was cut, replayed against a fresh server: what it is for.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::{fs, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use support::server::Server;
use support::wire::Wire;
use support::{get, text};

/// A slow answer, a stream in its middle and a body that never came whole are cut; whatever may be repeated is, elsewhere,
/// and gets its whole answer.
#[tokio::test]
async fn what_was_cut_is_repeated_elsewhere_from_its_journal() {
    let folder = support::process::scratch();
    let path = folder.join("journal");
    let server = Server::start(&["--drain", "300s", "--journal", path.to_str().unwrap()]).await;
    let mut cut = Vec::new();
    for target in ["/slow?ms=3000", "/stream?ms=3000&chunks=3"] {
        let mut wire = Wire::open(server.addr).await;
        wire.get(target).await;
        cut.push(wire);
    }
    cut[1].read_until("chunk 0\n").await;
    let mut half = Wire::open(server.addr).await;
    half.send("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    server.in_flight(3).await;
    server.signal(Signal::QUIT);
    assert_eq!(server.exit().await, 1);

    let journal = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{journal}");
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(of("/slow")["answer"], "refused", "{journal}");
    assert_eq!(of("/stream")["answer"], "truncated", "{journal}");
    assert_eq!(of("/count")["repeatable"], false, "{journal}");

    let fresh = Server::start(&[]).await;
    let mut repeated = 0;
    for line in lines.iter().filter(|line| line["repeatable"] == true) {
        let (path, query) = (
            line["path"].as_str().unwrap(),
            line["query"].as_str().unwrap(),
        );
        assert_eq!(line["method"], "GET");
        let answer = get(fresh.addr, &format!("{path}?{query}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            ["ok\n", "end\n"]
                .iter()
                .any(|end| text(&answer).ends_with(end)),
            "{}",
            text(&answer)
        );
        repeated += 1;
    }
    assert_eq!(repeated, 2);
    fs::remove_dir_all(folder).unwrap();
}

/// A client that was idle lost nothing. A WebSocket and half a header are lost without an aborted request; each has its line, and
/// the exit status is 1.
#[tokio::test]
async fn a_connection_that_was_closed_without_an_aborted_request_has_its_line() {
    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                           sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (sends, state, lines) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "idle", None),
        (UPGRADE, "hijacked", Some("hijacked")),
        ("GET / HT", "active", Some("active")),
    ] {
        let folder = support::process::scratch();
        let path = folder.join("journal");
        let flags = [
            "--drain",
            "300s",
            "--idle-grace",
            "300s",
            "--journal",
            path.to_str().unwrap(),
        ];
        let server = Server::start(&flags).await;
        let mut wire = Wire::open(server.addr).await;
        wire.send(sends).await;
        support::until(state, async || {
            server.status().await["connections"][state] == 1
        })
        .await;
        server.signal(Signal::QUIT);
        assert_eq!(server.exit().await, i32::from(lines.is_some()), "{sends}");
        let journal = fs::read_to_string(&path).unwrap();
        let states: Vec<Value> = journal
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let states: Vec<_> = states.iter().map(|line| line["closed"].as_str()).collect();
        let expected: Vec<_> = lines.iter().map(|state| Some(*state)).collect();
        assert_eq!(states, expected, "{sends}: {journal}");
        fs::remove_dir_all(folder).unwrap();
    }
}

/// Without a lame duck the second signal begins the cutoff. The third must not kill the process before it has written its report.
#[tokio::test]
async fn a_third_signal_leaves_report_journal_and_exit_status_complete() {
    for signals in [
        [Signal::TERM, Signal::TERM, Signal::TERM],
        [Signal::TERM, Signal::INT, Signal::TERM],
    ] {
        let folder = support::process::scratch();
        let path = folder.join("journal");
        let server = Server::start(&["--journal", path.to_str().unwrap()]).await;
        let mut wires = Vec::new();
        for target in ["/slow?ms=30000", "/stream?ms=9000&chunks=90"] {
            let mut wire = Wire::open(server.addr).await;
            wire.get(target).await;
            wires.push(wire);
        }
        wires[1].read_until("chunk 0\n").await;
        server.in_flight(2).await;
        for signal in signals {
            server.signal(signal);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(server.exit().await, 1, "{signals:?}");
        let journal = fs::read_to_string(&path).unwrap();
        assert_eq!(journal.lines().count(), 2, "{signals:?}: {journal}");
        fs::remove_dir_all(folder).unwrap();
    }
}
