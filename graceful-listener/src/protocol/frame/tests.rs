//! Every frame reads back as it was written, and no bytes make the reader panic or reserve memory
//! that they do not fill.

use super::*;
use crate::bind::Identity;
use crate::protocol::record::Socket;

fn hello(min: u16, max: u16) -> Hello {
    Hello {
        versions: (min, max),
        pid: 7,
        generation: 3,
    }
}

fn records() -> Vec<Record> {
    let record = |name: &str, index, socket| Record {
        name: name.into(),
        index,
        socket,
    };
    let ours = Some(Identity {
        dev: u64::MAX,
        ino: 1,
    });
    vec![
        record("http", 0, Socket::Tcp("127.0.0.1:80".parse().unwrap())),
        record("http", 1, Socket::Tcp("[fe80::1%2]:80".parse().unwrap())),
        record(
            "ü",
            0,
            Socket::Unix {
                path: "/run/a".into(),
                ours,
            },
        ),
        record(
            "admin",
            0,
            Socket::Unix {
                path: "@a".into(),
                ours: None,
            },
        ),
        record("http", 2, Socket::Udp("[::1]:80".parse().unwrap())),
        record("state", 0, Socket::Plain),
        record(
            "later",
            0,
            Socket::Unknown {
                kind: 9,
                address: vec![0, 255],
            },
        ),
    ]
}

/// One of each type, in the order of the table.
fn frames() -> Vec<Frame> {
    let text = || "why".to_owned();
    vec![
        Frame::Hello(hello(1, u16::MAX)),
        Frame::Listeners {
            total: 300,
            records: records(),
        },
        Frame::State {
            name: text(),
            schema: 2,
            more: true,
            blob: vec![0, 1, 2],
        },
        Frame::Ready {
            unclaimed: vec![0, 299],
        },
        Frame::Extend { ms: u64::MAX },
        Frame::Commit,
        Frame::Abort { reason: text() },
        Frame::Trigger { id: 3 },
        Frame::Hurry { ms: 1, spare: 2 },
        Frame::Reclaim,
        Frame::Conn {
            id: 1,
            listener: 2,
            requests: 3,
            peer: text(),
            unread: b"GET /".to_vec(),
            name: text(),
        },
        Frame::ConnAck {
            id: 1,
            taken: false,
        },
        Frame::Command { text: text() },
        Frame::Answer {
            status: 1,
            text: text(),
        },
        Frame::Delivered,
        Frame::Beside,
        Frame::Bridge {
            pid: 7,
            heir: true,
            takes: false,
        },
        Frame::Leave,
        Frame::Takes,
        Frame::Outcome {
            id: 3,
            outcome: Outcome::Failed(text()),
        },
        Frame::Again,
        Frame::Relays,
        Frame::Prepare,
        Frame::Relief,
        Frame::Sole {
            names: vec![text(), text()],
        },
        Frame::Unknown { kind: 0xff },
    ]
}

#[test]
fn every_frame_reads_back_as_it_was_written() {
    let kinds = (1..=17).chain([0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0xff]);
    for (kind, frame) in kinds.zip(frames()) {
        let bytes = frame.encode();
        let (header, payload) = bytes.split_at(HEADER);
        assert_eq!(
            header[..4],
            u32::try_from(payload.len()).unwrap().to_be_bytes()
        );
        assert_eq!(header[4], kind);
        assert_eq!(Frame::decode(header[4], payload).unwrap(), frame);
    }
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let hello = Frame::Hello(hello(1, 1)).encode();
    assert_eq!(hello, [0, 0, 0, 12, 1, 0, 1, 0, 1, 0, 0, 0, 7, 0, 0, 0, 3]);
    assert_eq!(
        Frame::Ready { unclaimed: vec![] }.encode(),
        [0, 0, 0, 4, 4, 0, 0, 0, 0]
    );
    assert_eq!(Frame::Commit.encode(), [0, 0, 0, 0, 6]);
    let record = Record {
        name: "h".into(),
        index: 2,
        socket: Socket::Unix {
            path: "/s".into(),
            ours: Some(Identity { dev: 3, ino: 4 }),
        },
    };
    let listeners = Frame::Listeners {
        total: 1,
        records: vec![record],
    }
    .encode();
    let expected = [
        &[0, 0, 0, 41, 2, 0, 0, 0, 1, 0, 0, 0, 1][..], // header, total, count
        &[0, 0, 0, 1, b'h', 0, 0, 0, 2],               // name, index
        &[2, 0, 0, 0, 2, b'/', b's', 1],               // kind, address, ours
        &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4],
    ];
    assert_eq!(listeners, expected.concat());
}

#[test]
fn fields_appended_by_a_later_version_are_skipped() {
    for frame in frames() {
        let mut bytes = frame.encode();
        bytes.extend_from_slice(b"later");
        assert_eq!(Frame::decode(bytes[4], &bytes[HEADER..]).unwrap(), frame);
    }
}

#[test]
fn a_payload_that_is_cut_off_is_an_error_at_every_length() {
    for frame in frames() {
        let bytes = frame.encode();
        let payload = &bytes[HEADER..];
        // Where a field was appended later, a frame without it is whole.
        let before = match frame {
            Frame::Trigger { .. } => Some((0, Frame::Trigger { id: 0 })),
            Frame::Conn {
                id,
                listener,
                requests,
                ref peer,
                ref unread,
                ref name,
            } => Some((
                payload.len() - 4 - name.len(),
                Frame::Conn {
                    id,
                    listener,
                    requests,
                    peer: peer.clone(),
                    unread: unread.clone(),
                    name: String::new(),
                },
            )),
            _ => None,
        };
        for length in 0..payload.len() {
            if let Some((_, shorter)) = before.as_ref().filter(|(at, _)| *at == length) {
                let read = Frame::decode(bytes[4], &payload[..length]);
                assert_eq!(read.as_ref(), Ok(shorter));
                continue;
            }
            assert!(
                Frame::decode(bytes[4], &payload[..length]).is_err(),
                "{frame:?} {length}"
            );
        }
    }
}

#[test]
fn unknown_types_may_be_skipped_only_with_the_top_bit_set() {
    assert!(Frame::decode(0, &[]).is_err());
    let known = frames();
    let known = |kind| {
        known[..known.len() - 1]
            .iter()
            .any(|frame| frame.kind() == kind)
    };
    for kind in (18..=u8::MAX).filter(|kind| !known(*kind)) {
        assert_eq!(Frame::decode(kind, &[]).is_ok(), kind >= 0x80, "{kind}");
    }
}

#[test]
fn a_count_or_length_that_lies_is_an_error_and_costs_nothing() {
    assert!(Frame::decode(4, &[255; 4]).is_err());
    assert!(Frame::decode(2, &[255; 8]).is_err());
    assert!(Frame::decode(7, &[255; 4]).is_err());
}

#[test]
fn two_ranges_meet_at_the_highest_version_of_both() {
    assert_eq!(hello(1, 1).common(&hello(1, 1)), Some(1));
    assert_eq!(hello(1, 3).common(&hello(2, 9)), Some(3));
    assert_eq!(hello(2, 9).common(&hello(1, 3)), Some(3));
    assert_eq!(hello(1, 1).common(&hello(2, 3)), None);
    assert_eq!(hello(2, 3).common(&hello(1, 1)), None);
}
