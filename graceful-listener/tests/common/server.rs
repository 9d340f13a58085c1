//! The role of a small server that restarts itself. A client sends one line and gets one answer:
//!
//! | line | answer |
//! |---|---|
//! | `who` | `PID GENERATION` |
//! | `hold` | the same, once the client has sent another line or closed its side |
//! | `restart START [MS]` | a successor started with `START`, ready within MS, takes over |
//! | `start START [MS]` | the same, but it waits for `commit`, `abort` or `drop` |
//! | `check MS ARGS..` | the same as `restart` after a check with ARGS |
//! | `veto HOW` | the same as `restart` if a veto that does `HOW` lets it |
//! | `state SCHEMA BYTES` | the same as `restart`, with that state, of which a successor knows schema 1 |
//! | `program MS PATH ARGS..` | the same as `restart` with another program |
//! | `seal` | whether all its listeners are sealed now |
//! | `descendant` | what a child that uses this crate, too, finds in its environment |
//! | `variables STARTS..` | the names of its environment variables that begin so |
//! | `inherited` | how many descriptors a child that has nothing to do with it inherits |
//!
//! With `CONTROL` it has a control socket there, which lets in whoever asks to take over, if it is
//! ready within `READY_MS`; with `TAKEOVER` it asks for that itself first. Commands are `who`,
//! `fail`, `drop` and `keep`.
//!
//! `ADDRS` are its listeners, of which with `FROM_ENV` the only one has to be inherited; `START` says what a successor does before it is ready.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use graceful_listener::{
    Candidate, ControlCommand, ControlRequest, ControlSocket, HandoffError, HandoffListener,
    Handover, Stream, Successor, SuccessorBuilder, decline, extend, generation, inherited_state,
    leave, ready, take_over,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::say;

struct State {
    listeners: Mutex<Vec<HandoffListener>>,
    control: Option<HandoffListener>,
    kept: Mutex<Vec<ControlCommand>>,
    successor: Mutex<Option<Successor>>,
    handed_over: mpsc::UnboundedSender<Handover>,
}

impl State {
    fn all(&self) -> Vec<HandoffListener> {
        let listeners = self.listeners.lock().unwrap();
        listeners.iter().chain(&self.control).cloned().collect()
    }

