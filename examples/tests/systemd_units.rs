//! Two units of one service under a real systemd, `deploy/systemd/reference-server@.service`: one takes over from the other
//! by the control socket. What happens within one unit is in `systemd.rs`.
//!
//! Each test has a systemd of its own. Where the machine does not allow that, each says so in one line and passes.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::process::Output;

use support::loops::Loops;
use support::systemd::Service;
use support::wire::Wire;
use support::{get, json, text, until};

/// Both units, of which the first serves.
async fn blue_and_green(flags: &str, change: &str) -> Option<(Service, Service)> {
    let blue = Service::install("reference-server@blue", flags, change)?;
    let green = blue.other("green", "");
    blue.start();
    Some((blue, green))
}

async fn serving(service: &Service) -> u32 {
    let answer = get(service.addr, "/").await;
    let pid = text(&answer).split([' ', '=']).nth(1).unwrap();
    pid.parse().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A request that takes so long, once it is in flight.
async fn slow(service: &Service, ms: u32) -> Wire {
    let before = in_flight(service).await;
    let mut slow = Wire::open(service.addr).await;
    slow.get(&format!("/slow?ms={ms}")).await;
    until("it is in flight", async || {
        in_flight(service).await == before + 1
    })
    .await;
    slow
}

async fn in_flight(service: &Service) -> u64 {
    json(&get(service.admin, "/status").await)["in_flight"]
        .as_u64()
        .unwrap()
}

/// The unit is over, in order, and nobody has started it again.
async fn assert_ended(service: &Service) {
    service.until("ActiveState", "inactive").await;
    assert_eq!(service.property("Result"), "success");
    assert_eq!(service.property("NRestarts"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_takes_over_from_the_other_and_nothing_is_lost() {
    let Some((blue, green)) = blue_and_green("", "").await else {
        return;
    };
    let (kept, fresh) = (Loops::keep_alive(blue.addr), Loops::fresh(blue.addr));
    let (mut from, mut to) = (&blue, &green);
    for generation in 1..=4 {
        fresh.answer(100).await;
        let mut held = slow(from, 1500).await;
        let started = to.order("start").await;
        assert!(started.status.success(), "{}", said(&started));
        let main = to.main_pid();
        assert_eq!(serving(to).await, main);
        to.assert_untouched(main);
        to.until_status(&format!("serving, generation {generation}:"))
            .await;
        kept.answer(100).await;
        let answer = held.read_until("\r\n\r\nok\n").await;
        drop(held);
        assert!(
            answer.contains(&format!("x-generation: {}", generation - 1)),
            "{answer}"
        );
        assert_ended(from).await;
        assert_eq!(from.property("NFileDescriptorStore"), "0");
        (from, to) = (to, from);
    }
    // Within the unit that serves, a reload is what it always is.
    let reloaded = from.order("reload").await;
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    assert_eq!(serving(from).await, from.main_pid());
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    assert!(from.order("stop").await.status.success());
    assert_ended(from).await;
    let refused = tokio::net::TcpStream::connect(blue.addr).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

/// Broken from the start, broken after it has asked for the place, and never ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_fails_to_take_over_leaves_the_other_one_serving() {
    let Some((blue, green)) = blue_and_green("", "").await else {
        return;
    };
    let main = blue.main_pid();
    let loops = Loops::fresh(blue.addr);
    let once = "Restart=no\nTimeoutStartSec=2s";
    let broken = [
        format!("{once}\nExecStart=\nExecStart=/bin/false"),
        format!("{once}\n{}", green.with_flags("--journal /nowhere/journal")),
        format!("{once}\n{}", green.with_flags("--start-delay 300s")),
    ];
    for change in &broken {
        green.change(change);
        let started = green.order("start").await;
        assert!(!started.status.success(), "{change}");
        assert_eq!(green.property("ActiveState"), "failed");
        blue.assert_untouched(main);
        assert_eq!(serving(&blue).await, main);
        loops.answer(100).await;
    }
    blue.until_status("the last restart failed").await;
    green.change("");
    let started = green.order("start").await;
    assert!(started.status.success(), "{}", said(&started));
    assert_eq!(serving(&green).await, green.main_pid());
    loops.stop().await.assert_all_answered();
    assert_ended(&blue).await;
}

/// For as long as it has something to finish, be that longer than its watchdog waits.
#[tokio::test]
async fn the_watchdog_of_the_unit_that_was_left_does_not_bite_while_it_drains() {
    let Some((blue, green)) = blue_and_green("", "WatchdogSec=2s").await else {
        return;
    };
    let mut held = slow(&blue, 7000).await;
    assert!(green.order("start").await.status.success());
    blue.until_status("draining, generation 0").await;
    held.read_until("\r\n\r\nok\n").await;
    assert_ended(&blue).await;
    green.assert_untouched(serving(&green).await);
}

#[tokio::test]
async fn a_unit_that_had_to_cut_something_does_not_take_the_service_back() {
    let Some((blue, green)) = blue_and_green("--drain 1s", "").await else {
        return;
    };
    let held = slow(&blue, 600_000).await;
    assert!(green.order("start").await.status.success());
    assert!(held.rest().await.in_order().contains(" 503 "));
    blue.until("ActiveState", "failed").await;
    assert_eq!(blue.property("NRestarts"), "0");
    green.assert_untouched(serving(&green).await);
}

/// Law 10 between two units, and afterwards the unit that died is the manager's to start: it asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_unit_that_took_over_is_killed_nobody_is_refused() {
    let Some((blue, green)) = blue_and_green("", "").await else {
        return;
    };
    let first = blue.main_pid();
    let mut held = slow(&blue, 4000).await;
    let loops = Loops::fresh(blue.addr);
    // In the drain of the other one, which has kept the listeners.
    green.change("Restart=no");
    assert!(green.order("start").await.status.success());
    green.kill("KILL", green.main_pid());
    green.until("ActiveState", "failed").await;
    until("the first one serves again", async || {
        serving(&blue).await == first
    })
    .await;
    blue.until_status("the successor died").await;
    blue.assert_untouched(first);
    held.read_until("\r\n\r\nok\n").await;
    drop(held);

    // When the other one is gone, and its unit with it: from the store.
    green.change("");
    assert!(green.order("start").await.status.success());
    assert_ended(&blue).await;
    loops.answer(100).await;
    green.kill("KILL", green.main_pid());
    green.until("NRestarts", "1").await;
    loops.answer(100).await;
    green.until("ActiveState", "active").await;
    assert_eq!(serving(&green).await, green.main_pid());
    let tally = loops.stop().await;
    assert_eq!(tally.refused, 0, "{tally:?}");
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    let Some(service) = Service::install("reference-server@blue", "", "") else {
        return;
    };
    let verify = ["systemd-analyze", "verify", &service.unit];
    let verified = service.systemd.run(&verify);
    let complaints = said(&verified);
    assert!(
        verified.status.success() && !complaints.contains("reference-server"),
        "{complaints}"
    );
}

/// Stopped, it finishes what it has. Killed, it is started again as its unit says, and asks for the place that it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unit_that_was_left_may_be_stopped_and_is_started_again_if_it_is_killed() {
    let Some((blue, green)) = blue_and_green("", "").await else {
        return;
    };
    let loops = Loops::fresh(blue.addr);
    let mut held = slow(&blue, 3000).await;
    assert!(green.order("start").await.status.success());
    let (stopped, _) = tokio::join!(blue.order("stop"), held.read_until("\r\n\r\nok\n"));
    assert!(stopped.status.success());
    drop(held);
    assert_ended(&blue).await;
    green.assert_untouched(serving(&green).await);

    let _held = slow(&green, 600_000).await;
    assert!(blue.order("start").await.status.success());
    green.kill("KILL", green.main_pid());
    assert_ended(&blue).await;
    green.until("ActiveState", "active").await;
    assert_eq!(serving(&green).await, green.main_pid());
    loops.answer(100).await;
    loops.stop().await.assert_all_answered();
}
