//! What has the tracker look at its clock and its connections in normal service, ten times a second.
//!
//! A timer of the runtime that is pending makes every sleep of the runtime dearer, by a good part of what a request
//! costs (`docs/costs.md`). A descriptor that becomes readable does not.

use std::time::Duration;

use tokio::time::sleep;

const PERIOD: Duration = Duration::from_millis(100);

pub(super) struct Pulse {
    #[cfg(target_os = "linux")]
    reactor: Option<descriptor::Timer>,
}

impl Pulse {
    /// Where the runtime, the system or the clock of a test does not allow a descriptor, a timer does it.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            reactor: descriptor::Timer::every(PERIOD).ok(),
        }
    }

    /// # Cancel safety
    /// Cancel safe; a timer of the runtime begins anew.
    pub(super) async fn next(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &mut self.reactor {
            match timer.tick().await {
                Ok(()) => return,
                Err(_) => self.reactor = None,
            }
        }
        sleep(PERIOD).await;
    }
}

#[cfg(target_os = "linux")]
mod descriptor {
    use std::{
        io,
        os::fd::OwnedFd,
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::{
        io::{Interest, unix::AsyncFd},
        time::Instant,
    };

    /// A timer of the kernel, in the runtime's reactor (timerfd_create(2)).
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn every(period: Duration) -> io::Result<Self> {
            if is_paused() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let period = Timespec {
                tv_sec: 0,
                tv_nsec: period.subsec_nanos().into(),
            };
            let times = Itimerspec {
                it_interval: period,
                it_value: period,
            };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
            register(timer).map(Self)
        }

        /// Waits for the next expiry; several that were missed are one.
        pub(super) async fn tick(&mut self) -> io::Result<()> {
            loop {
                let mut ready = self.0.readable().await?;
                let read =
                    ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
                if let Ok(read) = read {
                    return read.map(drop);
                }
            }
        }
    }

    /// tokio cannot be asked whether the runtime has I/O, and panics if not: that one panic is caught here.
    ///
    /// Sound, for the descriptor is owned; its safe name is deprecated because it is not for every type.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, and not in the oldest tokio that is supported"
    )]
    fn register(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
        let register = AssertUnwindSafe(|| AsyncFd::with_interest(timer, Interest::READABLE));
        catch_unwind(register).unwrap_or_else(|_| Err(io::ErrorKind::Unsupported.into()))
    }

    /// Whether the runtime's clock stands still, for a test that moves it. It is the real clock otherwise, and that moves
    /// between two looks.
    fn is_paused() -> bool {
        let before = Instant::now();
        let real = std::time::Instant::now();
        while std::time::Instant::now() == real {}
        Instant::now() == before
    }
}
