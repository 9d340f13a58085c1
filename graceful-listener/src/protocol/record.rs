//! One listener, or another descriptor, as it is described to the next generation. Its key is
//! (name, index): the address alone does not tell two listeners of an SO_REUSEPORT group apart.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::codec::{Malformed, Reader, Writer};
use crate::bind::Identity;

/// The control socket's name among the listeners. `from_env` without a name does not mean it.
pub(crate) const CONTROL: &str = "control@graceful";
/// The prefix of the names of channels to workers, when a supervisor executes itself anew.
pub(crate) const WORKER: &str = "graceful-worker";
/// The channel to the worker that is relieved. It is delivered behind all listeners. A process of an older release closes
/// it with the listeners that it does not claim.
pub(crate) const RELIEVED: &str = "graceful-relieved";

/// What it is. In a frame: 1 TCP, 2 Unix, 3 UDP, 4 any descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Tcp(std::net::SocketAddr),
    /// With the identity of the path if removing it one day is up to the server, and not to
    /// whoever passed the socket to its first generation.
    Unix {
        path: std::path::PathBuf,
        ours: Option<Identity>,
    },
    Udp(std::net::SocketAddr),
    /// A descriptor of which nothing is known but its name.
    Plain,
    /// A kind of a later version. Its descriptor is closed with the unclaimed ones.
    Unknown {
        kind: u8,
        address: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    /// Counts the listeners of the same name.
    pub(crate) index: u32,
    pub(crate) socket: Socket,
}

impl Record {
    /// Whether clients come to it.
    pub(crate) fn serves(&self) -> bool {
        let socket = matches!(
            self.socket,
            Socket::Tcp(_) | Socket::Unix { .. } | Socket::Udp(_)
        );
        socket && self.name != CONTROL
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.bytes(self.name.as_bytes()).u32(self.index);
        match &self.socket {
            Socket::Tcp(addr) => w.u8(1).bytes(addr.to_string().as_bytes()),
            Socket::Unix { path, .. } => w.u8(2).bytes(path.as_os_str().as_bytes()),
            Socket::Udp(addr) => w.u8(3).bytes(addr.to_string().as_bytes()),
            Socket::Plain => w.u8(4).bytes(&[]),
            Socket::Unknown { kind, address } => w.u8(*kind).bytes(address),
        };
        let ours = match self.socket {
            Socket::Unix { ours, .. } => ours,
            _ => None,
        };
        let identity = ours.unwrap_or(Identity { dev: 0, ino: 0 });
        w.u8(ours.is_some().into())
            .u64(identity.dev)
            .u64(identity.ino);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (name, index) = (r.string()?, r.u32()?);
        let (kind, address) = (r.u8()?, r.bytes()?);
        let ours = r.u8()? != 0;
        let identity = Identity {
            dev: r.u64()?,
            ino: r.u64()?,
        };
        let socket = match kind {
            1 => Socket::Tcp(ip(&address).ok_or("the address of a TCP listener is none")?),
            2 => Socket::Unix {
                path: OsStr::from_bytes(&address).into(),
                ours: ours.then_some(identity),
            },
            3 => Socket::Udp(ip(&address).ok_or("the address of a UDP socket is none")?),
            4 => Socket::Plain,
            _ => Socket::Unknown { kind, address },
        };
        Ok(Self {
            name,
            index,
            socket,
        })
    }

    /// How many bytes it takes in a frame.
    pub(crate) fn size(&self) -> usize {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.0.len()
    }
}

fn ip(address: &[u8]) -> Option<std::net::SocketAddr> {
    std::str::from_utf8(address).ok()?.parse().ok()
}
