//! What tonic asks of a connection.

use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::stream::Stream;

/// As for tokio's `TcpStream`, so `Request::remote_addr` works. A client of a Unix socket has no
/// such address.
impl Connected for Stream {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Self::Tcp(stream) => stream.connect_info(),
            Self::Unix(_) => TcpConnectInfo {
                local_addr: None,
                remote_addr: None,
            },
        }
    }
}
