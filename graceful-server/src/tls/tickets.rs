//! Session tickets that outlive their process: a restart costs clients no full handshake.
//!
//! The keys go to the successor over the hand-off channel; a process that is not one makes its own.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::server::ProducesTickets;

use super::keys::{Keys, PERIOD};
use crate::Serve;

/// Under this name the keys travel.
const STATE: &str = "graceful-server.tls.ticket-keys";
/// Of what [`Keys::to_bytes`] makes.
const SCHEMA: u32 = 1;

/// Makes the TLS of all endpoints ready to serve, and has the successor inherit the keys of their tickets.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn prepare(mut serve: Serve) -> io::Result<Serve> {
    let mut shared = None;
    let endpoints = serve.endpoints.iter_mut().chain(&mut serve.aside);
    for config in endpoints.filter_map(|endpoint| endpoint.tls.as_mut()) {
        config.restrict(serve.http.protocol);
        let Some(scope) = config.shared_scope().map(Into::into) else {
            continue;
        };
        let keys = match &shared {
            Some(keys) => Arc::clone(keys),
            None => Arc::clone(shared.insert(Arc::new(Shared::inherited_or_new()?))),
        };
        config.set_ticketer(Arc::new(Ticketer { keys, scope }));
    }
    if let Some(keys) = shared {
        let keys = move || keys.to_bytes();
        serve.successor = serve.successor.state(STATE, SCHEMA, keys);
    }
    Ok(serve)
}

/// The keys of all endpoints.
struct Shared(RwLock<Keys>);

impl Shared {
    fn inherited_or_new() -> io::Result<Self> {
        let inherited = graceful_listener::inherited_state(STATE)
            .filter(|state| state.schema == SCHEMA)
            .and_then(|state| Keys::from_bytes(&state.bytes));
        let keys = match inherited {
            Some(keys) => keys,
            None => Keys::random(now()).map_err(|_| io::Error::other(NO_RANDOM))?,
        };
        Ok(Self(RwLock::new(keys)))
    }

    /// Looks at the keys that are right for now.
    fn with<T>(&self, look: impl FnOnce(&Keys) -> T) -> T {
        let now = now();
        if self.read(|keys| keys.are_due(now)) {
            let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have been quicker.
            if keys.are_due(now) {
                keys.change(now);
            }
        }
        self.read(look)
    }

    fn read<T>(&self, look: impl FnOnce(&Keys) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.with(Keys::to_bytes)
    }
}

const NO_RANDOM: &str = "the system has no random numbers for the keys of session tickets";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Seals and opens the tickets of one scope.
struct Ticketer {
    keys: Arc<Shared>,
    scope: String,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // A ticket may be sealed in the last second of its key.
        PERIOD as u32
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.keys.with(|keys| keys.seal(&self.scope, session))
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.with(|keys| keys.open(&self.scope, ticket))
    }
}

impl fmt::Debug for Ticketer {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
