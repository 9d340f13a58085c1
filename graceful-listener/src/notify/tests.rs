//! What arrives at a manager's socket: by path, by abstract name, with descriptors.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;
use crate::listener::HandoffListener;

fn with(variables: &[(&str, &str)]) -> Notify {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
    Notify::from_variables(|name| find(name).map(|(_, value)| value.into()), 7)
}

fn manager(address: &str) -> (Notify, UnixDatagram) {
    let socket = match address.strip_prefix('@') {
        Some(name) => UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()),
        None => UnixDatagram::bind(address),
    };
    (with(&[("NOTIFY_SOCKET", address)]), socket.unwrap())
}

fn unique(name: &str) -> String {
    format!("graceful-notify-{}-{name}", std::process::id())
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn one_message_arrives_at_a_path_and_at_an_abstract_name() {
    let path = std::env::temp_dir().join(unique("path"));
    let _ = std::fs::remove_file(&path);
    for address in [path.to_str().unwrap(), &format!("@{}", unique("abstract"))] {
        let (notify, socket) = manager(address);
        assert!(notify.is_enabled());
        let status = NotifyState::Status("two\nlines".into());
        notify
            .send(&[NotifyState::Ready, status, NotifyState::MainPid(8)])
            .unwrap();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=two lines\nMAINPID=8");
        let by = NotifyState::ExtendTimeout(Duration::from_millis(1500));
        notify
            .send(&[NotifyState::Stopping, by, NotifyState::Watchdog])
            .unwrap();
        assert_eq!(
            heard(&socket),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nWATCHDOG=1"
        );
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_reload_says_when_it_began() {
    let (notify, socket) = manager(&format!("@{}", unique("reload")));
    let mut last = 0;
    for _ in 0..2 {
        notify.send(&[NotifyState::Reloading]).unwrap();
        let message = heard(&socket);
        let usec = message
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap();
        let usec: u64 = usec.parse().unwrap();
        assert!(usec >= last && usec > 0);
        last = usec;
    }
}

#[test]
fn without_a_manager_nothing_is_said_and_nothing_fails() {
    for variables in [&[][..], &[("NOTIFY_SOCKET", "")]] {
        let notify = with(variables);
        assert!(!notify.is_enabled());
        notify.send(&[NotifyState::Ready]).unwrap();
        notify.store(&[]).unwrap();
    }
}

#[test]
fn a_manager_that_is_gone_or_cannot_be_one_is_an_error_and_no_panic() {
    let gone = with(&[("NOTIFY_SOCKET", "@graceful-nobody-listens-here")]);
    assert!(gone.send(&[NotifyState::Ready]).is_err());
    let long = format!("/{}", "x".repeat(300));
    for address in ["relative", "@", "vsock:2:1", &long] {
        let error = with(&[("NOTIFY_SOCKET", address)])
            .send(&[NotifyState::Ready])
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(address), "{error}");
    }
}

#[test]
fn a_manager_that_does_not_read_is_not_waited_for_without_end() {
    let (notify, socket) = manager(&format!("@{}", unique("full")));
    let error = (0..100_000).find_map(|_| notify.send(&[NotifyState::Watchdog]).err());
    assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
    drop(socket);
}

#[test]
fn the_watchdog_is_ours_if_it_names_us_or_nobody() {
    let interval = |pairs: &[(&str, &str)]| {
        let all = [&[("NOTIFY_SOCKET", "@x")], pairs].concat();
        with(&all).watchdog()
    };
    let second = Some(Duration::from_secs(1));
    let usec = ("WATCHDOG_USEC", "1000000");
    assert_eq!(interval(&[usec]), second);
    assert_eq!(interval(&[usec, ("WATCHDOG_PID", "7")]), second);
    assert_eq!(interval(&[usec, ("WATCHDOG_PID", "8")]), None);
    assert_eq!(interval(&[usec, ("WATCHDOG_PID", "x")]), None);
    for usec in ["", "0", "-1", "x", "99999999999999999999"] {
        assert_eq!(interval(&[("WATCHDOG_USEC", usec)]), None, "{usec}");
    }
    assert_eq!(interval(&[]), None);
    assert_eq!(with(&[usec]).watchdog(), None, "nobody listens");
}

#[test]
fn a_listener_is_stored_with_its_descriptor_and_taken_out_by_its_name() {
    let (notify, socket) = manager(&format!("@{}", unique("store")));
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    notify.store(&[&listener]).unwrap();

    let mut buffer = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut buffer)];
    let got = recvmsg(&socket, into, &mut control, RecvFlags::empty()).unwrap();
    let expected = "FDSTORE=1\nFDNAME=graceful-127.0.0.1_0\nFDPOLL=0";
    assert_eq!(&buffer[..got.bytes], expected.as_bytes());
    let fds: Vec<_> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    let real = crate::check::check(fds[0].as_fd()).unwrap();
    assert_eq!(&real, listener.local_addr());

    notify.unstore(&[&listener]).unwrap();
    assert_eq!(
        heard(&socket),
        "FDSTOREREMOVE=1\nFDNAME=graceful-127.0.0.1_0"
    );
}

#[test]
fn stored_names_are_what_the_manager_takes_and_do_not_grow() {
    for name in [
        "http",
        "[::1]:80",
        "unix:/run/ä.sock",
        &"x".repeat(255),
        "a\nb",
    ] {
        let stored = stored_as(name);
        assert!(stored.len() <= 255 && is_stored(&stored), "{stored}");
        assert!(
            stored
                .bytes()
                .all(|b| (b' '..=b'~').contains(&b) && b != b':'),
            "{stored}"
        );
        assert_eq!(stored_as(&stored), stored);
    }
}
