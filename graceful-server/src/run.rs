//! The order of events of a server: ready, accept, restart, seal, drain (laws 7, 9 and 10).

use std::{
    future::{pending, poll_fn},
    io,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use graceful_layer::{Beacon, Phase, Report, Tracker};
use graceful_listener::{
    Candidate, ControlRequest, HandoffError, HandoffListener, Handover, SuccessorBuilder,
};
use graceful_signal::{Hook, SignalKind, on_signal};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::sleep,
};

use crate::{
    Serve,
    accept::Acceptor,
    aside::Aside,
    control::Control,
    log,
    manager::Manager,
    restart::{Reply, RestartError},
};

pub(crate) async fn run(serve: Serve) -> io::Result<Report> {
    #[cfg(feature = "tls")]
    let serve = crate::tls::prepare(serve)?;
    let Serve {
        endpoints,
        aside,
        http,
        tracker,
        grace,
        stop,
        mut restarts,
        ..
    } = serve;
    tracker.set_timeouts(serve.timeouts);
    let manager = Manager::new(&tracker, &stop, grace.cutoff, serve.store_listeners);
    let mut drain = std::pin::pin!(tracker.drain_on(stop, grace));
    let _hooks = listen_for_restarts(&serve.restart_kinds, &restarts.0)?;
    let _abort = AbortOnDrop(tracker.clone());
    let aside = Aside::new(aside, &http, serve.timeouts);
    let mut watched = std::pin::pin!(aside.watch());
    let acceptor = Acceptor::new(endpoints, tracker.clone(), http);
    let control = Control::new(serve.control, tracker.clone(), restarts.0.clone());
    let mut server = Server::new(
        acceptor,
        aside,
        control,
        tracker.clone(),
        manager,
        serve.successor,
    );

    tokio::select! {
        biased;
        // Stopped before it ever served.
        report = &mut drain => return Ok(report),
        ready = graceful_listener::ready() => ready.map_err(io::Error::from)?,
    }
    server.on_serving = serve.on_serving;
    server.begin();
    loop {
        let Server {
            acceptor,
            aside,
            control,
            manager,
            attempts,
            handover,
            accepting,
            sealing,
            ..
        } = &mut server;
        tokio::select! {
            biased;
            report = &mut drain => {
                aside.end(watched).await;
                control.closed(&report);
                return Ok(report);
            }
            () = &mut watched => {}
            () = tracker.reached(Phase::Draining), if accepting.is_some() && !*sealing => server.seal(),
            () = sleep(RESEAL), if *sealing => server.seal(),
            Some(reply) = restarts.1.recv() => server.attempt(None, reply),
            Some(attempt) = attempts.join_next() => server.attempted(attempt),
            request = control.next() => server.asked(request),
            status = gone(handover) => server.reclaim(status),
            () = manager.beat() => {}
            () = poll_fn(|cx| acceptor.poll_accept(cx)), if accepting.is_some() && !*sealing => {}
            () = poll_fn(|cx| aside.poll_accept(cx)) => {}
        }
    }
}

/// One server, between its first accept and its last connection.
struct Server {
    acceptor: Acceptor,
    aside: Aside,
    control: Control,
    tracker: Tracker,
    manager: Manager,
    on_serving: Option<Box<dyn FnMut() + Send>>,
    successor: SuccessorBuilder,
    attempts: JoinSet<Attempt>,
    handover: Option<Handover>,
    /// Held while this process accepts: the drain must not be over before the last accept.
    accepting: Option<Beacon>,
    /// No more accepts, but for queues that could not be emptied yet for lack of descriptors.
    sealing: bool,
}

/// A restart that was tried, and who wants to know.
struct Attempt {
    outcome: Result<Handover, HandoffError>,
    reply: Reply,
}

impl Server {
    fn new(
        acceptor: Acceptor,
        aside: Aside,
        control: Control,
        tracker: Tracker,
        manager: Manager,
        successor: SuccessorBuilder,
    ) -> Self {
        let accepting = Some(tracker.beacon("accepting"));
        let (attempts, handover) = (JoinSet::new(), None);
        Self {
            acceptor,
            aside,
            control,
            tracker,
            manager,
            on_serving: None,
            successor,
            attempts,
            handover,
            accepting,
            sealing: false,
        }
    }

    /// All of them, those aside of the drain as well.
    fn listeners(&self) -> Vec<Arc<HandoffListener>> {
        let mut listeners = self.acceptor.listeners();
        listeners.extend(self.aside.listeners());
        listeners
    }

