//! Session tickets, sealed with keys that change.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::server::ProducesTickets;

use super::keys::{Keys, PERIOD};
use crate::Serve;

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
            None => Arc::clone(shared.insert(Arc::new(Shared::new()?))),
        };
        config.set_ticketer(Arc::new(Ticketer { keys, scope }));
    }
    Ok(serve)
}

/// The keys of all endpoints.
struct Shared(RwLock<Keys>);

impl Shared {
    fn new() -> io::Result<Self> {
        let keys = Keys::random(now()).map_err(|_| io::Error::other(NO_RANDOM))?;
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
