//! The words that two generations exchange, and their bytes.
//!
//! A frame is a `u32` length of the payload (big-endian, at most 64 KiB), a `u8` type and the
//! payload. Descriptors travel by SCM_RIGHTS with the first byte of the frame that names them.
//!
//! | type | payload | sent by | means |
//! |---|---|---|---|
//! | 1 HELLO | u16 min, u16 max, u32 pid, u32 generation | both, first | the versions I speak and who I am |
//! | 2 LISTENERS | u32 total, u32 count, records | old | `count` of `total` listeners, one descriptor each |
//! | 3 STATE | name, u32 schema, u8 more, blob | old | application state, in pieces |
//! | 4 READY | u32 count, u32 indices | new | started; these listeners I do not want |
//! | 5 EXTEND | u64 ms | new | I need that much longer, from now |
//! | 6 COMMIT | | old | the listeners are yours: accept |
//! | 7 ABORT | reason | either | no hand-over; the old one goes on |
//! | 8 TRIGGER | u64 id, if not 0 | old, or a worker to its supervisor | somebody asked me for a restart: it is yours to do, and OUTCOME answers `id` |
//! | 9 HURRY | u64 ms, u32 spare | new | be gone within; or if any are spare, tell your predecessor so, with one less |
//! | 10 RECLAIM | | worker, to its supervisor | the one after me is dead, and I accept again |
//! | 11 CONN | u64 id, u32 listener, u64 requests, peer, unread bytes, the listener's name between workers | old | an idle connection, one descriptor |
//! | 12 CONN_ACK | u64 id, u8 taken | new | I have it, or close it yourself |
//! | 13 COMMAND | text | control client, after its HELLO | do this; or `takeover`, and HELLO from the old one follows |
//! | 14 ANSWER | u8 status, text | control server | done, or why not |
//! | 15 DELIVERED | | old | you have all listeners and all state: start |
//! | 16 BESIDE | | old | accept, as I do too; COMMIT or ABORT follows |
//! | 17 BRIDGE | u32 pid, u8 place, u8 takes | supervisor, to workers that said RELAYS; the new worker in its place, if it is gone | one descriptor, a channel to worker `pid`: 0 it was before you and moves its connections to you; 1 it comes after you and serves |
//! | 128 LEAVE | | new | I end on purpose: do not take the listeners back |
//! | 129 TAKES | | new, before READY | once you have committed I take idle connections |
//! | 130 OUTCOME | u64 id, u8 what, u32 pid, reason | supervisor | of TRIGGER `id`: 0 it is heard, 1 `pid` serves, 2 it failed |
//! | 131 AGAIN | | control server, before ABORT | you were not heard, so you may ask again |
//! | 132 RELAYS | | worker, before READY | I hand over to the next worker by BRIDGE, and answer PREPARE |
//! | 133 PREPARE | | supervisor | somebody is about to come after you: STATE and DELIVERED, or ABORT if that must not be |
//! | 134 RELIEF | | supervisor, before DELIVERED | another worker serves: without COMMIT you end; a last listener called `graceful-relieved` is my end of its channel, for a BRIDGE if I do not live to send it |
//! | 135 SOLE | u32 count, names, each as often as there are such listeners | old, after COMMIT; a supervisor, at its stop | nobody holds these but you, and I no longer than I live; a supervisor has closed its own |
//! | 135 SOLE | u32 0 | worker, to its supervisor | somebody took over from me of whom you do not know: say it to nobody |
//!
//! Rules for a peer of another version: both take the highest version that both ranges of HELLO
//! contain, and part when there is none. Fields may be appended to a payload; a reader skips what
//! it does not know. A type with the top bit set may be skipped; any other unknown one ends the
//! hand-over, so whatever must not be overlooked gets a low number.

use super::codec::{Malformed, Reader, Writer};
use super::record::Record;

/// The versions this release speaks.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);
/// Longest payload.
pub(crate) const CAP: usize = 64 * 1024;
/// Bytes before the payload.
pub(crate) const HEADER: usize = 5;
/// Types from here on may be skipped by whoever does not know them.
const SKIPPABLE: u8 = 0x80;
const LEAVE: u8 = 0x80;
const TAKES: u8 = 0x81;
const OUTCOME: u8 = 0x82;
const AGAIN: u8 = 0x83;
const RELAYS: u8 = 0x84;
const PREPARE: u8 = 0x85;
const RELIEF: u8 = 0x86;
const SOLE: u8 = 0x87;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: (u16, u16),
    pub(crate) pid: u32,
    pub(crate) generation: u32,
}

