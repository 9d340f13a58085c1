//! Windows: the console events, through `tokio::signal::windows`. tokio's handler lets the default
//! action happen while nobody listens to an event, so giving it back is dropping the listener.
//!
//! After Close and Shutdown the system ends the process within seconds whatever it does, so only
//! the first delivery of these can be seen.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use tokio::signal::windows;
use tokio::sync::oneshot;

use crate::SignalKind;
use crate::error::failed;
use crate::runtime::with_driver;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Raw {
    CtrlC,
    CtrlBreak,
    Close,
    Shutdown,
}

pub(crate) const TERMINATE: [SignalKind; 4] = [
    SignalKind::interrupt(),
    SignalKind::ctrl_break(),
    SignalKind::close(),
    SignalKind::shutdown(),
];

pub(crate) fn write_name(raw: Raw, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match raw {
        Raw::CtrlC => "Ctrl-C",
        Raw::CtrlBreak => "Ctrl-Break",
        Raw::Close => "Close",
        Raw::Shutdown => "Shutdown",
    })
}

pub(crate) fn listen(kind: SignalKind) -> io::Result<(Registration, Deliveries)> {
    let event = with_driver("I/O", || Event::new(kind.0))?
        .map_err(|source| failed(format!("cannot listen for {kind}"), source))?;
    let (open, closed) = oneshot::channel();
    Ok((Registration { _open: open }, Deliveries { event, closed }))
}

/// One party's interest in one event; dropping it ends the [`Deliveries`], and with it the listener.
#[derive(Debug)]
pub(crate) struct Registration {
    _open: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Deliveries {
    event: Event,
    closed: oneshot::Receiver<()>,
}

impl Deliveries {
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        match self.event.poll_recv(cx) {
            Poll::Pending => Pin::new(&mut self.closed).poll(cx).map(|_| None),
            delivered => delivered,
        }
    }
}

#[derive(Debug)]
enum Event {
    CtrlC(windows::CtrlC),
    CtrlBreak(windows::CtrlBreak),
    Close(windows::CtrlClose),
    Shutdown(windows::CtrlShutdown),
}

impl Event {
    fn new(raw: Raw) -> io::Result<Self> {
        Ok(match raw {
            Raw::CtrlC => Self::CtrlC(windows::ctrl_c()?),
            Raw::CtrlBreak => Self::CtrlBreak(windows::ctrl_break()?),
            Raw::Close => Self::Close(windows::ctrl_close()?),
            Raw::Shutdown => Self::Shutdown(windows::ctrl_shutdown()?),
        })
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        match self {
            Self::CtrlC(event) => event.poll_recv(cx),
            Self::CtrlBreak(event) => event.poll_recv(cx),
            Self::Close(event) => event.poll_recv(cx),
            Self::Shutdown(event) => event.poll_recv(cx),
        }
    }
}

/// The kinds that Windows has.
impl SignalKind {
    /// Ctrl-C.
    pub const fn interrupt() -> Self {
        Self(Raw::CtrlC)
    }

    /// Ctrl-Break.
    pub const fn ctrl_break() -> Self {
        Self(Raw::CtrlBreak)
    }

    /// The console window is closed.
    pub const fn close() -> Self {
        Self(Raw::Close)
    }

    /// The system shuts down (delivered to services only).
    pub const fn shutdown() -> Self {
        Self(Raw::Shutdown)
    }
}
