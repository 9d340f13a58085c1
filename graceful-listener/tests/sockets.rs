//! UDP sockets, plain descriptors and SO_REUSEPORT groups over hand-overs of real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::sockets::contents;
use common::{Folder, PATIENCE, Process, ask, open_fds, own_address, role, signal, until};
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

fn start(variables: &[(&str, &str)]) -> Process {
    let mut command = role("sockets");
    command.envs(variables.iter().copied());
    Process::start(command)
}

/// A client of the UDP socket at `addr`.
fn client(addr: &str) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The next answer: the generation, and what was sent.
fn echoed(client: &UdpSocket) -> (u32, String) {
    let mut buffer = [0; 2048];
    let length = client.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    let (generation, text) = text.split_once(' ').unwrap();
    (generation.parse().unwrap(), text.to_owned())
}

/// Sends an order to restart, and returns the process and the generation after it.
fn restart(process: &mut Process, client: &UdpSocket, variables: &str) -> (u32, u32) {
    client
        .send(format!("restart {variables}").as_bytes())
        .unwrap();
    process.ready()
}

#[test]
fn every_datagram_is_echoed_once_through_five_hand_overs() {
    const AT_ONCE: usize = 16;
    let mut process = start(&[("UDP", "echo=127.0.0.1:0")]);
    let addr = process.line("udp echo=");
    process.ready();
    let client = client(&addr);
    let (mut number, mut seen, mut last) = (0, 0, 0);
    let mut fds = Vec::new();
    for generation in 0..=5 {
        let mut open = BTreeSet::new();
        let mut ordered = false;
        // So many that both sides of the hand-over get some, and then until the next one answers.
        while last < generation || seen < 100 * (generation + 1) || !open.is_empty() {
            while open.len() < AT_ONCE && (last < generation || seen < 100 * (generation + 1)) {
                client.send(number.to_string().as_bytes()).unwrap();
                open.insert(number.to_string());
                number += 1;
            }
            let (by, text) = echoed(&client);
            assert!(by >= last || by + 1 == last, "generation {by} after {last}");
            last = last.max(by);
            seen += 1;
            assert!(open.remove(&text), "{text:?} came twice, or was never sent");
            if !ordered && generation > 0 && last < generation {
                ordered = true;
                client.send(b"restart UDP=echo=127.0.0.1:0").unwrap();
                open.insert("restart UDP=echo=127.0.0.1:0".to_owned());
            }
        }
        if generation > 0 {
            let next = process.ready();
            assert_eq!(next.1, generation);
            fds.push(open_fds(next.0));
        }
    }
    assert!(
        fds.iter().all(|open| *open == fds[0]),
        "descriptors: {fds:?}"
    );
}

#[test]
fn what_is_queued_while_the_successor_hangs_is_for_the_old_process_when_it_dies() {
    let mut process = start(&[("UDP", "echo=127.0.0.1:0")]);
    let addr = process.line("udp echo=");
    process.ready();
    let client = client(&addr);
    let (successor, _) = restart(&mut process, &client, "STAY=1");
    assert_eq!(echoed(&client).0, 0, "the order itself");
    until("the successor answers", || {
        client.send(b"x").unwrap();
        echoed(&client).0 == 1
    });
    signal(successor, Signal::STOP);
    until("the successor is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{successor}/stat")).unwrap();
        stat.contains(") T ")
    });
    for number in 0..50 {
        client.send(number.to_string().as_bytes()).unwrap();
    }
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        client.recv(&mut [0; 64]).is_err(),
        "the old process received after COMMIT"
    );
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    signal(successor, Signal::KILL);
    assert_eq!(process.line("reclaimed "), "true");
    let mut answers: Vec<_> = (0..50).map(|_| echoed(&client)).collect();
    answers.sort_by_key(|(_, text)| text.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..50).map(|number: u32| (0, number.to_string())).collect();
    assert_eq!(answers, expected);
}

#[test]
fn sockets_come_and_go_between_generations() {
    let folder = Folder::new();
    let (kept, gone) = (folder.path("kept"), folder.path("gone"));
    let files = format!("kept={kept} gone={gone}");
    let mut process = start(&[("UDP", "a=127.0.0.1:0 b=127.0.0.1:0"), ("FILES", &files)]);
    let (a, b) = (process.line("udp a="), process.line("udp b="));
    process.ready();
    let client = client(&b);
    let variables = format!("UDP=b=127.0.0.1:0 c=127.0.0.2:0;FILES=kept={kept}");
    let (pid, generation) = restart(&mut process, &client, &variables);
    assert_eq!(generation, 1);
    assert_eq!(process.line("udp b="), b, "it is the same socket");
    let c = process.line("udp c=");
    assert!(process.exit().success());
    // Nobody holds it any more, so it does not swallow what is sent there.
    UdpSocket::bind(&a).unwrap();
    let added = self::client(&c);
    added.send(b"x").unwrap();
    assert_eq!(echoed(&added), (1, "x".to_owned()));
    assert_eq!(
        (contents(&kept), contents(&gone)),
        ("0 1 ".to_owned(), "0 ".to_owned())
    );
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<_> = open
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .collect();
    assert!(
        open.contains(&kept.into()) && !open.contains(&gone.into()),
        "{open:?}"
    );
}

#[test]
fn a_listener_and_a_udp_socket_of_one_name_and_port_are_told_apart() {
    let addr = own_address(8005);
    let both = format!("dns={addr}");
    let mut process = start(&[("UDP", &both), ("TCP", &both)]);
    process.ready();
    let client = client(&addr);
    assert_eq!(restart(&mut process, &client, "X=").1, 1);
    assert!(process.exit().success());
    assert_eq!(echoed(&client).0, 0, "the order itself");
    client.send(b"x").unwrap();
    assert_eq!(echoed(&client), (1, "x".to_owned()));
    assert_eq!(ask(&addr, "who").unwrap(), "1");
}

#[test]
fn the_only_listener_is_found_beside_what_is_none() {
    let folder = Folder::new();
    let file = folder.path("file");
    let addr = own_address(8007);
    // Also one of its own name.
    let (tcp, files) = (format!("web={addr}"), format!("web={file}"));
    let mut process = start(&[
        ("UDP", "order=127.0.0.1:0"),
        ("TCP", &tcp),
        ("FILES", &files),
    ]);
    let orders = client(&process.line("udp order="));
    process.ready();
    assert_eq!(restart(&mut process, &orders, "TCP=any=inherited").1, 1);
    assert!(process.exit().success());
    assert_eq!(ask(&addr, "who").unwrap(), "1");
    assert_eq!(contents(&file), "0 1 ");
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_group_of_listeners_that_becomes_smaller_resets_nobody() {
    let addr = own_address(8006);
    let group = |count: usize| vec![format!("web={addr}"); count].join(" ");
    let mut process = start(&[("UDP", "order=127.0.0.1:0"), ("TCP", &group(4))]);
    let orders = client(&process.line("udp order="));
    process.ready();
    let done = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let _done = SetOnDrop(&done);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0;
                    while !done.load(Ordering::Relaxed) {
                        let answer = ask(&addr, "who");
                        assert!(matches!(answer.as_deref(), Ok("0" | "1")), "{answer:?}");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(
            restart(&mut process, &orders, &format!("TCP={}", group(2))).1,
            1
        );
        assert!(process.exit().success());
        std::thread::sleep(Duration::from_millis(100));
        done.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum::<u32>()
    });
    assert!(answered > 0);
    assert_eq!(ask(&addr, "who").unwrap(), "1");
}
