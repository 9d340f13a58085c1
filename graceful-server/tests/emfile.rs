//! Out of descriptors: the accept loop waits instead of spinning, still sees the stop signal at once, and loses nobody who
//! waits in its queue.
//!
//! Alone in its file, for the limit belongs to the process.

mod support;

use std::time::{Duration, Instant};

use graceful_server::Phase;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use support::{Server, app, exchange, get_close, read_all, until};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[tokio::test]
async fn an_accept_loop_without_descriptors_neither_spins_nor_sleeps_through_a_signal() {
    let server = Server::start(app(), |serve| serve);
    assert!(
        exchange(server.addr, &get_close("/"))
            .await
            .unwrap()
            .ends_with("hello")
    );

    // Clients first, so that the server is the one that runs out.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(open + 20),
            ..limit
        },
    )
    .unwrap();
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.addr).await {
        clients.push(client);
    }
    sleep(Duration::from_millis(50)).await;

    let (wall, busy) = (Instant::now(), cpu());
    sleep(Duration::from_millis(500)).await;
    let (wall, busy) = (wall.elapsed(), cpu() - busy);
    assert!(
        busy < wall / 2,
        "the accept loop spins: {busy:?} of {wall:?}"
    );

    server.stop.fire();
    until("the signal is seen", || {
        server.tracker.phase() >= Phase::Draining
    })
    .await;
    // Most of them wait in the accept queue still, and come out as descriptors come free.
    for client in &mut clients {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
    }
    let clients_there_were = clients.len() as u64;
    for mut client in clients {
        let answer = read_all(&mut client).await.expect("an answer, not a reset");
        assert!(answer.ends_with("hello"), "{answer:?}");
    }
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, clients_there_were + 1);
    setrlimit(Resource::Nofile, limit).unwrap();
}
