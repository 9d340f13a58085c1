//! What is asked for at the control socket, and the answers (law 5: a lame duck ends on command).

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::restart::{Ask, RestartError, RestartTrigger, chain};
use graceful_layer::{Report, Tracker};
use graceful_listener::{ControlCommand, ControlRequest, ControlSocket, HandoffListener};

#[derive(Debug)]
pub(crate) struct Control {
    socket: Option<ControlSocket>,
    tracker: Tracker,
    trigger: RestartTrigger,
    /// Who waits for the end of the stop.
    waiting: Vec<ControlCommand>,
    /// Another process answers at the socket.
    paused: bool,
}

impl Control {
    pub(crate) fn new(
        socket: Option<ControlSocket>,
        tracker: Tracker,
        trigger: RestartTrigger,
    ) -> Self {
        let waiting = Vec::new();
        Self {
            socket,
            tracker,
            trigger,
            waiting,
            paused: false,
        }
    }

    /// To be handed over with the others.
    pub(crate) fn listener(&self) -> Option<Arc<HandoffListener>> {
        let socket = self.socket.as_ref()?;
        Some(Arc::new(socket.listener().clone()))
    }

    /// Waits until somebody asks for something; for ever without a socket.
    pub(crate) async fn next(&mut self) -> ControlRequest {
        match &mut self.socket {
            Some(socket) if !self.paused => socket.next().await,
            _ => pending().await,
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The canary that serves as well.
    pub(crate) fn set_beside(&self, pid: Option<u32>) {
        self.trigger.canary.store(pid.unwrap_or(0), Relaxed);
    }

    /// A successor has it, and has left on purpose.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    pub(crate) fn obey(&mut self, command: ControlCommand) {
        match command.text() {
            "status" => command.done(self.status()),
            // It came right before the socket moved, and means whoever has it now.
            "drain" | "drain wait" | "resume" | "cutoff" if self.tracker.is_handed_over() => {
                command.failed("a successor has just taken over; ask again");
            }
            "drain" => self.verdict(command, self.tracker.begin(), "draining"),
            "drain wait" => {
                // If not by this command, the stop has begun by another.
                self.tracker.begin();
                self.waiting.push(command);
            }
            "resume" => self.resume(command),
            "cutoff" => self.verdict(command, self.tracker.cutoff(), "cutting what is left"),
            "restart" => self.restart(command),
            unknown => {
                let why = format!(
                    "{unknown:?} is unknown here; known are status, drain, drain wait, resume, restart, cutoff"
                );
                command.failed(why);
            }
        }
    }

    /// The stop is over.
    pub(crate) fn closed(&mut self, report: &Report) {
        for command in self.waiting.drain(..) {
            command.done(report.to_string());
        }
    }

    fn status(&self) -> String {
        let (phase, in_flight) = (self.tracker.phase(), self.tracker.in_flight());
        let connections = self.tracker.counts().total();
        let (pid, generation) = (std::process::id(), graceful_listener::generation());
        let beside = self
            .trigger
            .canary()
            .map(|pid| format!(r#","beside":{pid}"#));
        let beside = beside.unwrap_or_default();
        format!(
            r#"{{"phase":"{phase}","generation":{generation},"pid":{pid}{beside},"connections":{connections},"in_flight":{in_flight}}}"#
        )
    }

    fn verdict(&self, command: ControlCommand, done: bool, what: &str) {
        match done {
            true => command.done(what),
            false => command.failed(format!("the phase is {} already", self.tracker.phase())),
        }
    }

    fn resume(&mut self, command: ControlCommand) {
        if !self.tracker.resume() {
            let phase = self.tracker.phase();
            return command.failed(format!(
                "only a lame duck resumes, and the phase is {phase}"
            ));
        }
        for waiting in self.waiting.drain(..) {
            waiting.failed("the stop was taken back");
        }
        command.done("serving again");
    }

    /// The answer is on its way before this process can end for it.
    fn restart(&self, command: ControlCommand) {
        let reply = move |outcome: Result<u32, RestartError>| match outcome {
            Ok(pid) => command.done(format!("process {pid} serves")),
            Err(error) => command.failed(chain(&error)),
        };
        let _ = self.trigger.asks.send(Ask {
            beside: false,
            reply: Some(Box::new(reply)),
        });
    }
}
