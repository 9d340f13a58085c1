//! Which signals a supervisor hears. All are caught before the first worker is started.

use std::{fs::File, io};

use graceful_signal::{Hook, SignalKind, on_signal};
use rustix::{process::getpgrp, termios::tcgetpgrp};
use tokio::sync::mpsc;

const HEARD: [SignalKind; 6] = [
    SignalKind::hangup(),
    SignalKind::terminate(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// What a supervisor is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Replace the worker.
    Restart,
    /// Stop it with this signal.
    Stop(SignalKind),
    /// Pass this on.
    Pass(SignalKind),
    /// Become the program anew.
    Upgrade,
}

pub(super) struct Orders {
    deliveries: mpsc::UnboundedReceiver<SignalKind>,
    _hooks: Vec<Hook>,
}

impl Orders {
    pub(super) fn listen() -> io::Result<Self> {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let hook = |kind: SignalKind| {
            let sender = sender.clone();
            on_signal(kind, move || _ = sender.send(kind))
        };
        Ok(Self {
            _hooks: HEARD.into_iter().map(hook).collect::<Result<_, _>>()?,
            deliveries,
        })
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Order {
        // The hooks live as long as the receiver.
        let Some(kind) = self.deliveries.recv().await else {
            return std::future::pending().await;
        };
        if kind == SignalKind::hangup() {
            Order::Restart
        } else if kind == SignalKind::user_defined2() {
            Order::Upgrade
        } else if kind == SignalKind::user_defined1() {
            Order::Pass(kind)
        } else {
            Order::Stop(kind)
        }
    }
}

/// Whether the worker has had this signal already: the terminal sends Ctrl-C and Ctrl-\ to every process in its
/// foreground, and each delivery counts.
pub(super) fn came_from_the_terminal(kind: SignalKind) -> bool {
    let is_key = kind == SignalKind::interrupt() || kind == SignalKind::quit();
    let foreground = || tcgetpgrp(File::open("/dev/tty").ok()?).ok();
    is_key && foreground() == Some(getpgrp())
}
