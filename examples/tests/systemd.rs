//! The units of `deploy/systemd` under a real systemd: reloads, stops, and whatever is killed meanwhile.
//!
//! Each test has a systemd of its own. Where the machine does not allow that, each says so in one line and passes.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::io::ErrorKind::ConnectionRefused;
use std::path::Path;
use std::time::Duration;

use support::loops::Loops;
use support::server::BINARY;
use support::systemd::Service;
use support::wire::Wire;
use support::{get, text, until};
use tokio::time::sleep;

fn install(flags: &str, change: &str) -> Option<Service> {
    Service::install("reference-server", flags, change)
}

async fn serves(service: &Service) -> u32 {
    let answer = get(service.addr, "/").await;
    let pid = text(&answer).split([' ', '=']).nth(1).unwrap();
    pid.parse().unwrap()
}

async fn reload(service: &Service) {
    let output = service.order("reload").await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_reloads_under_load_keep_the_unit_active_and_lose_nothing() {
    let Some(service) = install("", "") else {
        return;
    };
    service.start();
    let (kept, fresh) = (Loops::keep_alive(service.addr), Loops::fresh(service.addr));
    let mut before = service.main_pid();
    for generation in 1..=5 {
        fresh.answer(100).await;
        reload(&service).await;
        let main = service.main_pid();
        assert_ne!(main, before);
        assert_eq!(serves(&service).await, main);
        service.assert_untouched(main);
        service
            .until_status(&format!("serving, generation {generation}:"))
            .await;
        kept.answer(100).await;
        before = main;
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    until("one process", async || service.pids() == [before]).await;
    service.assert_untouched(before);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_in_every_generation_and_is_done_in_time() {
    for change in ["", "ExecStop=", "ExecStop=\nNotifyAccess=main"] {
        let Some(service) = install("", change) else {
            return;
        };
        stop_while_the_old_process_drains(&service).await;
    }
}

/// What serves is still its predecessor's child then; systemd waits, for it is not alone in its unit.
async fn stop_while_the_old_process_drains(service: &Service) {
    service.start();
    let mut old = Wire::open(service.addr).await;
    old.get("/slow?ms=4000").await;
    in_flight(service, 1).await;
    reload(service).await;
    let mut new = Wire::open(service.addr).await;
    new.get("/slow?ms=2500").await;
    in_flight(service, 1).await;

    let stop = service.order("stop");
    let (stopped, old, new) = tokio::join!(stop, old.rest(), new.rest());
    assert!(stopped.status.success());
    for (answer, generation) in [(old, 0), (new, 1)] {
        let answer = answer.in_order();
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        assert!(
            answer.contains(&format!("x-generation: {generation}")),
            "{answer}"
        );
    }
    assert_eq!(service.property("ActiveState"), "inactive");
    assert_eq!(service.property("Result"), "success");
}

/// When the main process has ended, whoever is left in the unit is told to end once more.
#[tokio::test]
async fn a_stop_answers_what_an_older_generation_still_has_when_the_main_process_ends() {
    let Some(service) = install("", SIMPLE) else {
        return;
    };
    let old = first_and_third_generation(&service).await;
    let (stopped, old) = tokio::join!(service.order("stop"), old.rest());
    assert!(stopped.status.success());
    assert!(old.in_order().ends_with("ok\n"));
    assert_eq!(service.property("Result"), "success");
}

/// The one between that could take over is gone.
#[tokio::test]
async fn a_crash_beside_an_older_generation_is_mended_when_that_has_drained() {
    let Some(service) = install("", SIMPLE) else {
        return;
    };
    let old = first_and_third_generation(&service).await;
    service.kill("KILL", service.main_pid());
    assert!(old.rest().await.in_order().ends_with("ok\n"));
    service.until("NRestarts", "1").await;
    service.until("ActiveState", "active").await;
    assert_eq!(serves(&service).await, service.main_pid());
}

/// Starts the service and reloads it twice: a slow request keeps the first process, and nothing the second.
async fn first_and_third_generation(service: &Service) -> Wire {
    service.start();
    let first = service.main_pid();
    let mut slow = Wire::open(service.addr).await;
    slow.get("/slow?ms=9000").await;
    in_flight(service, 1).await;
    for _ in 0..2 {
        reload_until_another_serves(service).await;
        until("of those before the first is left", async || {
            service.pids().len() == 2
        })
        .await;
    }
    assert!(service.pids().contains(&first));
    slow
}

async fn reload_until_another_serves(service: &Service) {
    let before = serves(service).await;
    reload(service).await;
    until("the next one serves", async || {
        serves(service).await != before
    })
    .await;
}

/// Waits until so many requests are in flight.
async fn in_flight(service: &Service, n: u64) {
    until(&format!("{n} requests in flight"), async || {
        support::json(&get(service.admin, "/status").await)["in_flight"] == n
    })
    .await;
}

/// What serves then was no child of systemd's when it became the main process; such a one it kills right behind its TERM.
#[tokio::test]
async fn a_stop_after_reloads_drains_like_one_before() {
    for access in ["NotifyAccess=all", "NotifyAccess=main"] {
        let Some(service) = install("", &format!("{SIMPLE}\n{access}")) else {
            return;
        };
        service.start();
        for _ in 0..3 {
            reload_and_be_alone(&service).await;
        }
        let mut slow = Wire::open(service.addr).await;
        slow.get("/slow?ms=1500").await;
        in_flight(&service, 1).await;

        let (stopped, slow) = tokio::join!(service.order("stop"), slow.rest());
        assert!(stopped.status.success());
        assert!(slow.in_order().ends_with("ok\n"), "{access}");
        assert_eq!(service.property("ActiveState"), "inactive");
        assert_eq!(service.property("Result"), "success");
    }
}

/// What somebody writes who has not read our units.
const SIMPLE: &str = "ExecStop=\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID";

/// Until the process before is gone, and the unit is the one's that serves.
async fn reload_and_be_alone(service: &Service) {
    let before = service.main_pid();
    reload(service).await;
    until("the old process is gone", async || {
        service.pids().len() == 1 && service.pids() != [before]
    })
    .await;
    service.until("ActiveState", "active").await;
    let main = serves(service).await;
    service.until("MainPID", &main.to_string()).await;
    service.assert_untouched(main);
    until("no child of it, dead or alive", async || {
        let children = ["ps", "--ppid", &main.to_string(), "--format", "pid="];
        service.systemd.run(&children).stdout.is_empty()
    })
    .await;
}

/// Of three generations the oldest ends first, so that the second is systemd's child from then on, but not the main process.
#[tokio::test]
async fn a_process_that_has_handed_over_does_not_take_the_unit_back() {
    let Some(service) = install("", SIMPLE) else {
        return;
    };
    service.start();
    let mut slow = Vec::new();
    for ms in [3000, 6000] {
        let mut client = Wire::open(service.addr).await;
        client.get(&format!("/slow?ms={ms}")).await;
        in_flight(&service, 1).await;
        slow.push(client);
        reload_until_another_serves(&service).await;
    }
    let main = serves(&service).await;
    for (left, mut client) in [2, 1].into_iter().zip(slow) {
        assert!(client.read_until("ok\n").await.contains("200 OK"));
        until("its process is gone", async || service.pids().len() == left).await;
        sleep(Duration::from_millis(300)).await;
        service.assert_untouched(main);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_a_reload_is_a_crash_of_the_unit() {
    for access in ["NotifyAccess=all", "NotifyAccess=main"] {
        let Some(service) = install("", &format!("{SIMPLE}\n{access}")) else {
            return;
        };
        service.start();
        reload_and_be_alone(&service).await;
        let loops = Loops::fresh(service.addr);
        loops.answer(50).await;
        service.kill("KILL", service.main_pid());
        service.until("NRestarts", "1").await;
        service.until("ActiveState", "active").await;
        loops.answer(50).await;
        assert_eq!(serves(&service).await, service.main_pid());
        let tally = loops.stop().await;
        assert_eq!(tally.refused, 0, "{tally:?}");
    }
}

/// The drain outlasts the unit's timeout, and asks for the time it needs.
#[tokio::test]
async fn a_stop_takes_longer_than_its_timeout_if_the_grace_does() {
    let Some(service) = install("", "TimeoutStopSec=2s") else {
        return;
    };
    service.start();
    let mut slow = Wire::open(service.addr).await;
    slow.get("/slow?ms=6000").await;
    in_flight(&service, 1).await;
    let stop = service.order("stop");
    let draining = async {
        service.until_status("draining").await;
        let status = service.property("StatusText");
        assert!(
            status.contains("1 requests in flight") && status.contains("s left"),
            "{status}"
        );
    };
    let (stopped, slow, ()) = tokio::join!(stop, slow.rest(), draining);
    assert!(stopped.status.success());
    assert!(slow.in_order().ends_with("ok\n"));
    assert_eq!(service.property("Result"), "success");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_fails_fails_the_reload_and_nothing_else() {
    let Some(service) = install("", "") else {
        return;
    };
    service.start();
    let loops = Loops::fresh(service.addr);
    let main = service.main_pid();
    for missing in [false, true] {
        match missing {
            false => service.deploy_broken(),
            true => service.undeploy(),
        }
        let output = service.order("reload").await;
        assert!(!output.status.success(), "a reload that failed");
        service.assert_untouched(main);
        service.until_status("the last restart failed").await;
        loops.answer(100).await;
    }
    service.deploy(Path::new(BINARY));
    reload(&service).await;
    assert_ne!(service.main_pid(), main);
    service.until_status("serving, generation 1:").await;
    loops.stop().await.assert_all_answered();
}

/// The job is over when the successor's time is, and says that it failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_hangs_fails_the_reload_and_nothing_else() {
    let Some(service) = install("--ready-timeout 1s", "") else {
        return;
    };
    service.start();
    let loops = Loops::fresh(service.addr);
    let main = service.main_pid();
    service.deploy_hanging();
    let output = service.order("reload").await;
    assert!(!output.status.success(), "a reload that failed");
    service.assert_untouched(main);
    service.until_status("the last restart failed").await;
    loops.answer(100).await;
    service.deploy(Path::new(BINARY));
    reload(&service).await;
    assert_ne!(service.main_pid(), main);
    loops.stop().await.assert_all_answered();
}

/// A unit that somebody wrote without having read ours: the default of NotifyAccess=, and a reload that does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_hears_its_main_process_only_is_reloaded_as_well() {
    let change = "NotifyAccess=main\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID";
    let Some(service) = install("", change) else {
        return;
    };
    service.start();
    let loops = Loops::fresh(service.addr);
    for generation in 1..=3 {
        let main = service.main_pid();
        service.deploy_broken();
        reload(&service).await;
        service.until_status("the last restart failed").await;
        service.assert_untouched(main);
        service.deploy(Path::new(BINARY));
        reload(&service).await;
        service
            .until_status(&format!("serving, generation {generation}:"))
            .await;
        service.until("ActiveState", "active").await;
        service.assert_untouched(serves(&service).await);
        loops.answer(50).await;
    }
    loops.stop().await.assert_all_answered();
}

#[tokio::test]
async fn a_stop_during_a_reload_stops_both() {
    let Some(service) = install("--start-delay 2s", "") else {
        return;
    };
    service.start();
    let main = service.main_pid();
    let stop = async {
        successor(&service, main).await;
        service.order("stop").await
    };
    let (_, stopped) = tokio::join!(service.order("reload"), stop);
    assert!(stopped.status.success());
    // `failed` if the client of the reload heard that it failed before it was ended itself.
    assert!(["inactive", "failed"].contains(&&*service.property("ActiveState")));
    assert_eq!(service.property("NRestarts"), "0");
    let refused = tokio::net::TcpStream::connect(service.addr).await;
    assert_eq!(refused.unwrap_err().kind(), ConnectionRefused);
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    for unit in ["reference-server", "reference-server-activated"] {
        let Some(service) = Service::install(unit, "", "") else {
            return;
        };
        let verified = service
            .systemd
            .run(&["systemd-analyze", "verify", &service.unit]);
        let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(
            verified.status.success() && !complaints.contains(unit),
            "{complaints}"
        );
    }
}

/// Law 10, and the unit is the old process's again.
#[tokio::test]
async fn when_the_successor_is_killed_in_the_drain_the_old_process_is_the_main_one_again() {
    let Some(service) = install("", "") else {
        return;
    };
    service.start();
    let first = service.main_pid();
    let mut slow = Wire::open(service.addr).await;
    slow.get("/slow?ms=4000").await;
    in_flight(&service, 1).await;
    reload(&service).await;
    let second = service.main_pid();
    service.kill("KILL", second);
    service.until("MainPID", &first.to_string()).await;
    service.until_status("the successor died").await;
    assert_eq!(serves(&service).await, first);
    assert!(slow.read_until("ok\n").await.contains("200 OK"));
    reload(&service).await;
    service.assert_untouched(serves(&service).await);
}

/// At moments all over a hand-over: the successor takes a while to start, and the old process a while to finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_during_a_reload_takes_nobody_with_it() {
    let Some(service) = install("--start-delay 300ms", "StartLimitBurst=1000") else {
        return;
    };
    service.start();
    for (round, old) in (0..16).zip([true, false].into_iter().cycle()) {
        let main = service.main_pid();
        let mut slow = Wire::open(service.addr).await;
        slow.get("/slow?ms=10000").await;
        in_flight(&service, 1).await;
        let loops = Loops::fresh(service.addr);
        loops.answer(20).await;
        let kill = async {
            let successor = successor(&service, main).await;
            sleep(Duration::from_millis(50 * round)).await;
            let (victim, survivor) = if old {
                (main, successor)
            } else {
                (successor, main)
            };
            service.kill("KILL", victim);
            survivor
        };
        let (_, survivor) = tokio::join!(service.order("reload"), kill);
        service.until("ActiveState", "active").await;
        service.until("MainPID", &survivor.to_string()).await;
        until("the other one is gone", async || {
            service.servers() == [survivor]
        })
        .await;
        assert_eq!(serves(&service).await, survivor, "round {round}");
        service.assert_untouched(survivor);
        let tally = loops.stop().await;
        assert_eq!(tally.refused, 0, "round {round}: {tally:?}");
    }
}

async fn successor(service: &Service, main: u32) -> u32 {
    let mut successor = None;
    until("a successor", async || {
        successor = service.servers().into_iter().find(|pid| *pid != main);
        successor.is_some()
    })
    .await;
    successor.unwrap()
}

#[tokio::test]
async fn the_watchdog_is_content_after_a_reload_and_bites_a_process_that_hangs() {
    let Some(service) = install("", "WatchdogSec=2s") else {
        return;
    };
    service.start();
    reload(&service).await;
    let main = service.main_pid();
    sleep(Duration::from_secs(5)).await;
    service.assert_untouched(main);
    service.kill("STOP", main);
    service.until("NRestarts", "1").await;
    service.until("ActiveState", "active").await;
    assert_eq!(serves(&service).await, service.main_pid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_listeners_survive_a_crash_and_nobody_is_refused() {
    let Some(service) = install("", "RestartSec=1s\nRestart=always") else {
        return;
    };
    service.start();
    reload(&service).await;
    assert_eq!(service.property("NFileDescriptorStore"), "2");
    let loops = Loops::fresh(service.addr);
    for crash in 1..=2 {
        loops.answer(50).await;
        service.kill("KILL", service.main_pid());
        service.until("NRestarts", &crash.to_string()).await;
        service.until("ActiveState", "active").await;
        loops.answer(50).await;
        assert_eq!(service.property("NFileDescriptorStore"), "2");
    }
    reload(&service).await;
    loops.answer(50).await;
    let tally = loops.stop().await;
    assert_eq!(tally.refused, 0, "{tally:?}");

    service.systemd.systemctl(&["stop", &service.unit]);
    let refused = tokio::net::TcpStream::connect(service.addr).await;
    assert_eq!(refused.unwrap_err().kind(), ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_unit_starts_the_server_and_keeps_its_clients_over_reload_crash_and_stop() {
    let unit = "reference-server-activated";
    let Some(service) = Service::install(unit, "", "") else {
        return;
    };
    let socket = format!("{unit}.socket");
    service.systemd.systemctl(&["start", &socket]);
    assert_eq!(service.property("ActiveState"), "inactive");
    let loops = Loops::fresh(service.addr);
    loops.answer(50).await;
    for _ in 0..2 {
        reload(&service).await;
        service.assert_untouched(serves(&service).await);
        loops.answer(50).await;
    }
    service.kill("KILL", service.main_pid());
    service.until("NRestarts", "1").await;
    loops.answer(50).await;
    reload(&service).await;
    // A stop of the service alone: the clients who come next start it again.
    service.systemd.systemctl(&["stop", &service.unit]);
    loops.answer(50).await;
    let tally = loops.stop().await;
    assert_eq!(tally.refused, 0, "{tally:?}");
    service.until("ActiveState", "active").await;
}
