//! The bytes of version 1 are kept in a file, which processes of other releases speak and expect.
//!
//! A frame that is new gets a new line in it: the failing test prints the lines that are missing.

use super::*;
use crate::bind::Identity;
use crate::protocol::record::Socket;

const KEPT: &str = include_str!("../../../tests/version1.txt");

fn record(name: &str, index: u32, socket: Socket) -> Record {
    let name = name.to_owned();
    Record {
        name,
        index,
        socket,
    }
}

fn tcp(addr: &str) -> Socket {
    Socket::Tcp(addr.parse().unwrap())
}

/// One of each kind.
fn records() -> Vec<Record> {
    let ours = Some(Identity { dev: 3, ino: 4 });
    let unix = |path: &str, ours| Socket::Unix {
        path: path.into(),
        ours,
    };
    vec![
        record("http", 0, tcp("127.0.0.1:80")),
        record("http", 1, tcp("[fe80::1%2]:80")),
        record("\u{fc}", 0, unix("/run/a", ours)),
        record("admin", 0, unix("@a", None)),
        record("http", 2, Socket::Udp("[::1]:80".parse().unwrap())),
        record("state", 0, Socket::Plain),
    ]
}

fn state(more: bool, blob: &[u8]) -> Frame {
    Frame::State {
        name: "numbers".into(),
        schema: 1,
        more,
        blob: blob.into(),
    }
}

fn command(text: &str) -> Frame {
    Frame::Command { text: text.into() }
}

fn answer(status: u8, text: &str) -> Frame {
    let text = text.into();
    Frame::Answer { status, text }
}

fn outcome(outcome: Outcome) -> Frame {
    Frame::Outcome { id: 5, outcome }
}

fn frames() -> Vec<(&'static str, Frame)> {
    let listeners = |total, records| Frame::Listeners { total, records };
    let hello = Hello {
        versions: (1, 1),
        pid: 7,
        generation: 3,
    };
    let conn = Frame::Conn {
        id: 1,
        listener: 2,
        requests: 3,
        peer: "127.0.0.1:4711".into(),
        unread: b"GET /".to_vec(),
        name: String::new(),
    };
    let named = Frame::Conn {
        id: 1,
        listener: 2,
        requests: 3,
        peer: "127.0.0.1:4711".into(),
        unread: Vec::new(),
        name: "http".into(),
    };
    let bridge = |heir, takes| Frame::Bridge {
        pid: 7,
        heir,
        takes,
    };
    vec![
        ("HELLO", Frame::Hello(hello)),
        ("LISTENERS-none", listeners(0, Vec::new())),
        ("LISTENERS-one", listeners(1, records()[..1].to_vec())),
        ("LISTENERS-all", listeners(300, records())),
        ("STATE-more", state(true, &[0, 1])),
        ("STATE-last", state(false, &[2])),
        ("READY-all", Frame::Ready { unclaimed: vec![] }),
        (
            "READY-but",
            Frame::Ready {
                unclaimed: vec![0, 299],
            },
        ),
        ("EXTEND", Frame::Extend { ms: 60_000 }),
        ("COMMIT", Frame::Commit),
        (
            "ABORT",
            Frame::Abort {
                reason: "why".into(),
            },
        ),
        ("TRIGGER", Frame::Trigger { id: 0 }),
        ("TRIGGER-answered", Frame::Trigger { id: 5 }),
        ("HURRY", Frame::Hurry { ms: 1000, spare: 2 }),
        ("RECLAIM", Frame::Reclaim),
        ("CONN", conn),
        ("CONN-named", named),
        ("CONN_ACK-taken", Frame::ConnAck { id: 1, taken: true }),
        (
            "CONN_ACK-refused",
            Frame::ConnAck {
                id: 1,
                taken: false,
            },
        ),
        ("COMMAND-takeover", command("takeover")),
        ("COMMAND-status", command("status")),
        ("ANSWER-done", answer(0, "done")),
        ("ANSWER-failed", answer(1, "why not")),
        ("DELIVERED", Frame::Delivered),
        ("BESIDE", Frame::Beside),
        ("BRIDGE-elder", bridge(false, false)),
        ("BRIDGE-heir", bridge(true, true)),
        ("LEAVE", Frame::Leave),
        ("TAKES", Frame::Takes),
        ("OUTCOME-heard", outcome(Outcome::Heard)),
        ("OUTCOME-serves", outcome(Outcome::Serves(7))),
        ("AGAIN", Frame::Again),
        ("OUTCOME-failed", outcome(Outcome::Failed("why not".into()))),
        ("RELAYS", Frame::Relays),
        ("PREPARE", Frame::Prepare),
        (
            "SOLE",
            Frame::Sole {
                names: vec!["http".into(), "http".into(), "admin".into()],
            },
        ),
    ]
}

#[test]
fn the_kept_frames_of_version_1_are_what_is_written() {
    let line = |(name, frame): (&str, Frame)| {
        let bytes = frame.encode();
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        format!("{name} {}", hex.collect::<String>())
    };
    let kept: Vec<_> = KEPT.lines().filter(|line| !line.starts_with('#')).collect();
    let written: Vec<_> = frames().into_iter().map(line).collect();
    let missing: Vec<_> = written
        .iter()
        .filter(|line| !kept.contains(&line.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in the file: {missing:#?}");
    assert_eq!(kept.len(), written.len(), "a frame is not written any more");
}

#[test]
fn the_kept_frames_of_version_1_are_read() {
    let kept: Vec<_> = KEPT.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(kept.len(), frames().len());
    for (line, (name, frame)) in kept.into_iter().zip(frames()) {
        let (kept, hex) = line.split_once(' ').unwrap();
        assert_eq!(kept, name);
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
        assert_eq!(
            bytes.len(),
            HEADER + bytes[3] as usize + 256 * bytes[2] as usize
        );
        assert_eq!(
            Frame::decode(bytes[4], &bytes[HEADER..]),
            Ok(frame),
            "{name}"
        );
    }
}
