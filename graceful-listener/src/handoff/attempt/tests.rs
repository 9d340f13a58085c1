//! What an attempt makes of what the successor says, without one.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::*;
use crate::handoff::preflight;
use crate::link::channel::Channel;
use crate::protocol::frame::{Hello, VERSIONS};
use crate::protocol::record::Socket;

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
    assert_eq!(
        attempt.understand(ready()),
        Some(Event::Lost),
        "no listener was sent"
    );
    assert!(attempt.cause().is_protocol());
    attempt.listeners = committing().0.listeners.clone();
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

/// A listener that notes what the successor could read when it was handed over.
#[derive(Debug)]
struct Watched {
    successor: OwnedFd,
    open: AtomicBool,
    handed_over: AtomicUsize,
    /// Whether there was something to read by then.
    late: AtomicBool,
}

impl Watched {
    fn readable(&self) -> bool {
        let mut watched = [PollFd::new(&self.successor, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default())).unwrap() > 0
    }
}

impl Carry for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn socket(&self) -> Arc<OwnedFd> {
        Arc::new(self.successor.try_clone().unwrap())
    }

    fn description(&self) -> Socket {
        Socket::Plain
    }

    fn hand_over(&self) {
        self.late.fetch_or(self.readable(), SeqCst);
        self.handed_over.fetch_add(1, SeqCst);
        self.open.store(false, SeqCst);
    }

    fn reclaim(&self) {
        self.open.store(true, SeqCst);
    }
}

/// What is claimed is the first of two listeners.
fn committing() -> (Attempt, [Arc<Watched>; 2]) {
    let (channel, successor) = Channel::pair().unwrap();
    let watched = [(); 2].map(|()| {
        Arc::new(Watched {
            successor: successor.try_clone().unwrap(),
            open: AtomicBool::new(true),
            handed_over: AtomicUsize::new(0),
            late: AtomicBool::new(false),
        })
    });
    let mut attempt = imagined(Duration::ZERO);
    attempt.listeners = watched.iter().map(|one| one.clone() as _).collect();
    attempt.unclaimed = vec![1];
    attempt.started = Some(Started::stranger(1, None, Arc::new(channel)));
    (attempt, watched)
}

#[test]
fn nobody_accepts_here_from_before_the_successor_can_read_commit() {
    for state in [State::Committing, State::Confirming] {
        let (mut attempt, [claimed, unclaimed]) = committing();
        assert_eq!(attempt.commit(state), Event::Committed);
        assert!(claimed.readable());
        assert_eq!(claimed.handed_over.load(SeqCst), 1);
        assert!(!claimed.open.load(SeqCst) && !claimed.late.load(SeqCst));
        assert!(unclaimed.open.load(SeqCst));
    }
}

#[test]
fn a_commit_that_cannot_be_written_leaves_the_listeners_with_this_process() {
    let (mut attempt, [claimed, unclaimed]) = committing();
    attempt.started = None;
    assert_eq!(attempt.commit(State::Committing), Event::Lost);
    assert_eq!(claimed.handed_over.load(SeqCst), 1);
    assert!(claimed.open.load(SeqCst) && unclaimed.open.load(SeqCst));
}
