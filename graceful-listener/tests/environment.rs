//! What a process inherits, right and wrong: real descriptors through a real exec.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use common::claim::inherit;
use common::{Folder, Process};

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// The descriptors of systemd's protocol.
const SYSTEMD: &str = "LISTEN_FDS=1\nLISTEN_PID={pid}";

/// What each of the claims came to.
fn outcome(make: &str, vars: &str, claims: &str) -> Vec<String> {
    let mut process = Process::start(inherit(make, vars, claims));
    claims.lines().map(|_| process.line("")).collect()
}

/// The one claim has to fail as `kind`, with a text that contains `named`.
fn fails(make: &str, vars: &str, claim: &str, kind: &str, named: &str) {
    let outcome = outcome(make, vars, claim).remove(0);
    let expected = format!("error {kind}: ");
    assert!(
        outcome.starts_with(&expected),
        "{make} {vars:?} {claim}: {outcome}"
    );
    assert!(
        outcome.contains(named),
        "{outcome:?} does not name {named:?}"
    );
}

fn got(outcome: &str) -> Vec<(&str, &str)> {
    let listeners = outcome
        .strip_prefix("got ")
        .unwrap_or_else(|| panic!("{outcome}"));
    listeners
        .split(' ')
        .map(|listener| listener.split_once('@').unwrap())
        .collect()
}

