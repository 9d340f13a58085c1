//! The listener of `axum::serve`.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use crate::backoff;
use crate::listener::HandoffListener;
use crate::peer::PeerAddr;
use crate::stream::Stream;

/// Accepts for [`axum::serve`](axum::serve()), where accepting cannot fail: errors of one
/// connection are passed over, a lack of descriptors or memory is waited out, from 10 ms to one
/// second. If this process is not to serve at all, because its predecessor called the hand-over
/// off, it waits for ever: the predecessor ends it.
impl Listener for HandoffListener {
    type Io = Stream;
    type Addr = PeerAddr;

    async fn accept(&mut self) -> (Stream, PeerAddr) {
        match backoff::accept(self).await {
            Ok(accepted) => accepted,
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<PeerAddr> {
        Ok(self.local_addr().into())
    }
}

/// For `into_make_service_with_connect_info::<PeerAddr>()`.
impl Connected<IncomingStream<'_, HandoffListener>> for PeerAddr {
    fn connect_info(stream: IncomingStream<'_, HandoffListener>) -> Self {
        stream.remote_addr().clone()
    }
}
