//! Faults of a restart that only a whole server shows: a configuration that does not work out,
//! clients that do not come to an end. What fails on the way to a successor is in `restart.rs`, a KILL in `kills.rs`.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use support::loops::Loops;
use support::process::scratch;
use support::server::{BINARY, Server};
use support::wire::Wire;
use support::{get, post, text};

/// The next generation is to listen at one more address, which is in use at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_new_is_there_at_ready_or_nothing_changes() {
    let folder = scratch();
    let program = folder.join("server");
    fs::hard_link(BINARY, &program).unwrap();
    let mut server = Server::start_program(&program, &[]).await;
    let (addr, admin) = (server.addr, server.admin);
    let loops = Loops::fresh(addr);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let added = taken.local_addr().unwrap();
    put_script(&program, &format!("exec {BINARY} \"$@\" --listen {added}"));

    let refused = post(admin, "/restart").await;
    assert_eq!(refused.status, 409);
    assert!(
        text(&refused).contains("exit status: 3"),
        "{}",
        text(&refused)
    );
    assert_eq!(get(addr, "/").await.generation, Some(0));
    loops.answer(100).await;

    drop(taken);
    server.signal(Signal::HUP);
    server.ready(1).await;
    assert_eq!(get(added, "/").await.generation, Some(1));
    assert_eq!(get(admin, "/live").await.generation, Some(1));
    loops.answer(100).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(server.process.exit().await, 0);
    fs::remove_dir_all(folder).unwrap();
}

/// Replaces a program in one step, as a deployment does.
fn put_script(program: &Path, script: &str) {
    let next = program.with_extension("next");
    fs::write(&next, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(next, program).unwrap();
}

/// A handler, an upload and a reader that take for ever. The process that they hold ends at its deadline, and says by its
/// status that something was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_after_a_hand_over_is_over_at_its_deadline_whatever_holds_it() {
    let mut server = Server::start(&["--drain", "1s"]).await;
    let mut handler = Wire::open(server.addr).await;
    handler.get("/slow?ms=600000").await;
    let mut upload = Wire::open(server.addr).await;
    upload
        .send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nonce upon")
        .await;
    let mut reader = Wire::open(server.addr).await;
    reader.get("/bytes?n=30000000").await;
    server.in_flight(3).await;

    server.signal(Signal::HUP);
    server.ready(1).await;
    assert_eq!(get(server.addr, "/").await.generation, Some(1));
    assert_eq!(server.process.exit().await, 1, "something was cut");
    for wire in [handler, upload, reader] {
        let rest = wire.rest().await;
        let whole = rest.bytes.len() >= 30_000_000 || rest.bytes.ends_with(b"\r\n\r\nok\n");
        assert!(!whole, "it was answered as if it had come to its end");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}
