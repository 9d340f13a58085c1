//! Requests one by one, with their times: which of them a kill explains.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use graceful_examples::load::{Call, Http1, Outcome};
use tokio::task::JoinSet;

use super::{BOUND, until};

const LOOPS: usize = 16;

/// What became of one request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    /// Before its connection was made.
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

/// Loops of requests on fresh connections, of which every second one is in flight for a while.
pub(crate) struct Record {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Record {
    pub(crate) fn of_fresh_connections(server: SocketAddr) -> Self {
        let mut record = Self {
            tasks: JoinSet::new(),
            stop: Arc::default(),
            answered: Arc::default(),
            entries: Arc::default(),
        };
        for n in 0..LOOPS {
            let call = match n % 2 {
                0 => Call::identity(),
                _ => Call::slow(Duration::from_millis(20)),
            };
            let (stop, answered) = (Arc::clone(&record.stop), Arc::clone(&record.answered));
            let entries = Arc::clone(&record.entries);
            record.tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let entry = one(server, &call).await;
                    let is_loss = entry.outcome.is_loss();
                    answered.fetch_add(usize::from(!is_loss), Ordering::Relaxed);
                    entries.lock().unwrap().push(entry);
                }
            });
        }
        record
    }

    /// Waits for `n` more answers.
    pub(crate) async fn answer(&self, n: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + n;
        until(&format!("{n} more answers"), async || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Ends the loops after the request each is at.
    pub(crate) async fn stop(mut self) -> Vec<Entry> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut self.entries.lock().unwrap())
    }
}

async fn one(server: SocketAddr, call: &Call) -> Entry {
    let sample = Http1::new(server, BOUND).send(call).await;
    Entry {
        outcome: sample.outcome,
        detail: sample.detail,
        started: sample.started,
        ended: Instant::now(),
    }
}
