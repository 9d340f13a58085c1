//! What becomes of clients that wait in the queue of a listener when it closes: of one in an
//! SO_REUSEPORT group, and of one that another process has, too. docs/reuseport.md has the
//! results, and how to run it with `net.ipv4.tcp_migrate_req` on.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use graceful_listener::HandoffListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CLIENTS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let migrate = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    println!(
        "tcp_migrate_req={}",
        migrate.as_deref().map_or("absent", str::trim)
    );

    let group = HandoffListener::options().reuse_port(true);
    let old = group.bind("127.0.0.1:0")?;
    let new = group.bind(old.local_addr())?;
    report("a sibling in an SO_REUSEPORT group", old, new).await?;

    let old = HandoffListener::bind("127.0.0.1:0")?;
    // What the successor gets is a duplicate like this one.
    let new = HandoffListener::from_fd(old.as_fd().try_clone_to_owned()?)?;
    report("a duplicate, as it is inherited", old, new).await
}

/// Fills the queues, closes `old`, serves from `new`, and prints what the clients saw.
async fn report(what: &str, old: HandoffListener, new: HandoffListener) -> io::Result<()> {
    let addr = old
        .local_addr()
        .as_tcp()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let clients = (0..CLIENTS)
        .map(|_| request(addr))
        .collect::<io::Result<Vec<_>>>()?;
    drop(old);
    while let Some((mut stream, _)) = new.accept_queued()? {
        stream.read_exact(&mut [0; 4]).await?;
        stream.write_all(b"pong").await?;
    }
    let answered = clients
        .into_iter()
        .filter_map(|client| answer(client).ok())
        .count();
    println!("{what}: {answered} answered, {} lost", CLIENTS - answered);
    Ok(())
}

/// Connects and sends a request, which waits in the queue.
fn request(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"ping")?;
    Ok(client)
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.read_exact(&mut [0; 4])
}
