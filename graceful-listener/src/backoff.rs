//! Patience with accept errors, for servers whose listener interface has no errors.

use std::io;
use std::time::Duration;

use crate::listener::HandoffListener;
use crate::peer::PeerAddr;
use crate::stream::Stream;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Accepts until it works. What failed with one connection is of no concern to the next, so that
/// is tried at once; what the process has run out of (EMFILE, ENFILE, ENOBUFS, ENOMEM) is waited
/// for, from 10 ms to one second. Returns an error only where waiting helps nothing.
pub(crate) async fn accept(listener: &HandoffListener) -> io::Result<(Stream, PeerAddr)> {
    let mut delay = FIRST;
    loop {
        match listener.accept().await {
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if is_lack_of_resources(&error) => {
                tokio::time::sleep(delay).await;
                delay = LONGEST.min(delay * 2);
            }
            result => return result,
        }
    }
}

/// accept(2) passes errors of the new connection on, which are to be treated like EAGAIN.
fn is_of_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    let passed_on = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::PERM,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
    ];
    errno.is_some_and(|errno| passed_on.contains(&errno))
}

fn is_lack_of_resources(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    errno.is_some_and(|errno| lacking.contains(&errno))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn each_error_is_of_one_kind() {
        let of = |errno: Errno| io::Error::from(errno);
        assert!(is_of_one_connection(&of(Errno::CONNABORTED)));
        assert!(is_lack_of_resources(&of(Errno::MFILE)));
        for fatal in [Errno::BADF, Errno::INVAL] {
            assert!(!is_of_one_connection(&of(fatal)) && !is_lack_of_resources(&of(fatal)));
        }
        assert!(!is_lack_of_resources(&io::Error::other("aborted")));
    }
}
