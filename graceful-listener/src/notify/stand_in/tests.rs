//! Who says what in which order, what the stand-in has, and how it ends.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::*;

/// A manager that knows who speaks, and one that is told so.
fn manager(test: &str) -> (UnixDatagram, Notify) {
    let name = format!("graceful-stand-in-{}-{test}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    set_socket_passcred(&socket, true).unwrap();
    socket.set_read_timeout(Some(WITHIN)).unwrap();
    let find =
        |variable: &str| (variable == super::super::SOCKET).then(|| format!("@{name}").into());
    (socket, Notify::from_variables(find, std::process::id()))
}

/// The next message with its sender, and with what came along.
fn hear(manager: &UnixDatagram) -> (u32, String, Vec<OwnedFd>) {
    let (mut buffer, mut fds, mut from) = ([0; 100], Vec::new(), 0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let bytes = &mut [IoSliceMut::new(&mut buffer)];
    let received = recvmsg(manager, bytes, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(sender) => from = number(sender.pid),
            _ => {}
        }
    }
    let text = String::from_utf8(buffer[..received.bytes].to_vec());
    (from, text.unwrap(), fds)
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn pid_of(stand_in: &StandIn) -> Pid {
    Pid::from_raw(stand_in.pid.try_into().unwrap()).unwrap()
}

fn ended(pid: Pid) -> WaitStatus {
    waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1
}

#[test]
fn each_names_the_other_and_the_stand_in_ends_when_that_is_read() {
    let (socket, notify) = manager("each");
    let stand_in = StandIn::change_places(&notify).unwrap();
    let (pid, ours, its) = (pid_of(&stand_in), std::process::id(), stand_in.pid);
    let (from, said, _) = hear(&socket);
    assert_eq!((from, said), (ours, format!("MAINPID={its}")));
    let (from, said, _) = hear(&socket);
    assert_eq!((from, said), (its, format!("MAINPID={ours}")));
    let (from, said, barrier) = hear(&socket);
    assert_eq!((from, &*said, barrier.len()), (its, "BARRIER=1", 1));

    // The manager may take its time. Meanwhile it is out of everybody's way.
    kill_process(pid, Signal::TERM).unwrap();
    let open = fs::read_dir(format!("/proc/{its}/fd")).unwrap().count();
    assert!(
        open <= 4,
        "{open} descriptors: ours, the socket, the barrier"
    );
    assert!(waitpid(Some(pid), WaitOptions::NOHANG).unwrap().is_none());
    drop(barrier);
    assert_eq!(ended(pid).exit_status(), Some(0));
}

/// By then it may be the main process, and this one was killed.
#[test]
fn a_stand_in_is_killed_when_its_process_ends_first() {
    let (_socket, notify) = manager("first");
    let stand_in = StandIn::change_places(&notify).unwrap();
    let pid = pid_of(&stand_in);
    drop(stand_in);
    assert_eq!(ended(pid).terminating_signal(), Some(9));

    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let Address::Socket(address) = &notify.address else {
        unreachable!()
    };
    let before_its_turn = super::stand_in(theirs.as_fd(), address, b"MAINPID=1");
    assert_eq!(before_its_turn, Err(Errno::PIPE));
}

#[test]
fn without_a_manager_that_reads_the_stand_in_says_nothing_and_ends() {
    let (socket, notify) = manager("gone");
    drop(socket);
    let stand_in = StandIn::change_places(&notify).unwrap();
    assert_eq!(ended(pid_of(&stand_in)).terminating_signal(), Some(9));
}
