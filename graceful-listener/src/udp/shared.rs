//! The mechanism behind the handles: one socket, and whose turn it is to receive from it. Guards
//! laws 9 and 10.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use tokio::net::UdpSocket;
use tokio::task::coop::consume_budget;

use crate::carried::Carry;
use crate::handoff::{self, Origin};
use crate::listener::Gate;
use crate::protocol::record::Socket;

#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    addr: SocketAddr,
    gate: Gate,
    /// A duplicate that is registered with the runtime, made at the first use so that sockets can
    /// be had before there is one.
    registered: OnceLock<UdpSocket>,
    socket: Arc<OwnedFd>,
}

impl Shared {
    pub(super) fn new(name: String, addr: SocketAddr, socket: OwnedFd) -> Self {
        Origin::recorded();
        Self {
            name,
            addr,
            gate: Gate::default(),
            registered: OnceLock::new(),
            socket: Arc::new(socket),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn is_handed_over(&self) -> bool {
        !self.gate.is_open()
    }

    /// Cancel safe: nothing is waited for between receiving and returning. The budget is as for
    /// accepting.
    pub(super) async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        handoff::ready().await?;
        loop {
            self.gate.opened().await;
            consume_budget().await;
            let socket = self.registered()?;
            socket.readable().await?;
            if self.is_handed_over() {
                continue;
            }
            match socket.try_recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    pub(super) async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.registered()?.send_to(datagram, peer).await
    }

    /// Of two that are made in the same instant one is dropped, and with it its registration.
    fn registered(&self) -> io::Result<&UdpSocket> {
        if let Some(socket) = self.registered.get() {
            return Ok(socket);
        }
        let socket = UdpSocket::from_std(self.socket.try_clone()?.into())?;
        Ok(self.registered.get_or_init(|| socket))
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carry for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    fn description(&self) -> Socket {
        Socket::Udp(self.addr)
    }

    fn hand_over(&self) {
        self.gate.close();
    }

    fn reclaim(&self) {
        self.gate.open();
    }
}