#[test]
fn malformed_variables_are_errors_that_name_them_and_touch_nothing() {
    for (vars, name) in [
        ("LISTEN_FDS=x\nLISTEN_PID={pid}", "LISTEN_FDS=\"x\""),
        ("LISTEN_FDS=-1\nLISTEN_PID={pid}", "LISTEN_FDS=\"-1\""),
        (
            "LISTEN_FDS=99999999999\nLISTEN_PID={pid}",
            "LISTEN_FDS=\"99999999999\"",
        ),
        ("LISTEN_FDS=\nLISTEN_PID={pid}", "LISTEN_FDS=\"\""),
        ("LISTEN_FDS=1\nLISTEN_PID=x", "LISTEN_PID=\"x\""),
        ("LISTEN_FDS=1\nLISTEN_PID=", "LISTEN_PID=\"\""),
        (
            "LISTEN_FDS=1\nLISTEN_PID={pid}\nLISTEN_FDNAMES=a:b",
            "LISTEN_FDNAMES=\"a:b\"",
        ),
        (
            "LISTEN_FDS=1\nLISTEN_FDS_FIRST_FD=x",
            "LISTEN_FDS_FIRST_FD=\"x\"",
        ),
        (
            "LISTEN_FDS=1\nLISTEN_FDS_FIRST_FD=-1",
            "LISTEN_FDS_FIRST_FD=\"-1\"",
        ),
        ("GRACEFUL_HANDOFF=x", "GRACEFUL_HANDOFF=\"x\""),
        ("GRACEFUL_HANDOFF=-1", "GRACEFUL_HANDOFF=\"-1\""),
        (
            "GRACEFUL_HANDOFF=99999999999",
            "GRACEFUL_HANDOFF=\"99999999999\"",
        ),
        ("GRACEFUL_HANDOFF=", "GRACEFUL_HANDOFF=\"\""),
    ] {
        let claims = "env\naddr {3}\naddr 127.0.0.1:0\nnumber 3";
        let outcome = outcome("tcp", vars, claims);
        for answer in &outcome[..3] {
            assert!(
                answer.starts_with("error malformed-env: "),
                "{vars:?}: {answer}"
            );
            assert!(answer.contains(name), "{answer}");
        }
        assert_eq!(
            got(&outcome[3]).len(),
            1,
            "the descriptor is still there to be taken"
        );
    }
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused_for_what_it_is() {
    for claim in ["env", "addr 127.0.0.1:0", "addr 127.0.0.1:0 http"] {
        fails("closed", SYSTEMD, claim, "bad-fd", "descriptor 3");
        fails("file", SYSTEMD, claim, "not-a-socket", "character device");
        fails("pipe", SYSTEMD, claim, "not-a-socket", "pipe");
        fails("udp", SYSTEMD, claim, "wrong-type", "datagram");
        fails("connection", SYSTEMD, claim, "not-listening", "connection");
        fails("bound", SYSTEMD, claim, "not-listening", "listen(2)");
    }
}

#[test]
fn what_is_wrong_with_one_descriptor_does_not_touch_the_others() {
    let vars = "LISTEN_FDS=4\nLISTEN_PID={pid}\nLISTEN_FDNAMES=gone:file:good:udp";
    let claims = "env gone\nenv file\nenv udp\nopen 4\nopen 6\nenv good\nenv file\nready\nopen 4";
    let outcome = outcome("closed file tcp udp", vars, claims);
    for (answer, start) in outcome.iter().zip([
        "error bad-fd",
        "error not-a-socket",
        "error wrong-type",
        "open true",
        "open true",
        "got good@127.0.0.1:",
        "error not-a-socket",
        "ready Ok(())",
        // What is no listener may be somebody else's.
        "open true",
    ]) {
        assert!(answer.starts_with(start), "{answer:?} is not {start:?}");
    }
}

#[test]
fn listeners_of_another_family_or_address_are_a_mismatch() {
    let folder = Folder::new();
    let unix = folder.path("s");
    fails(
        "tcp",
        SYSTEMD,
        "addr [::1]:0",
        "address-mismatch",
        "127.0.0.1:",
    );
    fails(
        "tcp",
        SYSTEMD,
        "addr 127.0.0.1:1",
        "address-mismatch",
        "127.0.0.1:1 ",
    );
    fails(
        "tcp6",
        SYSTEMD,
        "addr 127.0.0.1:0",
        "address-mismatch",
        "[::1]:",
    );
    fails(
        "tcp",
        SYSTEMD,
        &format!("addr unix:{unix}"),
        "address-mismatch",
        &unix,
    );
    fails(
        &unix,
        SYSTEMD,
        "addr 127.0.0.1:0",
        "address-mismatch",
        &unix,
    );
    let named = format!("{SYSTEMD}\nLISTEN_FDNAMES=http");
    fails(
        "tcp",
        &named,
        "addr 127.0.0.1:1 http",
        "address-mismatch",
        "\"http\"",
    );
}

#[test]
fn systemd_passes_listeners_by_name_and_address() {
    let folder = Folder::new();
    let unix = folder.path("s");
    let vars = "LISTEN_FDS=3\nLISTEN_PID={pid}\nLISTEN_FDNAMES=web:admin:web";
    let claims = "env\nenv web\nleft\naddr {4}\nall web\nenv\naddr 127.0.0.1:0";
    let outcome = outcome(&format!("tcp {unix} tcp6"), vars, claims);
    assert!(
        outcome[0].starts_with("error ambiguous: 3 inherited"),
        "{}",
        outcome[0]
    );
    assert!(
        outcome[1].starts_with("error ambiguous: 2 inherited"),
        "{}",
        outcome[1]
    );
    assert_eq!(outcome[2], "left web,admin,web");
    assert_eq!(
        got(&outcome[3]),
        [(&*format!("unix:{unix}"), &*format!("unix:{unix}"))]
    );
    let web = got(&outcome[4]);
    assert_eq!((web[0].0, web[1].0), ("web", "web"));
    assert!(
        web[0].1.starts_with("127.0.0.1:") && web[1].1.starts_with("[::1]:"),
        "{web:?}"
    );
    assert!(
        outcome[5].starts_with("error none-inherited: "),
        "{}",
        outcome[5]
    );
    assert_eq!(
        got(&outcome[6]).len(),
        1,
        "with nothing left a listener is bound"
    );
    assert!(std::fs::exists(&unix).unwrap(), "the path is the manager's");
}

#[test]
fn one_listener_is_taken_by_port_zero_by_a_wildcard_and_once() {
    let outcome_of = |make, claims: &str| outcome(make, SYSTEMD, claims);
    let outcome = outcome_of("tcp", "addr 127.0.0.1:0\nenv\nnumber 3");
    assert_eq!(got(&outcome[0])[0].0, "127.0.0.1:0");
    assert!(
        outcome[1].starts_with("error none-inherited: "),
        "{}",
        outcome[1]
    );
    assert!(outcome[2].starts_with("error taken: "), "{}", outcome[2]);
    assert!(
        got(&outcome_of("any6", "addr 0.0.0.0:0")[0])[0]
            .1
            .starts_with("[::]:")
    );
}

#[test]
fn systemfd_passes_listeners_from_another_number_and_without_a_process_number() {
    let vars = "LISTEN_FDS=1\nLISTEN_FDS_FIRST_FD=4";
    let outcome = outcome("file tcp", vars, "env\nopen 3");
    assert_eq!(got(&outcome[0])[0].0, "unknown");
    assert_eq!(outcome[1], "open true");
}

#[test]
fn listeners_of_another_process_are_none_of_ours_and_stay_open() {
    for vars in [
        "LISTEN_FDS=1\nLISTEN_PID=1",
        "LISTEN_FDS=1",
        "LISTEN_FDS=0\nLISTEN_PID={pid}",
    ] {
        let outcome = outcome("tcp", vars, "env\naddr 127.0.0.1:0\nready\nopen 3");
        assert!(
            outcome[0].starts_with("error none-inherited: "),
            "{}",
            outcome[0]
        );
        assert!(outcome[0].contains("LISTEN_"), "{}", outcome[0]);
        assert_eq!(got(&outcome[1]).len(), 1);
        assert_eq!(outcome[2..], ["ready Ok(())", "open true"]);
    }
}

#[test]
fn what_nobody_claims_is_closed_at_ready_if_anybody_asked() {
    let vars = "LISTEN_FDS=2\nLISTEN_PID={pid}\nLISTEN_FDNAMES=a:b";
    let asked = outcome("tcp tcp", vars, "env a\nready\nopen 4\nenv b\nopen 3");
    assert_eq!(asked[1..3], ["ready Ok(())", "open false"]);
    assert!(
        asked[3].starts_with("error none-inherited: "),
        "{}",
        asked[3]
    );
    assert_eq!(asked[4], "open true");
    // Another library may be meant to have them.
    let nobody_asked = outcome("tcp tcp", vars, "bind 127.0.0.1:0\nready\nopen 3\nopen 4");
    assert_eq!(
        nobody_asked[1..],
        ["ready Ok(())", "open true", "open true"]
    );
}

#[test]
fn a_channel_that_is_not_there_is_ignored() {
    // Not open, a file, a socket of another inode: all as in a descendant of a successor.
    for (make, fd) in [("tcp", 9), ("tcp file", 4), ("tcp tcp", 4)] {
        let vars = format!("{SYSTEMD}\nGRACEFUL_HANDOFF=1;fd={fd};ino=1");
        let outcome = outcome(make, &vars, "env");
        assert_eq!(
            got(&outcome[0]).len(),
            1,
            "{make}: the manager's listener is found"
        );
    }
}

#[test]
fn a_number_of_the_command_line_is_taken_once() {
    let outcome = outcome(
        "tcp file",
        "X=",
        "number 3\nnumber 3\nnumber 4\nnumber 9\nopen 4",
    );
    assert_eq!(got(&outcome[0]).len(), 1);
    assert!(outcome[1].starts_with("error taken: "), "{}", outcome[1]);
    assert!(
        outcome[2].starts_with("error not-a-socket: "),
        "{}",
        outcome[2]
    );
    assert!(outcome[3].starts_with("error bad-fd: "), "{}", outcome[3]);
    assert_eq!(outcome[4], "open true");
}

#[test]
fn udp_sockets_are_passed_by_name_and_address_beside_listeners() {
    let vars = "LISTEN_FDS=4\nLISTEN_PID={pid}\nLISTEN_FDNAMES=dns:log:dns:x";
    let claims = "udp env\nudp env dns\nenv\nudp addr {4}\nudp addr 127.0.0.3:0 log\n\
                  udp addr 127.0.0.2:0 new\nleft\nenv x\nudp env";
    let outcome = outcome("udp udp tcp pipe", vars, claims);
    assert!(
        outcome[0].starts_with("error ambiguous: 3 inherited"),
        "{}",
        outcome[0]
    );
    assert_eq!(got(&outcome[1])[0].0, "dns");
    assert!(
        outcome[2].starts_with("error ambiguous: 2 inherited"),
        "{}",
        outcome[2]
    );
    assert!(
        got(&outcome[3])[0].0.starts_with("udp:127.0.0.1:"),
        "{}",
        outcome[3]
    );
    assert!(
        got(&outcome[4]).len() == 1,
        "nothing of that name is left: {}",
        outcome[4]
    );
    assert_eq!(got(&outcome[5])[0].0, "new");
    assert_eq!(outcome[6], "left dns,x");
    assert!(
        outcome[7].starts_with("error not-a-socket: "),
        "{}",
        outcome[7]
    );
    assert!(outcome[8].starts_with("error "), "{}", outcome[8]);
}

#[test]
fn a_listener_is_no_udp_socket_and_a_mismatch_is_an_error() {
    let named = format!("{SYSTEMD}\nLISTEN_FDNAMES=dns");
    fails("tcp", &named, "udp env dns", "wrong-type", "no UDP socket");
    fails(
        "udp",
        SYSTEMD,
        "udp addr 127.0.0.2:0",
        "address-mismatch",
        "udp:127.0.0.1:",
    );
    fails(
        "udp",
        &named,
        "udp addr 127.0.0.1:1 dns",
        "address-mismatch",
        "\"dns\"",
    );
    // A listener that is passed says nothing about UDP.
    assert_eq!(
        got(&outcome("tcp", SYSTEMD, "udp addr 127.0.0.1:0")[0]).len(),
        1
    );
}

#[test]
fn a_descriptor_that_is_no_listener_is_taken_by_its_name_and_once() {
    let vars = "LISTEN_FDS=4\nLISTEN_PID={pid}\nLISTEN_FDNAMES=file:web:gone:file";
    let claims = "fd file\nfd file\nfd file\nfd web\nenv web\nfd gone\nnumber 3\nready\nopen 3";
    let outcome = outcome("file tcp closed pipe", vars, claims);
    for (answer, start) in outcome.iter().zip([
        "got file",
        "got file",
        "error none-inherited: ",
        "got web",
        "error none-inherited: ",
        "error bad-fd: ",
        "error taken: ",
        "ready Ok(())",
        "open true",
    ]) {
        assert!(answer.starts_with(start), "{answer:?} is not {start:?}");
    }
}
