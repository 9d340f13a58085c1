//! Whole hand-overs between a process of today and a stand-in that knows nothing but the kept bytes of version 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use common::{Folder, PATIENCE, Process, ask, role, signal, until};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// The bytes of a frame by its name.
fn kept(name: &str) -> Vec<u8> {
    let named = |line: &'static str| line.strip_prefix(name)?.strip_prefix(' ');
    let hex = include_str!("version1.txt").lines().find_map(named);
    let hex = hex.unwrap_or_else(|| panic!("no frame {name}"));
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// A process of version 1.
struct Peer(UnixStream);

impl Peer {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn say(&mut self, name: &str) {
        self.0.write_all(&kept(name)).unwrap();
    }

    /// The same with a descriptor.
    fn give(&mut self, name: &str, fd: impl AsFd) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        assert!(rights.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = kept(name);
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(&bytes)],
            &mut rights,
            SendFlags::empty(),
        );
        assert_eq!(sent.unwrap(), bytes.len());
    }

    /// The next frame, header and all, and the descriptors that came with it.
    fn next(&mut self) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut frame, mut fds) = (vec![0; 5], Vec::new());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut read = 0;
        while read < frame.len() {
            let mut part = [IoSliceMut::new(&mut frame[read..])];
            let got = recvmsg(&self.0, &mut part, &mut rights, RecvFlags::CMSG_CLOEXEC).unwrap();
            assert_ne!(got.bytes, 0, "the end");
            read += got.bytes;
            for message in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
            if read == 5 {
                let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
                frame.resize(5 + length as usize, 0);
            }
        }
        (frame, fds)
    }

    /// That frame next, but for frames of a later release that may be skipped.
    fn hears(&mut self, name: &str) {
        let expected = kept(name);
        let frame = loop {
            let frame = self.next().0;
            if frame[4] < 0x80 || frame[4] == expected[4] {
                break frame;
            }
        };
        assert_eq!(frame, expected, "{name}");
    }

    /// HELLO, of which only the process number and the generation are another one's. Returns the generation.
    fn hears_hello(&mut self) -> u32 {
        let (hello, kept) = (self.next().0, kept("HELLO"));
        assert_eq!(hello.len(), kept.len());
        assert_eq!(hello[..9], kept[..9]);
        u32::from_be_bytes(hello[13..17].try_into().unwrap())
    }
}

/// A process of today whose predecessor is the stand-in. The stand-in has sent `listener` and state.
fn started_for(listener: &TcpListener) -> (Process, Peer) {
    let addr = listener.local_addr().unwrap().to_string();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let inode = rustix::fs::fstat(&theirs).unwrap().st_ino;
    // Only this child inherits it, and not one that another test starts meanwhile.
    let inner = role("server");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3<&0 </dev/null", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env("ROLE", "server").env("ADDRS", "127.0.0.1:0");
    command.env("FROM_ENV", "1").env("START", "taken");
    command.env("GRACEFUL_HANDOFF", format!("1;fd=3;ino={inode}"));
    let mut new = Process::start_with(OwnedFd::from(theirs).into(), command);

    let mut old = Peer::new(ours);
    old.say("HELLO");
    old.give("LISTENERS-one", listener);
    old.say("STATE-more");
    old.say("STATE-last");
    old.say("DELIVERED");
    assert_eq!(old.hears_hello(), 4, "one more than ours");
    assert_eq!(new.line("state "), "3");
    assert_eq!(new.line("listening "), addr);
    (new, old)
}

#[test]
fn a_predecessor_of_version_1_hands_over_to_a_process_of_today() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (mut new, mut old) = started_for(&listener);
    old.hears("READY-all");
    // Its place in the queue outlives this process, so to speak.
    drop(listener);
    old.say("COMMIT");
    let (pid, generation) = new.ready();
    assert_eq!(generation, 4);
    assert_eq!(ask(&addr, "who").unwrap(), format!("{pid} 4"));
    signal(pid, Signal::TERM);
    old.hears("LEAVE");
    new.all_gone();
}

/// The stand-in is this process, which created the channel and is not dead.
#[test]
fn a_predecessor_that_closes_the_channel_without_commit_and_lives_keeps_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut new, mut old) = started_for(&listener);
    old.hears("READY-all");
    drop(old);
    let why = new.line("called off: ");
    assert!(why.contains("still runs"), "{why}");
    new.all_gone();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
        .accept()
        .expect("the new process has not accepted it");
}

#[test]
fn a_successor_of_version_1_takes_over_from_a_process_of_today() {
    let folder = Folder::new();
    let path = folder.path("control");
    let mut command = role("server");
    command.env("ADDRS", "127.0.0.1:0").env("CONTROL", &path);
    let mut old = Process::start(command);
    let addr = old.line("listening ");
    old.ready();
    let mut held = TcpStream::connect(&addr).unwrap();
    held.write_all(b"hold\n").unwrap();

    let mut new = Peer::new(UnixStream::connect(&path).unwrap());
    new.say("HELLO");
    new.say("COMMAND-takeover");
    assert_eq!(new.hears_hello(), 0);
    new.say("HELLO");
    let (listeners, mut fds) = new.next();
    // LISTENERS: two of two, the server's and the control socket's.
    assert_eq!(listeners[4..13], [2, 0, 0, 0, 2, 0, 0, 0, 2]);
    assert_eq!(fds.len(), 2);
    let (state, last) = (new.next().0, kept("STATE-last"));
    // The same but for the length and the bytes of what is in it: name, schema, and that it is complete.
    assert_eq!(state[4..21], last[4..21]);
    assert_eq!(state[21..25], 1000_u32.to_be_bytes());
    new.hears("DELIVERED");
    new.say("READY-all");
    new.hears("COMMIT");

    let listener = TcpListener::from(fds.remove(0));
    let client = TcpStream::connect(&addr).unwrap();
    let mut accepted = None;
    until("the client is in the queue", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    assert_eq!(accepted.unwrap().1, client.local_addr().unwrap());
    new.say("LEAVE");
    drop((new, listener, fds));
    old.line("left");
    // What it had it finishes.
    held.write_all(b"go\n").unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.trim_end().ends_with(" 0"), "{answer}");
    assert!(old.exit().success());
}
