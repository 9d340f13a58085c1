//! The order of events of a server: ready, accept, restart, seal, drain (laws 7, 9 and 10).

use std::{
    future::{pending, poll_fn},
    io,
    pin::Pin,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use graceful_layer::{Beacon, Phase, Report, Tracker};
use graceful_listener::{
    Beside, Candidate, ControlRequest, HandoffError, HandoffListener, Handover, News,
    SuccessorBuilder,
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
    leave::Exit,
    log,
    manager::Manager,
    restart::{Ask, Reply, RestartError},
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
    let exit = http.exit.clone();
    if exit.is_some() {
        graceful_listener::take_connections();
    }
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
        exit,
    );
    server.on_alone = serve.on_alone;
    server.max_draining = serve.max_draining;

    tokio::select! {
        biased;
        // Stopped before it ever served.
        report = &mut drain => return Ok(report),
        ready = graceful_listener::ready() => ready.map_err(io::Error::from)?,
    }
    if !graceful_listener::is_beside() {
        server.alone();
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
            left,
            hurry,
            beside,
            accepting,
            sealing,
            listening,
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
            Some(ask) = restarts.1.recv() => server.attempt(None, ask),
            Some(attempt) = attempts.join_next() => server.attempted(attempt),
            request = control.next() => server.asked(request),
            status = gone(handover) => server.reclaim(status),
            status = parted(beside) => server.parted(status),
            () = overhear(left) => {}
            within = &mut *hurry => server.hurry = Box::pin(cut_after(tracker.clone(), within)),
            news = graceful_listener::news(), if *listening => server.hear(news),
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
    /// The same after it has said that it ends on purpose.
    left: Option<Handover>,
    /// Resolves when this process is to be gone within a time, for too many generations drain.
    hurry: Pin<Box<dyn Future<Output = Duration> + Send>>,
    max_draining: u32,
    /// A successor that serves as well, until it is decided who goes on.
    beside: Option<Beside>,
    on_alone: Option<Box<dyn Fn() + Send>>,
    /// The way of idle connections to the successor, if they move.
    exit: Option<Exit>,
    /// Whether there is a predecessor that may have something to say.
    listening: bool,
    /// Held while this process accepts: the drain must not be over before the last accept.
    accepting: Option<Beacon>,
    /// No more accepts, but for queues that could not be emptied yet for lack of descriptors.
    sealing: bool,
}

/// A restart that was tried, and who wants to know.
struct Attempt {
    outcome: Result<Outcome, HandoffError>,
    reply: Reply,
}

enum Outcome {
    HandedOver(Handover),
    Beside(Beside),
}

impl Server {
    fn new(
        acceptor: Acceptor,
        aside: Aside,
        control: Control,
        tracker: Tracker,
        manager: Manager,
        successor: SuccessorBuilder,
        exit: Option<Exit>,
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
            left: None,
            hurry: Box::pin(pending()),
            max_draining: u32::MAX,
            beside: None,
            on_alone: None,
            exit,
            listening: true,
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
        // Beside a predecessor it is not the main process yet.
        if !graceful_listener::is_beside() {
            self.manager.serving(&self.listeners());
        }
    }

    /// The drain has begun: no more accepts, and no successor that is not there yet.
    fn seal(&mut self) {
        self.attempts.abort_all();
        // A successor that serves beside this one is dismissed with it: the service is to stop.
        self.beside = None;
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
            ControlRequest::TakeOver(candidate) => self.attempt(Some(candidate), Ask::RESTART),
            _ => {}
        }
    }

    /// Has a successor, started or adopted in a task of its own, or lets the one beside go on alone. Meanwhile the next
    /// attempt fails as busy.
    fn attempt(&mut self, candidate: Option<Candidate>, ask: Ask) {
        let Ask { beside, reply } = ask;
        if let Some(handover) = &self.handover {
            // A signal that came to the wrong process.
            if candidate.is_none() && reply.is_none() && !beside {
                return handover.forward();
            }
        }
        if let Some(refused) = self.no_successor() {
            if let Some(candidate) = candidate {
                candidate.refuse(refused.to_string());
            }
            return answer(reply, Err(refused));
        }
        if let Some(successor) = self.beside.take_if(|_| !beside && candidate.is_none()) {
            self.attempts.spawn(async move {
                let outcome = successor.commit().await.map(Outcome::HandedOver);
                Attempt { outcome, reply }
            });
            return;
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
                Ok(successor) if beside => successor.beside().await.map(Outcome::Beside),
                Ok(successor) => successor.commit().await.map(Outcome::HandedOver),
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
            Ok(Outcome::Beside(successor)) => {
                log::beside(successor.pid());
                answer(reply, Ok(successor.pid()));
                self.beside = Some(successor);
                self.manager.serving(&self.listeners());
            }
            Ok(Outcome::HandedOver(handover)) => {
                log::restart(handover.pid());
                answer(reply, Ok(handover.pid()));
                self.move_to(Some(&handover));
                self.hurry = Box::pin(handover.hurried());
                // This one drains as well.
                graceful_listener::hurry(HURRY, self.max_draining.saturating_sub(1));
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

    /// Idle connections go to the successor from now on, if it takes any, or no longer.
    fn move_to(&self, handover: Option<&Handover>) {
        let Some(exit) = &self.exit else {
            return;
        };
        match handover.and_then(Handover::mover) {
            // The way has to be there before anybody is sent on it.
            Some(mover) => {
                exit.set(Some(mover));
                self.tracker.set_moving(true);
            }
            None => {
                self.tracker.set_moving(false);
                exit.set(None);
            }
        }
    }

    /// The predecessor said something, or is gone.
    fn hear(&mut self, news: Option<News>) {
        match news {
            // Where everything is about to be cut it is better off with the predecessor.
            Some(News::Connection(moved)) if self.tracker.phase() <= Phase::Draining => {
                self.acceptor.adopt(*moved);
            }
            Some(News::Restart) => self.attempt(None, Ask::RESTART),
            Some(News::Committed) => {
                self.manager.serving(&self.listeners());
                self.alone();
            }
            // Whoever serves beside this process goes on alone.
            Some(News::Dismissed) => _ = self.tracker.begin(),
            Some(_) => {}
            None => self.listening = false,
        }
    }

    /// The successor beside this process has ended: it was told to, or died.
    fn parted(&mut self, status: Option<ExitStatus>) {
        self.beside = None;
        log::parted(status);
        self.alone();
    }

    /// Nobody serves beside this process, or no longer.
    fn alone(&self) {
        if let Some(hook) = &self.on_alone {
            hook();
        }
    }

    /// The successor died, and the listeners are this process's again. If it still drains it goes back to serving, and
    /// nobody is refused (law 10).
    fn reclaim(&mut self, ended: io::Result<Option<ExitStatus>>) {
        self.move_to(None);
        let handover = self.handover.take();
        let status = match ended {
            // It was stopped, or has handed over in its turn: nobody wants the listeners back.
            Ok(None) => {
                self.left = handover;
                self.aside.close();
                self.control.close();
                return self.acceptor.close();
            }
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.hurry = Box::pin(pending());
        if self.tracker.reclaim() {
            self.accepting = Some(self.tracker.beacon("accepting"));
            self.aside.pause(false);
            self.manager.reclaimed(&status);
            self.alone();
            self.begin();
            log::reclaimed(status);
        }
    }
}

/// What a generation still has when one too many drains.
const HURRY: Duration = Duration::from_secs(5);

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

/// Never ready.
async fn overhear(left: &mut Option<Handover>) {
    match left {
        Some(left) => left.overhear().await,
        None => pending().await,
    }
}

/// Never ready.
async fn cut_after(tracker: Tracker, within: Duration) -> Duration {
    sleep(within).await;
    tracker.cutoff();
    pending().await
}

/// Waits for the end of the successor beside this process; for ever without one.
async fn parted(beside: &mut Option<Beside>) -> Option<ExitStatus> {
    match beside {
        Some(beside) => beside.gone().await,
        None => pending().await,
    }
}

fn listen_for_restarts(
    kinds: &[(SignalKind, bool)],
    restarts: &mpsc::UnboundedSender<Ask>,
) -> io::Result<Vec<Hook>> {
    let listen = |&(kind, beside): &(SignalKind, bool)| {
        let restarts = restarts.clone();
        on_signal(kind, move || {
            let _ = restarts.send(Ask {
                beside,
                reply: None,
            });
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
