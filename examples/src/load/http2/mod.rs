//! HTTP/2: one connection at a time, shared by all clones, with many streams on it.
//!
//! [`link`] is one connection; [`wire`] watches the frames go by in order, which is what tells a
//! stream that the server refused from one that should never have been sent.

mod link;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use self::link::{Failure, Link};
use super::outcome::within;
use super::{Answer, Call, Closes, Loss, Outcome, Sample};

/// A client with at most one usable HTTP/2 connection (prior knowledge, no TLS). Clones share it.
///
/// A connection is used until the server announces its end with GOAWAY, or ends it. Streams that
/// are still open on the old one go on while new streams use the next.
#[derive(Clone, Debug)]
pub struct Http2 {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    bound: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Link>>,
    closes: Closes,
}

impl Http2 {
    /// A client of `server` that gives up on a request after `bound`.
    pub fn new(server: SocketAddr, bound: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                server,
                bound,
                state: Mutex::default(),
            }),
        }
    }

    /// Sends a request on a stream of its own, once, and reads the answer to its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream; what became of the request is then unknown.
    pub async fn send(&self, call: &Call) -> Sample {
        let started = Instant::now();
        let result = within(self.shared.bound, self.exchange(call)).await;
        Sample::new(started, call, result)
    }

    /// The connections that the server ended with no stream open.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future changes nothing.
    pub async fn closes(&self) -> Closes {
        self.shared.state.lock().await.closes
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Loss> {
        // A server that ends every connection before its first stream refuses service, however
        // politely.
        for _ in 0..MOST_CONNECTIONS {
            let link = self.link().await?;
            match link.exchange(call).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Unsent) => self.shared.state.lock().await.leave(&link),
                Err(Failure::Lost(loss)) => return Err(loss),
            }
        }
        let detail = format!("{MOST_CONNECTIONS} connections ended before a stream was sent");
        Err(Loss::new(Outcome::Refused, detail))
    }

    async fn link(&self) -> Result<Arc<Link>, Loss> {
        let mut state = self.shared.state.lock().await;
        match state.current.clone() {
            Some(link) if !link.is_over() => return Ok(link),
            Some(link) => state.leave(&link),
            None => {}
        }
        let link = Arc::new(Link::open(self.shared.server).await?);
        state.current = Some(Arc::clone(&link));
        Ok(link)
    }
}

impl State {
    /// Several streams may notice the same end; the first of them counts it.
    fn leave(&mut self, link: &Arc<Link>) {
        let Some(link) = self.current.take_if(|current| Arc::ptr_eq(current, link)) else {
            return;
        };
        if link.was_told() {
            self.closes.announced += 1;
        } else if link.is_idle() {
            self.closes.unannounced += 1;
        }
    }
}

const MOST_CONNECTIONS: u32 = 8;
