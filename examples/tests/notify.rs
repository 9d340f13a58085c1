//! What a service manager hears from the reference server, message by message. Any machine can run these; what a real
//! systemd makes of the messages is in `systemd.rs`.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs::Permissions;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use support::process::{Process, exit, signal};
use support::server::BINARY;
use support::wire::Wire;
use support::{get, json, post, until};

/// The manager's end: everything it was told.
struct Manager {
    address: String,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn at(address: String) -> Self {
        let socket = match address.strip_prefix('@') {
            Some(name) => UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(name).unwrap()),
            None => UnixDatagram::bind(&address),
        };
        let (socket, messages) = (socket.unwrap(), Arc::default());
        let heard: Arc<Mutex<Vec<String>>> = Arc::clone(&messages);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                heard.lock().unwrap().push(message);
            }
        });
        Self { address, messages }
    }

    fn abstract_name(test: &str) -> Self {
        Self::at(format!("@graceful-{}-{test}", std::process::id()))
    }

    /// All assignments so far, in order.
    fn lines(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .flat_map(|message| message.lines().map(str::to_owned))
            .collect()
    }

    fn count(&self, what: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.starts_with(what))
            .count()
    }

    fn last(&self, key: &str) -> Option<String> {
        let lines = self.lines();
        let last = lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        last.map(str::to_owned)
    }

    async fn hears_last(&self, key: &str, value: u64) {
        until(&format!("{key}={value} as the last"), async || {
            self.last(key) == Some(value.to_string())
        })
        .await;
    }

    async fn hears(&self, n: usize, what: &str) {
        until(&format!("{what:?}, {n} times"), async || {
            self.count(what) >= n
        })
        .await;
    }
}

/// The server as a child of the manager, under a shell that sets what only the process itself knows.
struct Unit {
    process: Process,
    addr: std::net::SocketAddr,
    admin: std::net::SocketAddr,
}

impl Unit {
    async fn start(manager: &Manager, variables: &str) -> Self {
        Self::start_program(BINARY, manager, variables).await
    }

    async fn start_program(program: &str, manager: &Manager, variables: &str) -> Self {
        let address = &manager.address;
        let listen = "--listen 127.0.0.1:0 --admin 127.0.0.1:0";
        let script = format!("NOTIFY_SOCKET={address} {variables} exec {program} {listen}");
        let mut process = Process::start("/bin/sh".as_ref(), &["-c", &script]);
        let mut listening = Vec::new();
        for _ in 0..2 {
            let line = process.line().await;
            listening.push(line.strip_prefix("listening ").unwrap().parse().unwrap());
        }
        assert!(process.line().await.starts_with("ready "));
        Self {
            process,
            addr: listening[0],
            admin: listening[1],
        }
    }

    async fn serving_pid(&self) -> u64 {
        json(&get(self.admin, "/status").await)["pid"]
            .as_u64()
            .unwrap()
    }
}

/// Waits until so many requests are in flight.
async fn in_flight(unit: &Unit, n: u64) {
    until(&format!("{n} requests in flight"), async || {
        json(&get(unit.admin, "/status").await)["in_flight"] == n
    })
    .await;
}

fn pid(number: u64) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

#[tokio::test]
async fn it_hears_of_the_start_of_a_restart_and_of_a_stop_that_takes_long() {
    let manager = Manager::abstract_name("all");
    let unit = Unit::start(&manager, "").await;
    manager.hears(1, "READY=1").await;
    manager.hears(1, "STATUS=serving, generation 0: ").await;
    assert_eq!(manager.count("FDSTORE=1"), 2);
    assert_eq!(
        manager.count("MAINPID="),
        0,
        "the first process is whoever the manager started"
    );

    assert_eq!(post(unit.admin, "/restart").await.status, 202);
    let successor = unit.serving_pid().await;
    assert_eq!(unit.process.exit().await, 0);
    manager.hears(1, "STATUS=serving, generation 1: ").await;
    let lines = manager.lines();
    let position = |what: &str| {
        lines
            .iter()
            .rposition(|line| line.starts_with(what))
            .unwrap()
    };
    assert!(position("RELOADING=1") + 1 == position("MONOTONIC_USEC="));
    assert!(position("RELOADING=1") < position("READY=1"));
    manager.hears_last("MAINPID", successor).await;
    assert_eq!(manager.count("STOPPING=1"), 0, "the unit goes on");
    assert_eq!(
        manager.count("STATUS=draining"),
        0,
        "the status is the successor's"
    );

    let mut slow = Wire::open(unit.addr).await;
    slow.get("/slow?ms=4000").await;
    in_flight(&unit, 1).await;
    let before = manager.count("EXTEND_TIMEOUT_USEC=");
    signal(pid(successor), Signal::TERM);
    manager.hears(1, "STOPPING=1").await;
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
    assert_eq!(exit(pid(successor)).await, 0);
    manager.hears(before + 3, "EXTEND_TIMEOUT_USEC=").await;
    let draining = "STATUS=draining, generation 1: 1 connections, 1 requests in flight, ";
    manager.hears(1, draining).await;
    assert_eq!(manager.count("FDSTOREREMOVE=1"), 2);
    let longest = |usec: &str| usec.parse::<u64>().unwrap() <= 10_000_000;
    assert!(
        manager
            .last("EXTEND_TIMEOUT_USEC")
            .is_some_and(|usec| longest(&usec))
    );
}

