//! How a connection finds its way to the successor: when it is due, and by whom it is carried (law 6).

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use graceful_layer::conn::{ConnIo, Detach};
use graceful_listener::{Mover, Moving, Turn};

use crate::{lock::lock, transport::Transport};

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
    exit: Exit,
    /// The position of its listener among the server's.
    listener: u32,
    turn: Option<Pin<Box<dyn Future<Output = Option<Turn>> + Send>>>,
}

impl Leave {
    pub(crate) fn new(exit: Exit, listener: u32) -> Self {
        Self {
            exit,
            listener,
            turn: None,
        }
    }

    /// Ready when the connection is to go this instant. It is asked after each poll of the server, so that what
    /// is known of the connection is what the server has made of it.
    pub(crate) fn poll_turn(&mut self, detach: &Detach, cx: &mut Context<'_>) -> Poll<Turn> {
        if !detach.is_to_move() {
            self.turn = None;
            return Poll::Pending;
        }
        let Some(mover) = self.exit.mover() else {
            detach.stay();
            return Poll::Pending;
        };
        let turn = self.turn.get_or_insert_with(|| Box::pin(mover.turn()));
        let turn = ready!(turn.as_mut().poll(cx));
        self.turn = None;
        match turn {
            Some(turn) => Poll::Ready(turn),
            None => {
                detach.stay();
                Poll::Pending
            }
        }
    }

    /// Nothing if the stream is more than a socket.
    pub(crate) fn send(
        &self,
        turn: Turn,
        detach: &Detach,
        io: &ConnIo<Transport>,
    ) -> Option<Moving> {
        let stream = io.stream().as_plain()?;
        detach.leave();
        Some(turn.send(stream, self.listener, detach.requests(), io.ahead()))
    }
}
