//! One process: binding, checking descriptors, accepting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Context, Waker};
use std::time::Duration;

use common::{Folder, connect_unix};
use graceful_listener::{HandoffListener, ListenAddr, ListenError, PeerAddr, Stream};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

fn bind(addr: &str) -> HandoffListener {
    HandoffListener::bind(addr).unwrap()
}

fn tcp(listener: &HandoffListener) -> std::net::SocketAddr {
    listener.local_addr().as_tcp().unwrap()
}

#[test]
fn every_way_to_write_an_address_is_taken() {
    let text = "127.0.0.1:0";
    let parsed: ListenAddr = text.parse().unwrap();
    let listeners = [
        HandoffListener::bind(text).unwrap(),
        HandoffListener::bind(text.to_owned()).unwrap(),
        HandoffListener::bind(parsed.as_tcp().unwrap()).unwrap(),
        HandoffListener::bind(&parsed).unwrap(),
        HandoffListener::from_env_or_bind(parsed).unwrap(),
        HandoffListener::options()
            .name("http")
            .from_env_or_bind(text)
            .unwrap(),
    ];
    for listener in &listeners {
        assert_ne!(tcp(listener).port(), 0);
        let is_named = listener.name() == "http";
        assert!(is_named || listener.name() == text, "{}", listener.name());
    }
    assert!(
        HandoffListener::bind("localhost:80")
            .unwrap_err()
            .is_malformed_addr()
    );
}

#[test]
fn a_bound_socket_is_non_blocking_close_on_exec_and_as_the_options_say() {
    let options = HandoffListener::options().reuse_port(true).only_v6(true);
    let one = options.bind("[::1]:0").unwrap();
    assert!(fcntl_getfd(&one).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(&one).unwrap().contains(OFlags::NONBLOCK));
    assert!(rustix::net::sockopt::ipv6_v6only(&one).unwrap());
    let other = options.bind(tcp(&one)).unwrap();
    assert_eq!(tcp(&one), tcp(&other));
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    let held = bind("127.0.0.1:0");
    let error = HandoffListener::bind(tcp(&held)).unwrap_err();
    assert!(error.is_addr_in_use());
    assert!(
        error.to_string().contains(&tcp(&held).to_string()),
        "{error}"
    );
    assert_eq!(
        std::io::Error::from(error).kind(),
        std::io::ErrorKind::AddrInUse
    );
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    let error = HandoffListener::bind("192.0.2.1:0").unwrap_err();
    assert!(
        error.is_bind_failed() && std::error::Error::source(&error).is_some(),
        "{error}"
    );
}

#[test]
fn names_that_do_not_fit_into_a_frame_are_refused() {
    for name in [String::new(), "x".repeat(256)] {
        let error = HandoffListener::options()
            .name(name)
            .bind("127.0.0.1:0")
            .unwrap_err();
        assert!(error.is_bad_name());
    }
}

#[test]
fn nothing_is_inherited_without_variables() {
    let error = HandoffListener::from_env().unwrap_err();
    assert!(
        error.is_none_inherited() && error.to_string().contains("from_env_or_bind"),
        "{error}"
    );
    assert_eq!(graceful_listener::generation(), 0);
    assert!(graceful_listener::unclaimed().is_empty());
    graceful_listener::extend(Duration::from_secs(1));
}

#[test]
fn a_unix_path_held_by_a_living_server_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("live");
    let server = UnixListener::bind(&path).unwrap();
    let error = HandoffListener::bind(format!("unix:{path}")).unwrap_err();
    assert!(
        error.is_addr_in_use() && error.to_string().contains(&path),
        "{error}"
    );
    drop(server);
}

#[test]
fn a_living_server_with_a_full_queue_is_alive() {
    let folder = Folder::new();
    let addr = format!("unix:{}", folder.path("full"));
    let _server = HandoffListener::options()
        .backlog(0)
        .bind(addr.as_str())
        .unwrap();
    let _waiting = connect_unix(&folder.path("full")).unwrap();
    assert!(HandoffListener::bind(addr).unwrap_err().is_addr_in_use());
}