#[tokio::test]
async fn it_hears_who_is_the_main_process_when_a_successor_fails_or_dies() {
    let folder = support::process::scratch();
    let manager = Manager::at(folder.join("notify").to_str().unwrap().to_owned());
    let program = folder.join("server");
    std::fs::hard_link(BINARY, &program).unwrap();
    let unit = Unit::start_program(program.to_str().unwrap(), &manager, "").await;
    let first = unit.serving_pid().await;

    // Executable as far as can be seen before the fork, but its interpreter is not there.
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "#!/nowhere/interpreter\n").unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(post(unit.admin, "/restart").await.status, 409);
    // What was not executed may have said that it was.
    manager.hears_last("MAINPID", first).await;
    manager
        .hears(1, "STATUS=serving, generation 0, the last restart failed: ")
        .await;
    assert_eq!(manager.count("READY=1"), 2, "the reload is over");

    std::fs::remove_file(&program).unwrap();
    std::fs::hard_link(BINARY, &program).unwrap();
    let mut slow = Wire::open(unit.addr).await;
    slow.get("/slow?ms=60000").await;
    in_flight(&unit, 1).await;
    assert_eq!(post(unit.admin, "/restart").await.status, 202);
    let successor = unit.serving_pid().await;
    manager.hears_last("MAINPID", successor).await;
    signal(pid(successor), Signal::KILL);
    manager
        .hears(1, "STATUS=serving, generation 0, the successor died: ")
        .await;
    manager.hears_last("MAINPID", first).await;
    assert_eq!(unit.serving_pid().await, first);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn the_watchdog_is_fed_by_whoever_serves() {
    let manager = Manager::abstract_name("watchdog");
    let unit = Unit::start(&manager, "WATCHDOG_USEC=100000 WATCHDOG_PID=$$").await;
    manager.hears(5, "WATCHDOG=1").await;
    assert_eq!(post(unit.admin, "/restart").await.status, 202);
    assert_eq!(unit.process.exit().await, 0);
    let fed = manager.count("WATCHDOG=1");
    manager.hears(fed + 5, "WATCHDOG=1").await;

    let others = Manager::abstract_name("others");
    let unit = Unit::start(&others, "WATCHDOG_USEC=100000 WATCHDOG_PID=1").await;
    others.hears(1, "STATUS=serving").await;
    assert_eq!(post(unit.admin, "/restart").await.status, 202);
    assert_eq!(others.count("WATCHDOG=1"), 0, "it is somebody else's");
}

/// A manager that is not there is no reason not to serve.
#[tokio::test]
async fn nobody_listening_changes_nothing() {
    let nobody = Manager {
        address: "/nowhere/notify".into(),
        messages: Arc::default(),
    };
    let unit = Unit::start(&nobody, "").await;
    assert_eq!(post(unit.admin, "/restart").await.status, 202);
    assert_eq!(unit.process.exit().await, 0);
    assert_eq!(get(unit.addr, "/").await.generation, Some(1));
}

#[tokio::test]
async fn a_supervisor_speaks_for_itself_and_its_workers_say_nothing() {
    let manager = Manager::abstract_name("supervisor");
    let supervisor = format!("{BINARY} --supervise");
    let unit = Unit::start_program(&supervisor, &manager, "WATCHDOG_USEC=200000").await;
    manager.hears(1, "READY=1").await;
    manager.hears(2, "WATCHDOG=1").await;
    let worker = json(&get(unit.admin, "/status").await)["pid"].clone();
    signal(unit.process.first, Signal::HUP);
    manager.hears(2, "READY=1").await;
    assert_eq!(manager.count("RELOADING=1"), 1);
    until("the next worker", async || {
        json(&get(unit.admin, "/status").await)["pid"] != worker
    })
    .await;
    signal(unit.process.first, Signal::TERM);
    assert_eq!(unit.process.exit().await, 0);
    manager.hears(1, "STOPPING=1").await;
    assert_eq!(manager.count("STOPPING=1"), 1);
    assert_eq!(manager.count("READY=1"), 2);
    assert_eq!(manager.count("MAINPID="), 0);
}
