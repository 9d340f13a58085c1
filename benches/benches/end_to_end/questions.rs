//! Everything that is asked.

use std::time::Duration;

use super::{
    ask::{Measure, Metric, Question},
    contestant::{
        AXUM, AXUM_AROUND, AXUM_IN_FLIGHT, AXUM_LAYER, AXUM_SERVER, Contestant, GO, HYPER,
        HYPER_HTTP2, HYPER_UTIL, LAST, OURS, RAW,
    },
    drain,
    load::{self, Load},
    restart, start,
};

const fn metric(name: &'static str, decimals: usize, compared: bool) -> Metric {
    Metric {
        name,
        decimals,
        compared,
    }
}

const LOAD: &[Metric] = &[
    metric("requests/s", 0, true),
    metric("CPU µs/request", 2, true),
];
const MILLIS: &[Metric] = &[metric("ms", 2, true)];
const BYTES: &[Metric] = &[
    metric("bytes, opened at once", 0, true),
    metric("bytes, a thousand a second", 0, true),
];
const RESTART: &[Metric] = &[
    metric("longest without, ms", 1, false),
    metric("longest with, ms", 1, false),
    metric("lost without", 0, false),
    metric("lost with", 0, false),
];

/// How much of everything.
struct Extent {
    load_rounds: usize,
    second: Duration,
    drain_rounds: usize,
    idle: Vec<usize>,
    late_rounds: usize,
    start_rounds: usize,
    restart_rounds: usize,
    restarts: usize,
}

impl Extent {
    fn new(quick: bool, files: u64) -> Self {
        let second = Duration::from_secs(1);
        if quick {
            return Self {
                load_rounds: 1,
                second,
                drain_rounds: 1,
                idle: vec![500],
                late_rounds: 1,
                start_rounds: 1,
                restart_rounds: 1,
                restarts: 2,
            };
        }
        // Server and client are under the same limit.
        let most = usize::try_from(files).unwrap_or(usize::MAX).min(100_000) - 500;
        Self {
            load_rounds: 9,
            second,
            drain_rounds: 3,
            idle: vec![most.min(10_000), most],
            late_rounds: 5,
            start_rounds: 15,
            restart_rounds: 3,
            restarts: 30,
        }
    }
}

pub(super) fn questions(quick: bool, files: u64) -> Vec<Question> {
    let extent = Extent::new(quick, files);
    let mut questions = Vec::from(under_load(&extent));
    questions.extend(extent.idle.iter().map(|&n| idle_drain(&extent, n)));
    questions.extend([lateness(&extent), first_answer(&extent)]);
    questions.extend([memory(extent.idle[0]), restarts(&extent)]);
    questions
}

fn under_load(extent: &Extent) -> [Question; 4] {
    let all = vec![HYPER, OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO];
    let http2 = vec![HYPER_HTTP2, OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO];
    let load = |title: &str, how: &str, load: Load, contestants: Vec<Contestant>| {
        let second = extent.second;
        let measure = move |contestant| load::measure(contestant, load, second);
        question(
            title,
            how,
            LOAD,
            contestants,
            extent.load_rounds,
            Box::new(measure),
        )
    };
    let keep_alive = "`wrk -t1 -c64`, one worker";
    let close = "`wrk -t1 -c64 -H 'Connection: close'`, one worker";
    let streams = "`h2load -t1 -c16 -m32`, one worker";
    [
        load(
            "HTTP/1.1 keep-alive",
            keep_alive,
            Load::KeepAlive,
            all.clone(),
        ),
        load("A connection for each request", close, Load::Close, all),
        load("HTTP/2", streams, Load::Http2, http2),
        load(
            "GracefulLayer on an axum router",
            "`axum::serve` without a layer, with another one that follows the body, and with ours, `wrk -t1 -c64`",
            Load::KeepAlive,
            vec![AXUM, AXUM_IN_FLIGHT, AXUM_LAYER, AXUM_AROUND],
        ),
    ]
}

fn idle_drain(extent: &Extent, n: usize) -> Question {
    question(
        &format!("SIGTERM to exit with {n} idle connections"),
        "keep-alive, each had an answer and is idle for a second; no grace for idle connections; the client closes when the server does. hyper and raw \
         epoll just exit",
        MILLIS,
        vec![RAW, OURS, HYPER, HYPER_UTIL, AXUM, AXUM_SERVER, GO],
        extent.drain_rounds,
        Box::new(move |contestant| drain::idle(contestant, n)),
    )
}

fn lateness(extent: &Extent) -> Question {
    question(
        "Exit after the last answer",
        "one answer of 300 ms under way, SIGTERM in between; from its last byte to the end of the process. Ours waits for the \
         client to close, as does the first",
        MILLIS,
        vec![LAST, OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO],
        extent.late_rounds,
        Box::new(drain::lateness),
    )
}

fn first_answer(extent: &Extent) -> Question {
    question(
        "Exec to first answer",
        "a new process with two workers and an inherited listener, whose queue holds a request",
        MILLIS,
        vec![HYPER, OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO, RAW],
        extent.start_rounds,
        Box::new(start::measure),
    )
}

fn memory(n: usize) -> Question {
    question(
        "Memory of an idle HTTP/1 connection",
        &format!(
            "anonymous memory of the server, by each of {n} connections that had a request and are idle for a second. Ours come to \
             rest; what the others need at once is what the allocator has from then on"
        ),
        BYTES,
        vec![HYPER, OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO],
        1,
        Box::new(move |contestant| drain::memory(contestant, n)),
    )
}

fn restarts(extent: &Extent) -> Question {
    let restarts = extent.restarts;
    question(
        &format!("{restarts} restarts under load"),
        "two clients, a connection for each request. Ours restarts by SIGHUP; of the others a second process is started on the \
         inherited listener, and the first gets SIGTERM when the second accepts",
        RESTART,
        vec![OURS, HYPER_UTIL, AXUM, AXUM_SERVER, GO],
        extent.restart_rounds,
        Box::new(move |contestant| restart::measure(contestant, restarts)),
    )
}

fn question(
    title: &str,
    how: &str,
    metrics: &'static [Metric],
    contestants: Vec<Contestant>,
    rounds: usize,
    measure: Measure,
) -> Question {
    Question {
        title: title.to_owned(),
        how: how.to_owned(),
        metrics,
        contestants,
        rounds,
        measure,
    }
}
