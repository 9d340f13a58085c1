//! The answer to `Watch`: each change of what is said, until the drain.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tonic::Status;
use tonic_health::{pb::HealthCheckResponse, server::WatchStream};

use super::latched::effective;
use crate::{FailAt, Phase, Tracker};

type NextPhase = Pin<Box<dyn Future<Output = Phase> + Send>>;

pub(super) struct Watch {
    statuses: WatchStream,
    /// What was set last.
    set: Option<i32>,
    /// What was said last.
    said: Option<i32>,
    tracker: Tracker,
    phase: Phase,
    next_phase: NextPhase,
    fail_at: FailAt,
}

impl Watch {
    pub(super) fn new(statuses: WatchStream, tracker: Tracker, fail_at: FailAt) -> Self {
        let phase = tracker.phase();
        Self {
            statuses,
            set: None,
            said: None,
            next_phase: Box::pin(tracker.left(phase)),
            tracker,
            phase,
            fail_at,
        }
    }

    fn follow_phase(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(phase) = self.next_phase.as_mut().poll(cx) {
            self.phase = phase;
            self.next_phase = Box::pin(self.tracker.left(phase));
            // To be polled for the one after.
            cx.waker().wake_by_ref();
        }
    }

    /// Takes what was set meanwhile; only the last of it counts. Returns what came instead, if the statuses are over.
    fn follow_statuses(&mut self, cx: &mut Context<'_>) -> Result<(), Option<Status>> {
        while let Poll::Ready(next) = Pin::new(&mut self.statuses).poll_next(cx) {
            let response = next.ok_or(None)?.map_err(Some)?;
            self.set = Some(response.status);
        }
        Ok(())
    }
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.follow_phase(cx);
        if let Err(over) = self.follow_statuses(cx) {
            return Poll::Ready(over.map(Err));
        }
        let (phase, fail_at) = (self.phase, self.fail_at);
        let now = self.set.map(|set| effective(set, fail_at, phase));
        if let Some(status) = now.filter(|_| now != self.said) {
            self.said = now;
            return Poll::Ready(Some(Ok(HealthCheckResponse { status })));
        }
        match phase >= Phase::Draining {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("said", &self.said)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
