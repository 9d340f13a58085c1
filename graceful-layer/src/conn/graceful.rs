//! What a connection future must be able to do to be told of a drain.

use std::pin::Pin;

/// A connection future that can be asked to end after what is open.
///
/// Implemented for hyper's and hyper-util's server connections (feature `hyper`). Open for your own.
pub trait GracefulConnection: Future {
    /// Asks the connection to take no more requests after those it has.
    ///
    /// Called at most once, and only on connections that speak HTTP/2: an HTTP/1 connection is ended by its last
    /// answer or by the I/O wrapper, which lose no request that hyper's own shutdown would
    /// (hyperium/hyper#3792).
    fn graceful_shutdown(self: Pin<&mut Self>);
}