    /// The next connection of any listener.
    async fn accept(&self) -> Stream {
        std::future::poll_fn(|cx| {
            let listeners = self.listeners.lock().unwrap();
            let mut polled = listeners.iter().map(|listener| listener.poll_accept(cx));
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
        .unwrap()
        .0
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run() {
    let addrs = std::env::var("ADDRS").unwrap();
    let control = std::env::var("CONTROL").ok();
    if std::env::var_os("TAKEOVER").is_some() {
        match take_over(control.as_ref().unwrap()) {
            Ok(took_over) => say(format!("took over {took_over}")),
            Err(error) => return say(failed(&error)),
        }
    }
    let start = std::env::var("START").unwrap_or_default();
    let wanted = addrs
        .split(' ')
        .take(if start == "first-only" { 1 } else { usize::MAX });
    let listeners: Vec<_> = wanted
        .map(|addr| match std::env::var_os("FROM_ENV") {
            None => HandoffListener::from_env_or_bind(addr).unwrap(),
            Some(_) => HandoffListener::from_env().unwrap(),
        })
        .collect();
    let mut control = match control.map(ControlSocket::bind).transpose() {
        Ok(control) => control,
        Err(error) => return say(format!("no control: {error}")),
    };
    // Handlers first: a signal may come right after the line that says that we are ready.
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    if !before_ready(&start).await {
        return;
    }
    for listener in &listeners {
        say(format!("listening {}", listener.local_addr()));
    }
    if let Err(error) = ready().await {
        return say(format!("called off: {}", failed(&error)));
    }
    say(format!("ready {} {}", std::process::id(), generation()));

    let (handed_over, mut handovers) = mpsc::unbounded_channel();
    let state = Arc::new(State {
        listeners: Mutex::new(listeners),
        control: control.as_ref().map(|control| control.listener().clone()),
        kept: Mutex::default(),
        successor: Mutex::new(None),
        handed_over,
    });
    let mut open = JoinSet::new();
    let mut handover: Option<Handover> = None;
    let mut left: Option<Handover> = None;
    loop {
        if (handover.is_some() || left.is_some()) && open.is_empty() {
            leave();
            return;
        }
        tokio::select! {
            // Nothing is between accepting and answering, where a hand-over could lose it.
            stream = state.accept() => { open.spawn(answer(stream, state.clone())); }
            Some(_) = open.join_next() => {}
            Some(done) = handovers.recv() => handover = Some(done),
            died = gone(&mut handover) => {
                let ended = handover.take();
                if !died {
                    // Kept to the end, for its other end sees in its end that this process lets go.
                    left = ended;
                    state.listeners.lock().unwrap().clear();
                }
                say(if died { "reclaimed" } else { "left" });
            }
            Some(request) = next(&mut control) => match request {
                ControlRequest::TakeOver(candidate) => { open.spawn(let_in(candidate, state.clone())); }
                ControlRequest::Command(command) => obey(command, &state),
                _ => unreachable!(),
            },
            _ = terminate.recv() => break,
        }
    }
    leave();
    state.listeners.lock().unwrap().clear();
    let successor = state.successor.lock().unwrap().take();
    if let Some(successor) = successor {
        successor.abort().await;
    }
    open.join_all().await;
}

async fn next(control: &mut Option<ControlSocket>) -> Option<ControlRequest> {
    match control {
        Some(control) => Some(control.next().await),
        None => std::future::pending().await,
    }
}

async fn let_in(candidate: Candidate, state: Arc<State>) {
    say(format!("candidate {}", candidate.pid()));
    let ms = std::env::var("READY_MS").unwrap_or_else(|_| "60000".to_owned());
    let mut builder = plan(&["", &ms]).state("numbers", 1, || numbers(1000));
    if std::env::var_os("VETO").is_some() {
        builder = builder.veto(|| Err("a migration runs".to_owned()));
    }
    let successor = builder
        .adopt(candidate, &state.all().iter().collect::<Vec<_>>())
        .await;
    let outcome_of = match successor {
        Ok(successor) => successor.commit().await,
        Err(error) => Err(error),
    };
    say(outcome(&state, outcome_of));
}

fn obey(command: ControlCommand, state: &State) {
    match command.text() {
        "who" => command.done(who()),
        "fail" => command.failed("told to"),
        "drop" => drop(command),
        "keep" => state.kept.lock().unwrap().push(command),
        other => panic!("{other}"),
    }
}

/// Does what `START` says; returns whether to go on.
async fn before_ready(start: &str) -> bool {
    let own = rustix::process::getpid();
    match start.split_once('=').unwrap_or((start, "")) {
        ("exit", _) => return false,
        ("panic", _) => panic!("told to"),
        ("kill", _) => {
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
        ("hang", _) => {
            say(format!("hanging {}", own.as_raw_nonzero()));
            // Without a handler of its own it would end at TERM; with one it is KILL's.
            std::future::pending::<()>().await;
        }
        ("slow", ms) => {
            let ms = Duration::from_millis(ms.parse().unwrap());
            extend(ms + super::PATIENCE);
            tokio::time::sleep(ms).await;
        }
        ("state", _) => return read_state(),
        ("taken", _) => say(format!(
            "state {}",
            inherited_state("numbers").unwrap().bytes.len()
        )),
        ("restart-early", _) => {
            let error = plan(&[]).start(&[]).await.unwrap_err();
            say(format!("too early {}", failed(&error)));
        }
        ("wait", ms) => tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await,
        _ => {}
    }
    true
}

/// Says what state arrived; declines what it cannot read, and returns whether to go on.
fn read_state() -> bool {
    let numbers_again = inherited_state("numbers").unwrap();
    let right = numbers_again.bytes == numbers(numbers_again.bytes.len());
    say(format!("state {} {right}", numbers_again.bytes.len()));
    assert_eq!(inherited_state("numbers"), None);
    let empty = inherited_state("empty").unwrap();
    assert_eq!((empty.schema, empty.bytes.len()), (7, 0));
    assert_eq!(inherited_state("empty"), None);
    assert_eq!(inherited_state("other"), None);
    if numbers_again.schema == 1 {
        return true;
    }
    let why = format!("schema {} is unknown here", numbers_again.schema);
    assert!(decline(&why));
    assert!(!decline("once is enough"));
    false
}

fn numbers(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

/// Returns whether it died, and did not leave on purpose.
async fn gone(handover: &mut Option<Handover>) -> bool {
    match handover {
        // One that took over by itself is no child: it died, and nobody knows how.
        Some(handover) => !matches!(handover.gone().await, Ok(None)),
        None => std::future::pending().await,
    }
}

async fn answer(stream: Stream, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
        return;
    }
    let words: Vec<_> = line.split_whitespace().collect();
    let answer = match words[..] {
        ["who"] => who(),
        ["hold"] => {
            let _ = stream.read_line(&mut String::new()).await;
            who()
        }
        ["restart", ref how @ ..] => outcome(&state, restart(&state, plan(how)).await),
        ["check", ms, ref args @ ..] => {
            let builder = plan(&["good", ms]).check(args.to_vec());
            outcome(&state, restart(&state, builder).await)
        }
        ["veto", how] => {
            let how = how.to_owned();
            let veto = move || match &*how {
                "panic" => panic!("in the veto"),
                "no" => Err("a migration runs".to_owned()),
                _ => Ok(()),
            };
            outcome(&state, restart(&state, plan(&["good"]).veto(veto)).await)
        }
        ["state", schema, bytes] => {
            let bytes = bytes.parse().unwrap();
            let builder = plan(&["state"])
                .state("numbers", 1, || vec![0])
                .state("numbers", schema.parse().unwrap(), move || numbers(bytes))
                .state("empty", 7, Vec::new);
            outcome(&state, restart(&state, builder).await)
        }
        ["program", ms, path, ref args @ ..] => {
            let ready_timeout = Duration::from_millis(ms.parse().unwrap());
            let builder = Successor::builder().program(path).args(args.to_vec());
            outcome(
                &state,
                restart(&state, builder.ready_timeout(ready_timeout)).await,
            )
        }
        ["start", ref how @ ..] => match start(&state, plan(how)).await {
            Ok(successor) => {
                let pid = successor.pid();
                *state.successor.lock().unwrap() = Some(successor);
                format!("started {pid}")
            }
            Err(error) => failed(&error),
        },
        ["commit"] => {
            let successor = state.successor.lock().unwrap().take().unwrap();
            outcome(&state, successor.commit().await)
        }
        ["abort"] => {
            let successor = state.successor.lock().unwrap().take().unwrap();
            successor.abort().await;
            "aborted".to_owned()
        }
        ["drop"] => {
            drop(state.successor.lock().unwrap().take().unwrap());
            "dropped".to_owned()
        }
        ["seal"] => {
            let listeners = state.listeners.lock().unwrap();
            let sealed = listeners.iter().all(HandoffListener::seal);
            sealed.to_string()
        }
        ["inherited"] => {
            let list = std::process::Command::new("ls")
                .arg("/proc/self/fd")
                .output()
                .unwrap();
            String::from_utf8(list.stdout)
                .unwrap()
                .lines()
                .count()
                .to_string()
        }
        ["variables", ref starts @ ..] => {
            let names = std::env::vars().map(|(name, _)| name);
            let of = |name: &String| starts.iter().any(|start| name.starts_with(start));
            names.filter(of).collect::<Vec<_>>().join(" ")
        }
        ["descendant"] => {
            let mut command = super::role("claim");
            command.env("CLAIMS", "env\naddr 127.0.0.1:0");
            String::from_utf8(command.output().unwrap().stdout)
                .unwrap()
                .replace('\n', " ")
        }
        _ => panic!("{line:?}"),
    };
    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
}

fn who() -> String {
    format!("{} {}", std::process::id(), generation())
}

fn plan(how: &[&str]) -> SuccessorBuilder {
    let ms = how.get(1).map_or(60_000, |ms| ms.parse().unwrap());
    let start = how.first().copied().unwrap_or_default();
    Successor::builder()
        .env("START", start)
        .ready_timeout(Duration::from_millis(ms))
}

async fn start(state: &State, plan: SuccessorBuilder) -> Result<Successor, HandoffError> {
    let listeners = state.all();
    plan.start(&listeners.iter().collect::<Vec<_>>()).await
}

async fn restart(state: &State, plan: SuccessorBuilder) -> Result<Handover, HandoffError> {
    start(state, plan).await?.commit().await
}

/// After a hand-over the process goes on as long as a connection is open, which this one is. What
/// the successor did not take is swept and closed.
fn outcome(state: &State, outcome: Result<Handover, HandoffError>) -> String {
    match outcome {
        Ok(handover) => {
            let mut listeners = state.listeners.lock().unwrap();
            listeners.retain(HandoffListener::is_handed_over);
            let kept = listeners.len();
            let pid = handover.pid();
            state.handed_over.send(handover).unwrap();
            format!("committed {pid} {kept}")
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &HandoffError) -> String {
    let is = [
        (error.is_busy(), "busy"),
        (error.is_handed_over(), "handed-over"),
        (error.is_spawn_failed(), "spawn-failed"),
        (error.is_exited(), "exited"),
        (error.is_timed_out(), "timed-out"),
        (error.is_aborted(), "aborted"),
        (error.is_protocol(), "protocol"),
        (error.is_bad_state(), "bad-state"),
        (error.is_nothing_claimed(), "nothing-claimed"),
        (error.is_vetoed(), "vetoed"),
        (error.is_check_failed(), "check-failed"),
        (error.is_would_kill_container(), "would-kill-container"),
    ];
    let kinds: Vec<_> = is
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    format!("failed {}: {error}", kinds.join("+"))
}
