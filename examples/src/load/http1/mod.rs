//! HTTP/1.1: one connection after the other, each watched while it is idle.
//!
//! The wire decides the class, so there is no HTTP library between it and us: [`connection`] writes
//! and knows whether a byte left, [`reader`] reads and knows whether a byte came.

mod connection;
mod reader;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use self::connection::{Connection, Failure};
use super::outcome::within;
use super::{Answer, Call, Closes, Loss, Outcome, Sample};

/// A client with at most one HTTP/1.1 connection, opened when a request needs it.
///
/// A connection is reused until the server announces its end with `Connection: close`, ends it
/// while it is idle, or loses a request on it.
#[derive(Debug)]
pub struct Http1 {
    server: SocketAddr,
    bound: Duration,
    connection: Option<Connection>,
    closes: Closes,
}

impl Http1 {
    /// A client of `server` that gives up on a request after `bound`.
    pub fn new(server: SocketAddr, bound: Duration) -> Self {
        Self {
            server,
            bound,
            connection: None,
            closes: Closes::default(),
        }
    }

    /// Opens the connection, if there is none.
    ///
    /// # Errors
    ///
    /// [`Refused`](Outcome::Refused), or [`TimedOut`](Outcome::TimedOut) when nobody says yes or
    /// no.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the client without a connection.
    pub async fn connect(&mut self) -> Result<(), Loss> {
        if self.connection.is_none() {
            self.connection = Some(within(self.bound, Connection::open(self.server)).await?);
        }
        Ok(())
    }

    /// Sends a request, once, and reads the answer to its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection; what became of the request is then unknown.
    pub async fn send(&mut self, call: &Call) -> Sample {
        let started = Instant::now();
        let result = self.answer(call).await;
        Sample::new(started, call, result)
    }

    /// Like [`send`](Self::send), for the answer itself, whatever it is.
    ///
    /// # Errors
    ///
    /// The [`Loss`], when there is no complete answer.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn answer(&mut self, call: &Call) -> Result<Answer, Loss> {
        within(self.bound, self.exchange(call)).await
    }

    /// Waits, and notices when the server ends the idle connection meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the watching.
    pub async fn idle_until(&mut self, moment: Instant) {
        let sleep = sleep_until(moment.into());
        tokio::pin!(sleep);
        tokio::select! {
            // The connection is looked at even when the moment has passed.
            biased;
            () = self.closed() => sleep.await,
            () = &mut sleep => {}
        }
    }

    /// Resolves when the server ends the idle connection; waits without bound.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the watching.
    pub async fn closed(&mut self) {
        match &mut self.connection {
            Some(connection) if connection.is_used() => connection.closed().await,
            _ => std::future::pending().await,
        }
        self.connection = None;
        self.closes.unannounced += 1;
    }

    /// Ends the connection from this side.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The connections that the server ended while they were idle.
    pub fn closes(&self) -> Closes {
        self.closes
    }

    /// The connection leaves `self` for the time of the exchange, so that whatever ends the
    /// exchange early, cancellation included, ends the connection too.
    async fn exchange(&mut self, call: &Call) -> Result<Answer, Loss> {
        loop {
            let (mut connection, is_new) = match self.connection.take() {
                Some(connection) => (connection, false),
                None => (Connection::open(self.server).await?, true),
            };
            match connection.exchange(call).await {
                Ok((answer, true)) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Ok((answer, false)) => {
                    self.closes.announced += 1;
                    return Ok(answer);
                }
                Err(Failure::Unsent(_)) if connection.is_used() => self.closes.unannounced += 1,
                // Made and reset in one breath: the same as not made.
                Err(Failure::Unsent(error)) if is_new => return Err(Loss::refused(&error)),
                Err(Failure::Unsent(error)) => {
                    return Err(Loss::new(Outcome::Reset, format!("write: {error}")));
                }
                Err(Failure::Lost(loss)) => return Err(loss),
            }
        }
    }
}