/// What becomes of a restart that a worker has asked its supervisor for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The question has been heard, and is answered.
    Heard,
    /// This process serves in the worker's place.
    Serves(u32),
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Listeners {
        total: u32,
        records: Vec<Record>,
    },
    State {
        name: String,
        schema: u32,
        more: bool,
        blob: Vec<u8>,
    },
    Ready {
        unclaimed: Vec<u32>,
    },
    Extend {
        ms: u64,
    },
    Commit,
    Abort {
        reason: String,
    },
    Trigger {
        id: u64,
    },
    Hurry {
        ms: u64,
        spare: u32,
    },
    Reclaim,
    Conn {
        id: u64,
        listener: u32,
        requests: u64,
        peer: String,
        unread: Vec<u8>,
        /// Nothing where both know the listeners by the same numbers.
        name: String,
    },
    ConnAck {
        id: u64,
        taken: bool,
    },
    Command {
        text: String,
    },
    Answer {
        status: u8,
        text: String,
    },
    Delivered,
    Beside,
    Bridge {
        pid: u32,
        /// Whether that worker comes after this one.
        heir: bool,
        /// Whether it takes idle connections.
        takes: bool,
    },
    Leave,
    Takes,
    Outcome {
        id: u64,
        outcome: Outcome,
    },
    Again,
    Relays,
    Prepare,
    Relief,
    Sole {
        names: Vec<String>,
    },
    /// Of a later version, to be skipped.
    Unknown {
        kind: u8,
    },
}

impl Hello {
    /// The version to speak with `peer`, if there is one.
    pub(crate) fn common(&self, peer: &Self) -> Option<u16> {
        let highest = self.versions.1.min(peer.versions.1);
        (highest >= self.versions.0.max(peer.versions.0)).then_some(highest)
    }
}

impl Frame {
    /// How many descriptors come with the frame.
    pub(crate) fn fds(&self) -> usize {
        match self {
            Self::Listeners { records, .. } => records.len(),
            Self::Conn { .. } | Self::Bridge { .. } => 1,
            _ => 0,
        }
    }

