//! What an attempt makes of what the successor says, without one.

use std::time::Duration;

use rustix::process::Pid;

use super::*;
use crate::handoff::frame::{Hello, VERSIONS};
use crate::handoff::preflight;

/// An attempt that has nothing to do with the machine of this process.
fn imagined(ready_timeout: Duration) -> Attempt {
    let plan = Plan {
        ready_timeout,
        ..Plan::default()
    };
    let mut attempt = Attempt::new(plan, Vec::new(), Vec::new(), None);
    attempt.over = true;
    attempt
}

fn greet(attempt: &mut Attempt) {
    let hello = Hello {
        versions: VERSIONS,
        pid: 1,
        generation: 1,
    };
    assert_eq!(attempt.understand(Frame::Hello(hello)), None);
}

#[test]
fn a_successor_greets_and_then_is_ready_in_this_order_and_says_nothing_else() {
    let ready = || Frame::Ready { unclaimed: vec![1] };
    let mut attempt = imagined(Duration::ZERO);
    assert_eq!(attempt.understand(ready()), Some(Event::Lost));
    assert!(attempt.cause().is_protocol());
    greet(&mut attempt);
    assert_eq!(attempt.understand(Frame::Unknown { kind: 200 }), None);
    assert_eq!(attempt.understand(Frame::Commit), Some(Event::Lost));
    assert!(attempt.cause().is_protocol());
    assert_eq!(attempt.understand(ready()), Some(Event::Ready));
    assert_eq!(attempt.unclaimed, [1]);
    let reason = "no listener".to_owned();
    assert_eq!(
        attempt.understand(Frame::Abort { reason }),
        Some(Event::Lost)
    );
    let cause = attempt.cause();
    assert!(
        cause.is_aborted() && cause.to_string().contains("no listener"),
        "{cause}"
    );
}

#[test]
fn a_successor_of_no_common_version_is_lost() {
    let hello = Hello {
        versions: (u16::MAX, u16::MAX),
        pid: 1,
        generation: 1,
    };
    let mut attempt = imagined(Duration::ZERO);
    assert_eq!(attempt.understand(Frame::Hello(hello)), Some(Event::Lost));
}

#[test]
fn a_successor_may_ask_for_more_time_once_it_has_greeted() {
    let extend = || Frame::Extend { ms: 100_000 };
    let mut attempt = imagined(Duration::ZERO);
    assert_eq!(attempt.understand(extend()), Some(Event::Lost));
    greet(&mut attempt);
    assert_eq!(attempt.understand(extend()), Some(Event::Extend));
}

/// The only test that touches the machine of this process.
#[tokio::test]
async fn pid_1_is_refused_with_the_alternatives_and_leaves_nothing_behind() {
    let mut attempt = Attempt::begin(Plan::default(), Vec::new(), Vec::new(), None).unwrap();
    assert!(
        Attempt::begin(Plan::default(), Vec::new(), Vec::new(), None)
            .unwrap_err()
            .is_busy()
    );
    let refused = preflight::startable(&attempt.plan, Pid::INIT).await;
    let error = refused.unwrap_err();
    let event = attempt.fail(Event::Failed, error.clone());
    attempt.tell(event);
    assert!(error.is_would_kill_container());
    assert!(error.to_string().contains("--init"), "{error}");
    Attempt::begin(Plan::default(), Vec::new(), Vec::new(), None).unwrap();
}
