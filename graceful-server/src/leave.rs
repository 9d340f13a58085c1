//! How a connection finds its way to the successor: when it is due, and by whom it is carried (law 6).

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use graceful_layer::conn::{ConnIo, Departure};
use graceful_listener::{Mover, Moving, Turn};

use crate::{lock::lock, log, transport::Transport};

/// The way out of this process, while there is one: one for all connections of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exit(Arc<Mutex<Option<Mover>>>);

impl Exit {
    pub(crate) fn set(&self, mover: Option<Mover>) {
        *lock(&self.0) = mover;
    }

    fn mover(&self) -> Option<Mover> {
        lock(&self.0).clone()
    }
}

/// What one connection needs to leave.
pub(crate) struct Leave {
    departure: Departure,
    exit: Exit,
    /// The position of its listener among the server's.
    listener: u32,
    turn: Option<Pin<Box<dyn Future<Output = Option<Turn>> + Send>>>,
}

impl Leave {
    pub(crate) fn new(departure: Departure, exit: Exit, listener: u32) -> Self {
        Self {
            departure,
            exit,
            listener,
            turn: None,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.departure.is_due()
    }

    /// Ready when the connection is to go this instant. It is asked after each poll of the server, so that what
    /// is known of the connection is what the server has made of it.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if !self.departure.is_due() {
            self.turn = None;
            return Poll::Pending;
        }
        let Some(mover) = self.exit.mover() else {
            self.stay();
            return Poll::Pending;
        };
        let turn = self.turn.get_or_insert_with(|| Box::pin(mover.turn()));
        let turn = ready!(turn.as_mut().poll(cx));
        self.turn = None;
        match turn {
            Some(turn) => Poll::Ready(turn),
            None => {
                self.stay();
                Poll::Pending
            }
        }
    }

    /// The HTTP server is about to let go of the stream.
    pub(crate) fn begin(&self) {
        self.departure.begin();
    }

    /// The successor has it.
    pub(crate) fn gone(&self) {
        log::moved(self.departure.id());
    }

    /// It does not go, not to this successor.
    pub(crate) fn stay(&self) {
        self.departure.stay();
    }

    /// Nothing if the stream is more than a socket.
    pub(crate) fn send(&self, turn: Turn, io: &ConnIo<Transport>) -> Option<Moving> {
        let requests = self.departure.requests();
        let stream = io.stream().as_plain()?;
        Some(turn.send(stream, self.listener, requests, io.ahead()))
    }
}