    /// The frame as bytes, header included.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Writer::default();
        self.write(&mut payload);
        let mut frame = Writer(Vec::with_capacity(HEADER + payload.0.len()));
        frame
            .u32(u32::try_from(payload.0.len()).unwrap_or(u32::MAX))
            .u8(self.kind());
        frame.0.append(&mut payload.0);
        frame.0
    }

    /// Reads a payload of the type `kind`.
    pub(crate) fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(payload);
        Ok(match kind {
            1 => Self::Hello(Hello {
                versions: (r.u16()?, r.u16()?),
                pid: r.u32()?,
                generation: r.u32()?,
            }),
            2 => Self::Listeners {
                total: r.u32()?,
                records: many(&mut r, Record::read)?,
            },
            3 => Self::State {
                name: r.string()?,
                schema: r.u32()?,
                more: flag(&mut r)?,
                blob: r.bytes()?,
            },
            4 => Self::Ready {
                unclaimed: many(&mut r, Reader::u32)?,
            },
            5 => Self::Extend { ms: r.u64()? },
            6 => Self::Commit,
            7 => Self::Abort {
                reason: r.string()?,
            },
            8 => Self::Trigger {
                id: if payload.is_empty() { 0 } else { r.u64()? },
            },
            9 => Self::Hurry {
                ms: r.u64()?,
                spare: r.u32()?,
            },
            10 => Self::Reclaim,
            11 => Self::Conn {
                id: r.u64()?,
                listener: r.u32()?,
                requests: r.u64()?,
                peer: r.string()?,
                unread: r.bytes()?,
                name: if r.0.is_empty() {
                    String::new()
                } else {
                    r.string()?
                },
            },
            12 => Self::ConnAck {
                id: r.u64()?,
                taken: flag(&mut r)?,
            },
            13 => Self::Command { text: r.string()? },
            14 => Self::Answer {
                status: r.u8()?,
                text: r.string()?,
            },
            15 => Self::Delivered,
            16 => Self::Beside,
            17 => Self::Bridge {
                pid: r.u32()?,
                heir: flag(&mut r)?,
                takes: flag(&mut r)?,
            },
            LEAVE => Self::Leave,
            TAKES => Self::Takes,
            OUTCOME => Self::Outcome {
                id: r.u64()?,
                outcome: Outcome::read(&mut r)?,
            },
            AGAIN => Self::Again,
            RELAYS => Self::Relays,
            PREPARE => Self::Prepare,
            RELIEF => Self::Relief,
            SOLE => Self::Sole {
                names: many(&mut r, Reader::string)?,
            },
            kind if kind >= SKIPPABLE => Self::Unknown { kind },
            _ => return Err("a frame of a type that must not be skipped is unknown here"),
        })
    }

    /// Its type, as a number.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Listeners { .. } => 2,
            Self::State { .. } => 3,
            Self::Ready { .. } => 4,
            Self::Extend { .. } => 5,
            Self::Commit => 6,
            Self::Abort { .. } => 7,
            Self::Trigger { .. } => 8,
            Self::Hurry { .. } => 9,
            Self::Reclaim => 10,
            Self::Conn { .. } => 11,
            Self::ConnAck { .. } => 12,
            Self::Command { .. } => 13,
            Self::Answer { .. } => 14,
            Self::Delivered => 15,
            Self::Beside => 16,
            Self::Bridge { .. } => 17,
            Self::Leave => LEAVE,
            Self::Takes => TAKES,
            Self::Outcome { .. } => OUTCOME,
            Self::Again => AGAIN,
            Self::Relays => RELAYS,
            Self::Prepare => PREPARE,
            Self::Relief => RELIEF,
            Self::Sole { .. } => SOLE,
            Self::Unknown { kind } => *kind,
        }
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Hello(hello) => {
                w.u16(hello.versions.0)
                    .u16(hello.versions.1)
                    .u32(hello.pid)
                    .u32(hello.generation);
            }
            Self::Listeners { total, records } => {
                w.u32(*total).u32(count(records));
                records.iter().for_each(|record| record.write(w));
            }
            Self::State {
                name,
                schema,
                more,
                blob,
            } => {
                w.bytes(name.as_bytes())
                    .u32(*schema)
                    .u8((*more).into())
                    .bytes(blob);
            }
            Self::Ready { unclaimed } => {
                w.u32(count(unclaimed));
                unclaimed.iter().for_each(|index| _ = w.u32(*index));
            }
            Self::Extend { ms } => _ = w.u64(*ms),
            Self::Hurry { ms, spare } => _ = w.u64(*ms).u32(*spare),
            Self::Abort { reason: text } | Self::Command { text } => _ = w.bytes(text.as_bytes()),
            Self::Conn {
                id,
                listener,
                requests,
                peer,
                unread,
                name,
            } => {
                w.u64(*id)
                    .u32(*listener)
                    .u64(*requests)
                    .bytes(peer.as_bytes())
                    .bytes(unread);
                if !name.is_empty() {
                    w.bytes(name.as_bytes());
                }
            }
            Self::Bridge { pid, heir, takes } => {
                w.u32(*pid).u8((*heir).into()).u8((*takes).into());
            }
            Self::ConnAck { id, taken } => _ = w.u64(*id).u8((*taken).into()),
            Self::Answer { status, text } => _ = w.u8(*status).bytes(text.as_bytes()),
            // As it was before it could be answered.
            Self::Trigger { id: 0 } => {}
            Self::Trigger { id } => _ = w.u64(*id),
            Self::Outcome { id, outcome } => outcome.write(w.u64(*id)),
            Self::Sole { names } => {
                w.u32(count(names));
                names.iter().for_each(|name| _ = w.bytes(name.as_bytes()));
            }
            Self::Commit
            | Self::Reclaim
            | Self::Delivered
            | Self::Beside
            | Self::Leave
            | Self::Takes
            | Self::Again
            | Self::Relays
            | Self::Prepare
            | Self::Relief
            | Self::Unknown { .. } => {}
        }
    }
}

impl Outcome {
    fn write(&self, w: &mut Writer) {
        let (what, pid, reason) = match self {
            Self::Heard => (0, 0, ""),
            Self::Serves(pid) => (1, *pid, ""),
            Self::Failed(reason) => (2, 0, reason.as_str()),
        };
        w.u8(what).u32(pid).bytes(reason.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match (r.u8()?, r.u32()?, r.string()?) {
            (1, pid, _) => Self::Serves(pid),
            (2, _, reason) => Self::Failed(reason),
            // What a later version may say before the end.
            _ => Self::Heard,
        })
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

fn flag(r: &mut Reader<'_>) -> Result<bool, Malformed> {
    Ok(r.u8()? != 0)
}

/// A count and that many items. Nothing is reserved for a count that the bytes do not back.
fn many<'a, T>(
    r: &mut Reader<'a>,
    one: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    (0..r.u32()?).map(|_| one(r)).collect()
}

/// Reads a frame of any type, and reads what it wrote again.
#[cfg(fuzzing)]
pub fn fuzz_frame(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else {
        return;
    };
    if let Ok(frame) = Frame::decode(*kind, payload) {
        let bytes = frame.encode();
        assert!(bytes.len() <= HEADER + payload.len(), "it grew");
        assert_eq!(Frame::decode(bytes[4], &bytes[HEADER..]), Ok(frame));
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod version1;