#[test]
fn a_unix_path_left_by_a_dead_server_is_replaced() {
    let folder = Folder::new();
    let path = folder.path("dead");
    drop(UnixListener::bind(&path).unwrap());
    let listener = bind(&format!("unix:{path}"));
    assert_eq!(listener.local_addr().to_string(), format!("unix:{path}"));
    connect_unix(&path).unwrap();
    let left: Vec<_> = std::fs::read_dir(&folder.0).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file is left: {left:?}");
    drop(listener);
    assert!(!std::fs::exists(&path).unwrap());
}

#[test]
fn a_unix_path_has_the_mode_that_is_asked_for_also_where_it_replaces_a_dead_one() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    for (path, mode) in [("new", 0o600), ("wide", 0o666), ("dead", 0o660)] {
        let path = folder.path(path);
        if mode == 0o660 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let options = HandoffListener::options().mode(mode);
        let _listener = options.bind(format!("unix:{path}")).unwrap();
        let permissions = std::fs::metadata(&path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{path}");
    }
    let name = format!("unix:@gl-mode-{}", std::process::id());
    HandoffListener::options().mode(0o600).bind(name).unwrap();
}

#[test]
fn a_path_that_is_no_socket_is_never_replaced() {
    let folder = Folder::new();
    let file = folder.path("file");
    std::fs::write(&file, "precious").unwrap();
    let link = folder.path("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let error = HandoffListener::bind(format!("unix:{path}")).unwrap_err();
        assert!(error.is_addr_in_use(), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[test]
fn a_missing_folder_and_a_path_that_is_too_long_are_errors_that_name_it() {
    let folder = Folder::new();
    for path in [folder.path("none/a"), folder.path(&"x".repeat(200))] {
        let error = HandoffListener::bind(format!("unix:{path}")).unwrap_err();
        assert!(
            error.is_bind_failed() && error.to_string().contains(&path),
            "{error}"
        );
    }
}

#[test]
fn the_path_is_removed_only_while_it_is_the_file_that_was_bound() {
    let folder = Folder::new();
    let path = folder.path("a");
    let listener = bind(&format!("unix:{path}"));
    let clone = listener.clone();
    drop(listener);
    assert!(std::fs::exists(&path).unwrap(), "a clone still listens");
    drop(clone);
    assert!(!std::fs::exists(&path).unwrap());

    let listener = bind(&format!("unix:{path}"));
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(listener);
    connect_unix(&path).unwrap();
}

#[tokio::test]
async fn an_abstract_name_needs_no_file() {
    let name = format!("gl-test-{}", std::process::id());
    let listener = bind(&format!("unix:@{name}"));
    assert_eq!(listener.local_addr().to_string(), format!("unix:@{name}"));
    let _client = connect_unix(&format!("@{name}")).unwrap();
    assert!(matches!(
        listener.accept().await.unwrap(),
        (Stream::Unix(_), PeerAddr::Unix(_))
    ));
    assert!(!std::fs::exists(format!("@{name}")).unwrap());
}

/// What `from_fd` says of a descriptor, which it closes if it is none.
fn refused(fd: impl Into<OwnedFd>) -> ListenError {
    HandoffListener::from_fd(fd.into()).unwrap_err()
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused_for_what_it_is() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(refused(file).is_not_a_socket());
    assert!(refused(std::fs::File::open(".").unwrap()).is_not_a_socket());
    let (read, _write) = rustix::pipe::pipe().unwrap();
    assert!(refused(read).is_not_a_socket());
    assert!(refused(UdpSocket::bind("127.0.0.1:0").unwrap()).is_wrong_type());
    let (one, _other) = UnixStream::pair().unwrap();
    assert!(refused(one).is_not_listening());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    assert!(refused(client).is_not_listening());
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound
        .bind(
            &"127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        )
        .unwrap();
    let error = refused(bound);
    assert!(
        error.is_not_listening() && error.to_string().contains("listen(2)"),
        "{error}"
    );
    use rustix::net::{AddressFamily, SocketType, socket};
    let packets = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    assert!(refused(packets).is_wrong_type());
    let netlink = socket(AddressFamily::NETLINK, SocketType::DGRAM, None).unwrap();
    assert!(refused(netlink).is_wrong_type());
}

#[tokio::test]
async fn a_listener_of_another_library_is_taken_and_made_non_blocking() {
    let theirs = TcpListener::bind("[::1]:0").unwrap();
    let addr = theirs.local_addr().unwrap();
    let shared: OwnedFd = theirs.as_fd().try_clone_to_owned().unwrap();
    let listener = HandoffListener::options()
        .name("x")
        .from_fd(theirs.into())
        .unwrap();
    assert_eq!((listener.name(), tcp(&listener)), ("x", addr));
    assert!(fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK));
    let client = TcpStream::connect(addr).unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.as_tcp(), Some(client.local_addr().unwrap()));
}

#[test]
fn a_number_is_inherited_only_if_it_is_open_and_came_through_exec() {
    for number in [-1, 0, 2, i32::MAX] {
        assert!(
            HandoffListener::from_inherited_fd(number)
                .unwrap_err()
                .is_bad_fd(),
            "{number}"
        );
    }
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = HandoffListener::from_inherited_fd(own.as_raw_fd()).unwrap_err();
    assert!(
        error.is_bad_fd() && error.to_string().contains("close-on-exec"),
        "{error}"
    );
    TcpStream::connect(own.local_addr().unwrap()).unwrap();
}

#[tokio::test]
async fn accept_queued_sees_what_the_runtime_has_not_looked_at() {
    let listener = bind("127.0.0.1:0");
    assert!(listener.accept_queued().unwrap().is_none());
    let clients: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(tcp(&listener)).unwrap())
        .collect();
    // Nothing was awaited in between, so the reactor has not run.
    for client in &clients {
        let (_, peer) = listener.accept_queued().unwrap().unwrap();
        assert_eq!(peer.as_tcp(), Some(client.local_addr().unwrap()));
    }
    assert!(listener.accept_queued().unwrap().is_none());
}

#[tokio::test]
async fn accept_queued_sees_what_a_pending_accept_does_not_know_yet() {
    let listener = bind("127.0.0.1:0");
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(listener.poll_accept(cx).is_pending());
    let _client = TcpStream::connect(tcp(&listener)).unwrap();
    assert!(listener.accept_queued().unwrap().is_some());
    assert!(listener.poll_accept(cx).is_pending());
}

#[test]
fn accept_queued_outside_of_a_runtime_is_an_error_and_takes_nothing() {
    let listener = bind("127.0.0.1:0");
    let _client = TcpStream::connect(tcp(&listener)).unwrap();
    assert!(listener.accept_queued().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    assert!(listener.accept_queued().unwrap().is_some());
}

#[tokio::test]
async fn every_waiting_task_and_clone_gets_its_connection() {
    let listener = bind("127.0.0.1:0");
    let mut tasks = tokio::task::JoinSet::new();
    for polled in [true, true, false, false] {
        let listener = listener.clone();
        tasks.spawn(async move {
            match polled {
                true => {
                    std::future::poll_fn(|cx| listener.poll_accept(cx))
                        .await
                        .unwrap()
                        .1
                }
                false => listener.accept().await.unwrap().1,
            }
        });
    }
    tokio::task::yield_now().await;
    let clients: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(tcp(&listener)).unwrap())
        .collect();
    let peers: Vec<_> = tasks
        .join_all()
        .await
        .iter()
        .map(|peer| peer.as_tcp().unwrap())
        .collect();
    assert!(
        clients
            .iter()
            .all(|client| peers.contains(&client.local_addr().unwrap()))
    );
}

#[tokio::test]
async fn a_dropped_accept_loses_no_connection() {
    let listener = bind("127.0.0.1:0");
    for _ in 0..3 {
        let wait = tokio::time::timeout(Duration::from_millis(1), listener.accept());
        assert!(wait.await.is_err());
    }
    let _client = TcpStream::connect(tcp(&listener)).unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_does_not_empty_leaves_time_for_others() {
    let listener = bind("127.0.0.1:0");
    let _clients: Vec<_> = (0..400)
        .map(|_| TcpStream::connect(tcp(&listener)).unwrap())
        .collect();
    let others = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = others.clone();
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(async move {
        loop {
            counted.set(counted.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    let accepting = tasks.run_until(async {
        tokio::task::spawn_local(async move {
            for _ in 0..400 {
                listener.accept().await.unwrap();
            }
        })
        .await
    });
    accepting.await.unwrap();
    assert!(
        others.get() > 2,
        "the other task ran {} times",
        others.get()
    );
}

#[tokio::test]
async fn incoming_is_a_stream_of_the_same_connections() {
    use futures_util::{FutureExt, StreamExt};
    let mut incoming = bind("127.0.0.1:0").incoming();
    let addr = tcp(incoming.get_ref());
    for _ in 0..2 {
        let client = TcpStream::connect(addr).unwrap();
        let stream = incoming.next().await.unwrap().unwrap();
        let peer = stream.peer_addr().unwrap();
        assert_eq!(peer.as_tcp(), Some(client.local_addr().unwrap()));
    }
    assert!(incoming.next().now_or_never().is_none());
}

#[tokio::test]
async fn accepted_streams_carry_bytes_both_ways_and_write_vectored() {
    let folder = Folder::new();
    let path = folder.path("a");
    let (tcp_listener, unix_listener) = (bind("127.0.0.1:0"), bind(&format!("unix:{path}")));
    let mut over_tcp = TcpStream::connect(tcp(&tcp_listener)).unwrap();
    let mut over_unix = connect_unix(&path).unwrap();
    let (mut one, peer) = tcp_listener.accept().await.unwrap();
    assert!(one.as_tcp().unwrap().nodelay().unwrap());
    assert_eq!(peer.to_string(), over_tcp.local_addr().unwrap().to_string());
    let (mut other, peer) = unix_listener.accept().await.unwrap();
    assert_eq!(peer.to_string(), "unix:");
    assert_eq!(
        other.as_unix().unwrap().peer_cred().unwrap().pid(),
        Some(own_pid())
    );

    exchange(&mut one, &mut over_tcp).await;
    exchange(&mut other, &mut over_unix).await;
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

async fn exchange(stream: &mut Stream, client: &mut (impl Read + Write)) {
    assert!(stream.is_write_vectored());
    client.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
    let parts = [std::io::IoSlice::new(b"po"), std::io::IoSlice::new(b"ng")];
    assert_eq!(
        stream.write_vectored(&parts).await.unwrap(),
        4,
        "the second part was left out"
    );
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "pong");
}

#[tokio::test]
async fn nodelay_can_be_left_out() {
    let listener = HandoffListener::options()
        .nodelay(false)
        .bind("127.0.0.1:0")
        .unwrap();
    let _client = TcpStream::connect(tcp(&listener)).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(!stream.as_tcp().unwrap().nodelay().unwrap());
}

/// What had begun is taken, what comes after is refused, and nothing in between is reset.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sealed_listener_keeps_its_queue_and_lets_nobody_join_it() {
    let listener = bind("127.0.0.1:0");
    let addr = tcp(&listener);
    let mut before = tokio::net::TcpStream::connect(addr).await.unwrap();
    listener.seal();
    let after = tokio::spawn(tokio::net::TcpStream::connect(addr));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (mut taken, _) = listener.accept_queued().unwrap().unwrap();
    assert!(listener.accept_queued().unwrap().is_none());
    drop(listener);

    before.write_all(b"x").await.unwrap();
    assert_eq!(taken.read_u8().await.unwrap(), b'x');
    let refused = after.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_sealed_unix_listener_keeps_its_queue_and_has_no_path() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    let listener = bind(&format!("unix:{}", path.display()));
    let _before = UnixStream::connect(&path).unwrap();
    listener.seal();
    assert!(!path.exists());
    assert!(listener.accept_queued().unwrap().is_some());
}

/// Somebody else may accept from it, and would get no connection any more.
/// Whoever has looked the path up before it was removed comes to the socket like whoever knows its abstract name.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sealed_unix_listener_refuses_whoever_has_found_it_already() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("graceful-seal-{}", std::process::id());
    let listener = bind(&format!("unix:@{name}"));
    let addr = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _before = UnixStream::connect_addr(&addr).unwrap();
    listener.seal();
    let late = UnixStream::connect_addr(&addr).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(listener.accept_queued().unwrap().is_some());
    assert!(listener.accept_queued().unwrap().is_none());
}

#[tokio::test]
async fn a_listener_that_was_passed_is_not_sealed() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let listener = HandoffListener::from_fd(socket.try_clone().unwrap().into()).unwrap();
    listener.seal();
    let _client = tokio::net::TcpStream::connect(addr).await.unwrap();
    assert!(listener.accept_queued().unwrap().is_some());
}
