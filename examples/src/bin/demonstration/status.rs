//! What the generations say of themselves on the admin listener.
//!
//! Each generation is asked on a connection of its own, so that the old one can go on telling how
//! its drain is doing when new connections reach its successor.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use graceful_examples::load::{Call, Expect, Http1};
use serde_json::Value;
use tokio::time::sleep;

/// What one generation said last. Whatever it left out is missing here too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) phase: Option<String>,
    pub(crate) in_flight: Option<u64>,
    /// Connections by state, the many before the few.
    pub(crate) connections: Vec<(String, u64)>,
}

/// A generation that is alive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) status: Status,
}

/// The generations that are alive, with the latest status of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<BTreeMap<u32, Member>>>);

impl Board {
    pub(crate) fn members(&self) -> BTreeMap<u32, Member> {
        self.lock().clone()
    }

    /// A generation serves, though it has not told us more yet.
    pub(crate) fn add(&self, generation: u32, pid: i32) {
        self.lock().insert(
            generation,
            Member {
                pid,
                status: Status::default(),
            },
        );
    }

    /// A generation has ended.
    pub(crate) fn remove(&self, generation: u32) {
        self.lock().remove(&generation);
    }

    /// Asks for ever, five times a second.
    pub(crate) async fn follow(self, admin: SocketAddr) -> Infallible {
        let mut clients: BTreeMap<u32, Http1> = BTreeMap::new();
        loop {
            let asked: Vec<_> = std::mem::take(&mut clients).into_values().collect();
            let unasked = self.lock().len() > asked.len();
            let fresh = unasked.then(|| Http1::new(admin, BOUND));
            for mut client in asked.into_iter().chain(fresh) {
                if let Some((generation, status)) = ask(&mut client).await {
                    self.update(generation, status);
                    clients.insert(generation, client);
                }
            }
            sleep(PERIOD).await;
        }
    }

    /// Only of generations that are known to be alive: an answer may come late.
    fn update(&self, generation: u32, status: Status) {
        if let Some(member) = self.lock().get_mut(&generation) {
            member.status = status;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(client: &mut Http1) -> Option<(u32, Status)> {
    client.idle_until(Instant::now()).await;
    let call = Call::get("/status".to_owned(), Expect::body(""));
    let answer = client.answer(&call).await.ok()?;
    let said = serde_json::from_slice(&answer.body).ok()?;
    let generation = said_generation(&said).or(answer.generation)?;
    Some((generation, Status::of(&said)))
}

fn said_generation(said: &Value) -> Option<u32> {
    u32::try_from(said.get("generation")?.as_u64()?).ok()
}

impl Status {
    fn of(said: &Value) -> Self {
        let number = |name| said.get(name).and_then(Value::as_u64);
        let phase = said.get("phase").and_then(Value::as_str).map(str::to_owned);
        let in_flight = number("in_flight").or_else(|| number("requests_in_flight"));
        let connections = said.get("connections").and_then(Value::as_object);
        let mut connections: Vec<_> = connections
            .into_iter()
            .flatten()
            .filter_map(|(state, count)| Some((state.to_lowercase(), count.as_u64()?)))
            .filter(|&(_, count)| count > 0)
            .collect();
        connections.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        Self {
            phase,
            in_flight,
            connections,
        }
    }
}

const BOUND: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_status_is_understood() {
        let status = Status::of(&json!({
            "phase": "Serving", "in_flight": 3,
            "connections": { "Idle": 5, "Active": 7, "Hijacked": 0 },
        }));
        let connections = vec![("active".to_owned(), 7), ("idle".to_owned(), 5)];
        let phase = Some("Serving".to_owned());
        assert_eq!(
            status,
            Status {
                phase,
                in_flight: Some(3),
                connections
            }
        );
    }

    #[test]
    fn whatever_is_missing_or_odd_is_left_out() {
        for said in [
            json!({}),
            json!([]),
            json!({ "phase": 1, "in_flight": "x", "connections": 4 }),
        ] {
            assert_eq!(Status::of(&said), Status::default());
        }
    }
}
