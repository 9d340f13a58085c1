//! What the server knows of itself, as JSON. All of it comes from the tracker, but for who we are and since when.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use graceful_server::{ConnInfo, ConnState, Health, Phase, RequestInfo, Tracker};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::identity::Identity;

#[derive(Clone, Debug)]
pub(crate) struct Status {
    tracker: Tracker,
    identity: Identity,
    born: Instant,
    since: Arc<Mutex<Instant>>,
    listeners: Arc<OnceLock<Vec<String>>>,
}

impl Status {
    pub(crate) fn new(tracker: Tracker, identity: Identity) -> Self {
        let born = Instant::now();
        Self {
            tracker,
            identity,
            born,
            since: Arc::new(Mutex::new(born)),
            listeners: Arc::default(),
        }
    }

    /// The listeners in the order in which the server has them. They are known later than the first signal may come.
    pub(crate) fn name_listeners(&self, names: Vec<String>) {
        let _ = self.listeners.set(names);
    }

    /// `/ready` and `/live`, for both listeners.
    ///
    /// A lame duck is alive and serves whoever comes; it only asks not to be given any more. So only `ready` turns red.
    pub(crate) fn health<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route_service("/ready", Health::ready(self.tracker.clone()))
            .route_service("/live", Health::live(self.tracker.clone()))
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// A phase begins now.
    pub(crate) fn entered(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long the phase has lasted.
    pub(crate) fn in_phase(&self) -> Duration {
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.born.elapsed()
    }

    /// Until what is left is cut; nothing while serving.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let deadline = self.tracker.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn status(&self) -> Value {
        let tracker = &self.tracker;
        let counts = tracker.counts();
        let by_state =
            ConnState::LIVE.map(|state| (state.as_str().into(), counts.of(state).into()));
        let (opened, requests) = tracker.totals();
        json!({
            "phase": tracker.phase().as_str(),
            "since_ms": millis(self.in_phase()),
            "deadline_ms": self.time_left().map(millis),
            "handed_over": tracker.is_handed_over(),
            "generation": self.identity.generation,
            "pid": self.identity.pid,
            "uptime_ms": millis(self.uptime()),
            "in_flight": tracker.in_flight(),
            "connections": Map::from_iter(by_state),
            "total": { "connections": opened, "requests": requests },
        })
    }

    pub(crate) fn connections(&self) -> Value {
        let requests = self.tracker.requests();
        let on = |info: &ConnInfo| {
            let its = requests
                .iter()
                .filter(|request| request.connection == info.id);
            let listener = self
                .listeners
                .get()
                .and_then(|all| all.get(usize::from(info.listener)));
            connection(
                info,
                listener.map(String::as_str),
                its.map(request).collect(),
            )
        };
        self.tracker.snapshot().iter().map(on).collect()
    }

    /// One line for each connection, for a log.
    pub(crate) fn map(&self) -> String {
        let Identity { pid, generation } = self.identity;
        let connections = self.tracker.snapshot();
        let phase = self.tracker.phase();
        let n = connections.len();
        let mut map = format!("{n} connections of pid={pid} generation={generation}, {phase}\n");
        for ConnInfo {
            id,
            peer,
            state,
            age,
            requests,
            in_flight,
            ..
        } in connections
        {
            let line = format!(
                "{id:>8} {peer:<24} {state:<12} age {age:?}, requests {requests}, in flight {in_flight}"
            );
            map.push_str(&line);
            map.push('\n');
        }
        map
    }

    pub(crate) fn phase(&self) -> Phase {
        self.tracker.phase()
    }
}

/// `waiting` are the requests in flight that wait: one that is answered in one go is not seen.
fn connection(info: &ConnInfo, listener: Option<&str>, waiting: Vec<Value>) -> Value {
    // Before its first bytes nobody knows.
    let spoken = match info.state {
        ConnState::Handshaking | ConnState::New => None,
        _ if info.http2 => Some("http/2"),
        _ => Some("http/1"),
    };
    json!({
        "id": info.id,
        "peer": info.peer.to_string(),
        "listener": listener,
        "protocol": spoken,
        "state": info.state.as_str(),
        "age_ms": millis(info.age),
        "requests": info.requests,
        "requests_in_flight": info.in_flight,
        "in_flight": waiting,
    })
}

fn request(info: &RequestInfo) -> Value {
    json!({
        "method": info.method.as_str(),
        "path": info.path,
        "age_ms": millis(info.age),
        "answering": info.answering,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
