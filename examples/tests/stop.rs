//! A stop, from the signal to the exit status: who is answered, who is told, who is cut, and in what order.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use graceful_examples::load::{Answer, Call, Http1, Outcome};
use rustix::process::Signal;
use serde_json::Value;
use support::server::Server;
use support::wire::Wire;
use support::{BOUND, get, json, post, text, until};

#[tokio::test]
async fn a_slow_request_in_flight_is_answered_in_full_and_nothing_is_cut() {
    let server = Server::start(&[]).await;
    let mut client = Http1::new(server.addr, BOUND);
    let slow = tokio::spawn(async move {
        client
            .send(&Call::slow(Duration::from_millis(700)))
            .await
            .outcome
    });
    server.in_flight(1).await;
    server.signal(Signal::TERM);
    assert_eq!(slow.await.unwrap(), Outcome::Answered);
    assert_eq!(server.exit().await, 0);
}

/// None of the waits that a stop may have is waited for when there is nobody to wait for.
#[tokio::test]
async fn with_zero_connections_it_ends_at_once() {
    let long = [
        "--drain",
        "300s",
        "--idle-grace",
        "300s",
        "--first-request-grace",
        "300s",
    ];
    let server = Server::start(&long).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn phases_come_in_their_order() {
    let server = Server::start(&["--lame-duck", "300ms"]).await;
    server.signal(Signal::INT);
    assert_eq!(server.exit().await, 0);
    let log = server.process.log();
    let phases: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("phase=\""))
        .collect();
    let phases: Vec<_> = phases
        .iter()
        .filter_map(|(_, phase)| phase.split('"').next())
        .collect();
    assert_eq!(phases, ["lame_duck", "draining", "closed"], "{log}");
    assert!(log.contains("stopped by SIGINT"), "{log}");
}

/// Law 6: told first, then the idle grace, then the end, which is a FIN and never a reset.
#[tokio::test]
async fn an_idle_connection_is_told_and_then_closed_in_order() {
    let server = Server::start(&["--idle-grace", "3s"]).await;
    let (mut asks, mut silent) = (Wire::open(server.addr).await, Wire::open(server.addr).await);
    for wire in [&mut asks, &mut silent] {
        wire.get("/ping").await;
        let answer = wire.read_until("ok\n").await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    server.signal(Signal::TERM);
    server.entered("draining").await;

    assert!(
        !silent.stirs_within(Duration::from_millis(500)).await,
        "closed without its grace"
    );
    asks.get("/ping").await;
    let answer = asks.rest().await.in_order();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
        "{answer}"
    );
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(silent.rest().await.in_order(), "");
    assert_eq!(server.exit().await, 0);
}

/// The headers begin with the request before, while that is in its handler, or after its response. They are completed later than
/// the idle grace, and within the first-request grace.
#[tokio::test]
async fn headers_that_began_before_sigterm_are_completed_after_the_idle_grace_and_served() {
    let server = Server::start(&[]).await;
    let first = "GET /ping HTTP/1.1\r\nhost: x\r\n\r\n";
    let half = "POST /count HTTP/1.1\r\nho";
    let mut together = Wire::open(server.addr).await;
    together.send(&format!("{first}{half}")).await;
    together.read_until("ok\n").await;
    let mut meanwhile = Wire::open(server.addr).await;
    meanwhile.get("/slow?ms=600").await;
    server.in_flight(1).await;
    meanwhile.send(half).await;
    meanwhile.read_until("ok\n").await;
    let mut after = Wire::open(server.addr).await;
    after.get("/ping").await;
    after.read_until("ok\n").await;
    after.send(half).await;
    let mut idle = Wire::open(server.addr).await;
    idle.get("/ping").await;
    idle.read_until("ok\n").await;

    server.signal(Signal::TERM);
    assert_eq!(idle.rest().await.in_order(), "", "the idle grace is over");
    tokio::time::sleep(Duration::from_millis(500)).await;
    for mut client in [together, meanwhile, after] {
        client.send("st: x\r\ncontent-length: 3\r\n\r\nabc").await;
        let response = client.rest().await.in_order();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(response.contains("connection: close"), "{response}");
        assert!(response.ends_with("len=3\n"), "{response}");
    }
    assert_eq!(server.exit().await, 0);
}

