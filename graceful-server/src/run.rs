//! The order of events of a server: ready, accept, restart, seal, drain (laws 7, 9 and 10).

use std::{future::pending, io, pin::Pin, sync::Arc, time::Duration};

use graceful_layer::{Beacon, Phase, Report, Tracker};
use graceful_listener::{Beside, ControlRequest, HandoffListener, Handover, SuccessorBuilder};
use graceful_signal::{Hook, SignalKind, on_signal};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::{
    Serve,
    accept::Acceptor,
    aside::Aside,
    control::Control,
    leave::Exit,
    manager::Manager,
    restart::{Ask, RestartTrigger},
};

mod succession;

use self::succession::{Attempt, cut_after, gone, overhear, parted, reparented};

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
    graceful_listener::expect_replacement();
    let aside = Aside::new(aside, &http, serve.timeouts);
    let mut watched = std::pin::pin!(aside.watch());
    let mut reparented = std::pin::pin!(reparented());
    let acceptor = Acceptor::new(endpoints, tracker.clone(), http);
    let trigger = RestartTrigger {
        asks: restarts.0.clone(),
        canary: serve.canary,
    };
    let control = Control::new(serve.control, tracker.clone(), trigger);
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
    if graceful_listener::is_beside() {
        server.stand_back(true);
    } else {
        server.alone();
    }
    server.on_serving = serve.on_serving;
    server.begin();
    loop {
        let Server {
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
            reseal,
            listening,
            stopping,
            forwarded,
            ..
        } = &mut server;
        tokio::select! {
            biased;
            report = &mut drain => {
                aside.end(watched).await;
                // A signal may have come behind the last look.
                while let Ok(ask) = restarts.1.try_recv() {
                    server.attempt(None, ask);
                }
                server.control.closed(&report);
                return Ok(report);
            }
            () = &mut watched => {}
            () = &mut reparented => {}
            () = tracker.reached(Phase::LameDuck), if !*stopping => server.stop(),
            () = tracker.reached(Phase::Draining), if accepting.is_some() && !*sealing => server.seal(),
            () = sleep(*reseal), if *sealing => server.seal(),
            Some(ask) = restarts.1.recv() => server.attempt(None, ask),
            Some(attempt) = attempts.join_next() => {
                server.attempted(attempt);
                if server.sealing {
                    server.seal();
                }
            }
            request = control.next() => server.asked(request),
            // Once the phase is what the reclaim has made it.
            _ = tracker.left(Phase::Draining), if forwarded.is_some() && handover.is_none() => server.retry(),
            status = gone(handover) => server.reclaim(status),
            status = parted(beside) => server.parted(status),
            () = overhear(left) => {}
            within = &mut *hurry => server.hurry = Box::pin(cut_after(tracker.clone(), within)),
            news = graceful_listener::news(), if *listening => server.hear(news),
            () = manager.beat() => {}
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
    /// A signal asked for a restart while one was under way: it is done after that, whoever serves then.
    again: bool,
    /// One was passed on to the successor, which could be told or not: it is this process's again if that dies.
    forwarded: Option<bool>,
    /// A stop has begun since the last attempt.
    stopping: bool,
    /// Restarts that the supervisor of this process was asked for: their outcome is heard while this process drains.
    asked: JoinSet<()>,
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
    /// No more accepts, but for queues that could not be emptied yet: descriptors are lacking, or somebody is about to get in.
    sealing: bool,
    /// How soon they are looked at again.
    reseal: Duration,
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
            again: false,
            forwarded: None,
            stopping: false,
            asked: JoinSet::new(),
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
            reseal: RESEAL,
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
        self.acceptor.turn(true);
        // Beside a predecessor it is not the main process yet.
        if !graceful_listener::is_beside() {
            self.aside.turn(true);
            self.manager.serving(&self.listeners());
        }
    }

    /// A stop or a hand-over has begun. Successors that are not there yet are not wanted any more; a lame duck may still have
    /// one that is asked for from here on (law 5).
    fn stop(&mut self) {
        self.stopping = true;
        self.call_off();
        // The elder process is to know that it goes on alone before anybody commits this one.
        if graceful_listener::is_beside() {
            graceful_listener::leave();
        }
    }

    fn call_off(&mut self) {
        // Those there are after a hand-over were too late, and end by themselves, with the answer that is so.
        if self.handover.is_none() {
            self.again = false;
            self.attempts.abort_all();
        }
    }

    /// The drain has begun: no more accepts, and no successor that is not there yet.
    fn seal(&mut self) {
        self.call_off();
        // Of one that was not over yet it is not known who accepts. Its end is heard next, and calls this again.
        let undecided = !self.sealing && !self.attempts.is_empty();
        // A successor that serves beside this one is dismissed with it: the service is to stop.
        self.beside = None;
        graceful_listener::leave();
        if self.sealing {
            self.reseal = (self.reseal * 2).min(SLOWEST_RESEAL);
        } else {
            self.reseal = RESEAL;
            self.manager.sealing(&self.listeners());
        }
        self.sealing = undecided || !self.acceptor.seal();
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
}

/// How soon a queue is looked at again that could not be emptied: soon, for whoever comes meanwhile is not even refused, but then
/// less often, for a look takes milliseconds.
const RESEAL: Duration = Duration::from_millis(5);
const SLOWEST_RESEAL: Duration = Duration::from_millis(100);

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
