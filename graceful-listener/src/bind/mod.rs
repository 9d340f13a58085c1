//! Binding: a listening, non-blocking, close-on-exec socket at an address nobody holds.

mod bound;
mod options;
mod path;
mod tcp;
mod udp;
mod unix;

use crate::addr::ListenAddr;
use crate::error::ListenError;

pub(crate) use self::bound::Bound;
pub(crate) use self::options::SocketOptions;
pub(crate) use self::path::{BoundPath, Identity};
pub(crate) use self::udp::bind as bind_udp;

pub(crate) fn bind(addr: &ListenAddr, options: &SocketOptions) -> Result<Bound, ListenError> {
    match addr {
        ListenAddr::Tcp(tcp) => tcp::bind(*tcp, options),
        ListenAddr::Unix(path) => unix::bind(path, options),
    }
}