/// RFC 9112 §2.2. If the empty line began a request, the connection would be reset at the end of the first-request grace.
#[tokio::test]
async fn a_connection_with_an_empty_line_after_its_request_ends_with_fin_like_an_idle_connection() {
    let server = Server::start(&["--first-request-grace", "60s", "--drain", "60s"]).await;
    let mut clients = Vec::new();
    for lines in ["", "\r\n", "\n\r\n\r"] {
        let mut client = Wire::open(server.addr).await;
        client
            .send("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
            .await;
        client.read_until("len=2\n").await;
        client.send(lines).await;
        clients.push(client);
    }
    server.idle(3).await;
    server.signal(Signal::TERM);
    for client in clients {
        assert_eq!(client.rest().await.in_order(), "");
    }
    assert_eq!(server.exit().await, 0);
}

/// Whatever of a request was on its way at the signal, the rest of it is taken and all of it is answered.
#[tokio::test]
async fn requests_that_had_begun_are_answered_whatever_was_there_of_them() {
    let server = Server::start(&[]).await;
    let mut half_head = Wire::open(server.addr).await;
    half_head.send("GET /ping HTTP/1.1\r\nho").await;
    let mut half_body = Wire::open(server.addr).await;
    half_body
        .send("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n1234")
        .await;
    let mut fresh = Wire::open(server.addr).await;
    let mut slow_reader = Wire::open(server.addr).await;
    slow_reader.get("/bytes?n=8000000").await;
    server.in_flight(2).await;

    server.signal(Signal::TERM);
    server.entered("draining").await;
    half_head.send("st: x\r\n\r\n").await;
    half_body.send("5678").await;
    fresh.get("/ping").await;
    assert!(half_head.rest().await.in_order().ends_with("\r\n\r\nok\n"));
    assert!(
        half_body
            .rest()
            .await
            .in_order()
            .ends_with("\r\n\r\nlen=8\n")
    );
    assert!(fresh.rest().await.in_order().ends_with("\r\n\r\nok\n"));
    let read = slow_reader.rest().await;
    read.end.unwrap();
    assert!(read.bytes.len() > 8_000_000, "{} bytes", read.bytes.len());
    assert_eq!(server.exit().await, 0);
}

/// They have come to a process that did not run, and the stop reaches it before it runs again.
#[tokio::test]
async fn clients_that_queued_before_a_stopped_process_are_served_when_it_goes_on_to_its_end() {
    let server = Server::start(&[]).await;
    server.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", server.pid.as_raw_nonzero());
    until("the process stands still", async || {
        fs::read_to_string(&stat).unwrap().contains(") T ")
    })
    .await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = Wire::open(server.addr).await;
        match n % 2 {
            0 => client.get("/ping").await,
            _ => {
                let post = "POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
                client.send(post).await;
            }
        }
        clients.push(client);
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for (n, client) in clients.into_iter().enumerate() {
        // Told by its answer, or closed in order after it: one worker may accept before another has read the signal.
        let answer = client.rest().await.in_order();
        let end = ["\r\n\r\nok\n", "\r\n\r\nlen=2\n"][n % 2];
        assert!(answer.ends_with(end), "{answer}");
    }
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn each_further_signal_goes_on_to_the_next_phase_and_what_is_cut_is_named() {
    let folder = support::process::scratch();
    let path = folder.join("journal");
    let flags = [
        "--lame-duck",
        "300s",
        "--drain",
        "300s",
        "--journal",
        path.to_str().unwrap(),
    ];
    let server = Server::start(&flags).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=300000&token=secret").await;
    server.in_flight(1).await;

    server.signal(Signal::TERM);
    server.entered("lame_duck").await;
    assert_eq!(text(&get(server.addr, "/ping").await), "ok\n");
    server.signal(Signal::TERM);
    server.entered("draining").await;
    server.signal(Signal::TERM);
    let answer = slow.rest().await.in_order();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("retry-after: ") && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(server.exit().await, 1);

    let journal = fs::read_to_string(&path).unwrap();
    let cut: Value = serde_json::from_str(journal.trim()).unwrap();
    assert_eq!(
        (&cut["method"], &cut["path"]),
        (&"GET".into(), &"/slow".into()),
        "{journal}"
    );
    assert_eq!(cut["answer"], "refused");
    assert_eq!(cut["generation"], 0);
    // Whoever repeats the request needs its query, which is for nobody else.
    assert_eq!(cut["query"], "ms=300000&token=secret");
    assert_eq!(
        (&cut["reason"], &cut["ran"]),
        (&"hurried".into(), &true.into())
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!server.process.log().contains("secret"));
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_lame_duck_serves_and_can_be_called_back() {
    let server = Server::start(&["--lame-duck", "300s"]).await;
    for _ in 0..2 {
        server.signal(Signal::TERM);
        until("not ready", async || {
            get(server.addr, "/ready").await.status == 503
        })
        .await;
        assert_eq!(get(server.addr, "/live").await.status, 200);
        assert_eq!(text(&get(server.addr, "/ping").await), "ok\n");
        assert_eq!(server.status().await["phase"], "lame_duck");

        assert_eq!(post(server.admin, "/resume").await.status, 202);
        until("ready", async || {
            get(server.addr, "/ready").await.status == 200
        })
        .await;
        assert_eq!(post(server.admin, "/resume").await.status, 409);
        assert_eq!(server.status().await["deadline_ms"], Value::Null);
    }
    server.signal(Signal::TERM);
    until("a lame duck", async || {
        server.status().await["phase"] == "lame_duck"
    })
    .await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn quit_cuts_at_once() {
    let server = Server::start(&["--lame-duck", "300s", "--drain", "300s"]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=300000").await;
    server.in_flight(1).await;
    server.signal(Signal::QUIT);
    let answer = slow.rest().await.in_order();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let signed = format!("x-pid: {}\r\nx-generation: 0\r\n", server.pid);
    assert!(answer.contains(&signed), "every answer is: {answer}");
    assert_eq!(server.exit().await, 1);
}

/// The end of an answer that was cut must be seen to be none.
#[tokio::test]
async fn an_answer_that_is_cut_in_the_middle_is_visibly_not_whole() {
    let server = Server::start(&["--drain", "300ms"]).await;
    let mut stream = Wire::open(server.addr).await;
    stream.get("/stream?ms=300000&chunks=3000").await;
    stream.read_until("chunk 0\n").await;
    server.signal(Signal::TERM);
    let rest = stream.rest().await;
    assert!(!rest.bytes.ends_with(b"0\r\n\r\n"), "a clean end");
    assert_eq!(
        rest.end.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    assert_eq!(server.exit().await, 1);
}

/// The work goes on where it was: at this process or, as here, at another one.
#[tokio::test]
async fn long_work_is_saved_at_the_last_call_and_goes_on_elsewhere() {
    let work = Work::new("last-call");
    let server = Server::start(&["--drain", "2s"]).await;
    let cut = work.begin(&server).await;
    server.signal(Signal::TERM);
    let cut = cut.await.unwrap();
    assert_eq!(cut.status, 503);
    assert!(
        text(&cut).starts_with(&format!("saved {} at ", work.key)),
        "{}",
        text(&cut)
    );
    assert_eq!(
        server.exit().await,
        0,
        "what is saved and answered is not cut"
    );
    work.finish().await;
}

#[tokio::test]
async fn long_work_is_saved_at_a_sudden_cutoff_as_well() {
    let work = Work::new("cutoff");
    let server = Server::start(&["--drain", "300s"]).await;
    let cut = work.begin(&server).await;
    server.signal(Signal::QUIT);
    assert_eq!(cut.await.unwrap().status, 503);
    server.exit().await;
    work.finish().await;
}

/// Work for `/save` that is saved after it has taken a while.
struct Work {
    key: String,
}

impl Work {
    fn new(name: &str) -> Self {
        Self {
            key: format!("{name}-{}", std::process::id()),
        }
    }

    async fn begin(&self, server: &Server) -> tokio::task::JoinHandle<Answer> {
        let (addr, path) = (server.addr, format!("/save?ms=300000&key={}", self.key));
        let work = tokio::spawn(async move { get(addr, &path).await });
        server.in_flight(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        work
    }

    /// It would take minutes, had nothing been saved and something else than that been taken up.
    async fn finish(&self) {
        let file = std::env::temp_dir()
            .join("reference-server")
            .join(&self.key);
        let saved: u64 = fs::read_to_string(&file).unwrap().parse().unwrap();
        // The request is in flight before its handler begins.
        assert!(saved > 0, "{saved} ms");
        let server = Server::start(&[]).await;
        let rest = get(server.addr, &format!("/save?ms={saved}&key={}", self.key)).await;
        assert_eq!(text(&rest), "ok\n");
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_drain_can_be_ordered_and_hurried_from_the_admin_listener() {
    let server = Server::start(&["--lame-duck", "300s"]).await;
    let mut held = Wire::open(server.addr).await;
    held.get("/slow?ms=300000").await;
    server.in_flight(1).await;
    assert_eq!(post(server.admin, "/drain").await.status, 202);
    until("a lame duck", async || {
        server.status().await["phase"] == "lame_duck"
    })
    .await;
    let again = post(server.admin, "/drain").await;
    assert_eq!(again.status, 409);
    assert!(text(&again).contains("lame_duck"), "{}", text(&again));
    assert_eq!(
        json(&get(server.admin, "/ready").await)["phase"],
        "lame_duck"
    );
    assert_eq!(post(server.admin, "/cutoff").await.status, 202);
    assert!(held.rest().await.in_order().starts_with("HTTP/1.1 503"));
    assert_eq!(server.exit().await, 1);
}

#[tokio::test]
async fn a_restart_that_is_asked_for_during_a_stop_is_no_failure() {
    let server = Server::start(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=700").await;
    server.in_flight(1).await;
    server.signal(Signal::TERM);
    server.entered("draining").await;
    server.signal(Signal::HUP);
    server.process.logged(1, "stopping, not restarting").await;
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
    assert_eq!(server.exit().await, 0);
    assert!(!server.process.log().contains("ERROR"));
}