    /// This process is the one to serve, and says so.
    fn begin(&mut self) {
        if let Some(hook) = &mut self.on_serving {
            hook();
        }
        self.manager.serving(&self.listeners());
    }

    /// The drain has begun: no more accepts, and no successor that is not there yet.
    fn seal(&mut self) {
        self.attempts.abort_all();
        graceful_listener::leave();
        if !self.sealing {
            self.manager.sealing(&self.listeners());
        }
        self.sealing = !self.acceptor.seal();
        if !self.sealing {
            self.accepting = None;
        }
    }

    /// Somebody asks for something at the control socket.
    fn asked(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::Command(command) => self.control.obey(command),
            ControlRequest::TakeOver(candidate) => self.attempt(Some(candidate), None),
            _ => {}
        }
    }

    /// Has a successor, started or adopted in a task of its own. Meanwhile the next attempt fails as busy.
    fn attempt(&mut self, candidate: Option<Candidate>, reply: Reply) {
        if let Some(refused) = self.no_successor() {
            if let Some(candidate) = candidate {
                candidate.refuse(refused.to_string());
            }
            return answer(reply, Err(refused));
        }
        self.manager.restarting();
        let (mut listeners, successor) = (self.listeners(), self.successor.clone());
        listeners.extend(self.control.listener());
        self.attempts.spawn(async move {
            let listeners: Vec<_> = listeners.iter().map(AsRef::as_ref).collect();
            let successor = match candidate {
                Some(candidate) => successor.adopt(candidate, &listeners).await,
                None => successor.start(&listeners).await,
            };
            let outcome = match successor {
                Ok(successor) => successor.commit().await,
                Err(error) => Err(error),
            };
            Attempt { outcome, reply }
        });
    }

    /// Why there can be no successor now.
    fn no_successor(&self) -> Option<RestartError> {
        match &self.handover {
            Some(handover) => Some(RestartError::handed_over(handover.pid())),
            None if self.tracker.phase() > Phase::LameDuck => Some(RestartError::stopping()),
            None => None,
        }
    }

    fn attempted(&mut self, attempt: Result<Attempt, JoinError>) {
        // One that was aborted has rolled back, and dropped its reply, which says that the server is stopping.
        let Ok(Attempt { outcome, reply }) = attempt else {
            return;
        };
        match outcome {
            Ok(handover) => {
                log::restart(handover.pid());
                answer(reply, Ok(handover.pid()));
                self.handover = Some(handover);
                self.tracker.hand_over();
                self.aside.pause(true);
                self.manager.restarted(None);
            }
            Err(error) => {
                // While another is under way, this one was only refused.
                if self.attempts.is_empty() && self.handover.is_none() {
                    self.manager.restarted(Some(&error));
                }
                answer(reply, Err(error.into()));
            }
        }
    }

    /// The successor died, and the listeners are this process's again. If it still drains it goes back to serving, and
    /// nobody is refused (law 10).
    fn reclaim(&mut self, ended: io::Result<Option<ExitStatus>>) {
        self.handover = None;
        let status = match ended {
            // It was stopped, or has handed over in its turn: nobody wants the listeners back.
            Ok(None) => {
                self.aside.close();
                self.control.close();
                return self.acceptor.close();
            }
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if self.tracker.reclaim() {
            self.accepting = Some(self.tracker.beacon("accepting"));
            self.aside.pause(false);
            self.manager.reclaimed(&status);
            self.begin();
            log::reclaimed(status);
        }
    }
}

/// How often a queue is looked at again that could not be emptied.
const RESEAL: Duration = Duration::from_millis(50);

fn answer(reply: Reply, outcome: Result<u32, RestartError>) {
    if let Err(error) = &outcome {
        log::not_restarted(error);
    }
    if let Some(reply) = reply {
        reply(outcome);
    }
}

/// Waits for the end of the successor; for ever without one.
async fn gone(handover: &mut Option<Handover>) -> io::Result<Option<ExitStatus>> {
    match handover {
        Some(handover) => handover.gone().await,
        None => pending().await,
    }
}

fn listen_for_restarts(
    kinds: &[SignalKind],
    restarts: &mpsc::UnboundedSender<Reply>,
) -> io::Result<Vec<Hook>> {
    let listen = |kind: &SignalKind| {
        let restarts = restarts.clone();
        on_signal(*kind, move || {
            let _ = restarts.send(None);
        })
    };
    kinds.iter().map(listen).collect()
}

/// Law 7: a server that is dropped leaves nothing behind.
struct AbortOnDrop(Tracker);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
