//! Signals that nobody can or should listen for: errors that name them, never a panic.
#![cfg(unix)]

use std::io::{self, ErrorKind};

use graceful_signal::{NotifyContext, ShutdownSignal, SignalKind, on_signal};
use signal_hook::consts::signal as sig;

fn everywhere(kind: SignalKind) -> [io::Result<()>; 3] {
    [
        ShutdownSignal::notify([kind]).map(drop),
        NotifyContext::new([SignalKind::window_change(), kind]).map(drop),
        on_signal(kind, || ()).map(drop),
    ]
}

#[tokio::test]
async fn signals_that_cannot_be_caught_are_named() {
    let refused = [
        sig::SIGKILL,
        sig::SIGSTOP,
        sig::SIGSEGV,
        sig::SIGBUS,
        sig::SIGILL,
        sig::SIGFPE,
    ];
    for raw in refused.into_iter().chain([sig::SIGPIPE]) {
        let kind = SignalKind::from_raw(raw);
        for error in everywhere(kind).map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("cannot listen for {kind}: "))
            );
        }
    }
}

#[tokio::test]
async fn numbers_that_are_no_signal_are_named() {
    for raw in [0, -1, 4711, i32::MAX, i32::MIN] {
        for error in everywhere(SignalKind::from_raw(raw)).map(Result::unwrap_err) {
            assert_eq!(error.to_string(), format!("cannot listen for signal {raw}"));
        }
    }
}

#[tokio::test]
async fn no_signal_at_all_is_an_error() {
    let error = ShutdownSignal::notify([]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn kinds_have_their_names_and_numbers() {
    assert_eq!(SignalKind::terminate().to_string(), "SIGTERM");
    assert_eq!(format!("{:?}", SignalKind::hangup()), "SignalKind(SIGHUP)");
    assert_eq!(
        SignalKind::from_raw(sig::SIGTSTP),
        SignalKind::terminal_stop()
    );
    let tokio_kind = tokio::signal::unix::SignalKind::user_defined1();
    assert_eq!(SignalKind::from(tokio_kind), SignalKind::user_defined1());
    assert_eq!(
        tokio::signal::unix::SignalKind::from(SignalKind::user_defined1()),
        tokio_kind
    );
}
