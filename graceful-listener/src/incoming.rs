//! A listener as a stream of connections.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::backoff;
use crate::listener::HandoffListener;
use crate::peer::PeerAddr;
use crate::stream::Stream;

/// The connections of a listener, from [`HandoffListener::incoming`]. It never ends.
///
/// It does not pass on the errors of accept(2) that pass by: tonic would end its server when the
/// process runs out of descriptors for a moment. An item is an error only if this process is not
/// to serve at all, see [`ready`](crate::ready).
///
/// Clone the listener before, if it is to be handed over.
///
/// # Examples
///
/// ```no_run
/// # #[cfg(feature = "tonic")]
/// # async fn serve(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
/// use graceful_listener::HandoffListener;
///
/// let listener = HandoffListener::from_env_or_bind("127.0.0.1:50051")?;
/// tonic::transport::Server::builder()
///     .add_routes(routes)
///     .serve_with_incoming(listener.incoming())
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct Incoming {
    listener: HandoffListener,
    accepting: Accepting,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(Stream, PeerAddr)>> + Send>>;

impl HandoffListener {
    /// Returns the connections as a stream that never ends, for tonic's `serve_with_incoming`.
    pub fn incoming(self) -> Incoming {
        Incoming::new(self)
    }
}

impl Incoming {
    pub(crate) fn new(listener: HandoffListener) -> Self {
        let accepting = accept(&listener);
        Self {
            listener,
            accepting,
        }
    }

    /// Returns the listener.
    pub fn get_ref(&self) -> &HandoffListener {
        &self.listener
    }

    /// Returns the listener.
    pub fn into_inner(self) -> HandoffListener {
        self.listener
    }
}

impl futures_core::Stream for Incoming {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.accepting.as_mut().poll(cx));
        self.accepting = accept(&self.listener);
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

fn accept(listener: &HandoffListener) -> Accepting {
    let listener = listener.clone();
    Box::pin(async move { backoff::accept(&listener).await })
}
