//! What the two processes say first: who they are, and, the old one, which listeners it has.

use std::collections::HashMap;
use std::sync::Arc;

use crate::carried::Carry;
use crate::error::HandoffError;
use crate::link::FDS_A_MESSAGE;
use crate::link::channel::Parcel;
use crate::protocol::frame::{CAP, Frame, Hello, VERSIONS};
use crate::protocol::record::Record;

/// A record is at most a name of 255 bytes, a path of 4096 and some numbers, so that one more
/// always fits into what is left of the cap.
const FULL: usize = CAP - 8 * 1024;

pub(crate) fn hello(generation: u32) -> Hello {
    Hello {
        versions: VERSIONS,
        pid: std::process::id(),
        generation,
    }
}

/// Whether there is a version that both sides speak. There is only one so far.
pub(crate) fn agree(theirs: &Hello) -> Result<(), HandoffError> {
    match hello(0).common(theirs) {
        Some(_) => Ok(()),
        None => {
            let (min, max) = theirs.versions;
            let what = format!("its versions {min} to {max} are all unknown here");
            Err(HandoffError::protocol(what))
        }
    }
}

/// HELLO, then LISTENERS in as many frames as the limits of one message make necessary, at
/// least one. State and DELIVERED follow.
pub(super) fn introduction(generation: u32, listeners: &[Arc<dyn Carry>]) -> Vec<Parcel> {
    let total = u32::try_from(listeners.len()).unwrap_or(u32::MAX);
    let mut parcels = vec![(Frame::Hello(hello(generation)), Vec::new())];
    let (mut records, mut fds, mut size) = (Vec::new(), Vec::new(), 0);
    for (listener, record) in listeners.iter().zip(records_of(listeners)) {
        if records.len() == FDS_A_MESSAGE || size > FULL {
            let records = std::mem::take(&mut records);
            parcels.push((
                Frame::Listeners { total, records },
                std::mem::take(&mut fds),
            ));
            size = 0;
        }
        size += record.size();
        records.push(record);
        fds.push(listener.socket());
    }
    parcels.push((Frame::Listeners { total, records }, fds));
    parcels
}

/// Numbers the listeners of each name, in their order.
fn records_of(listeners: &[Arc<dyn Carry>]) -> impl Iterator<Item = Record> + use<'_> {
    let mut counts = HashMap::<&str, u32>::new();
    listeners.iter().map(move |listener| {
        let count = counts.entry(listener.name()).or_default();
        let index = *count;
        *count += 1;
        Record {
            name: listener.name().to_owned(),
            index,
            socket: listener.description(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::ListenAddr;
    use crate::carried::Provenance;
    use crate::listener::HandoffListener;

    /// The records of each LISTENERS frame.
    fn batches(listeners: &[HandoffListener]) -> Vec<Vec<Record>> {
        let shared: Vec<_> = listeners
            .iter()
            .map(|one| Arc::clone(one.shared()) as Arc<dyn Carry>)
            .collect();
        let parcels = introduction(0, &shared);
        assert!(matches!(parcels[0].0, Frame::Hello(_)));
        let batches = parcels.into_iter().skip(1).map(|(frame, fds)| {
            assert!(frame.encode().len() <= CAP);
            let Frame::Listeners { total, records } = frame else {
                panic!("{frame:?}");
            };
            assert_eq!(
                (total as usize, fds.len()),
                (listeners.len(), records.len())
            );
            records
        });
        batches.collect()
    }

    #[test]
    fn no_listener_makes_one_empty_frame() {
        assert_eq!(batches(&[]), [vec![]]);
    }

    #[test]
    fn listeners_are_numbered_by_name_and_sent_64_at_a_time() {
        let names = ["a", "b"].iter().cycle().take(130);
        let listeners: Vec<_> = names
            .map(|name| {
                HandoffListener::options()
                    .name(*name)
                    .bind("127.0.0.1:0")
                    .unwrap()
            })
            .collect();
        let batches = batches(&listeners);
        assert_eq!(
            batches.iter().map(Vec::len).collect::<Vec<_>>(),
            [64, 64, 2]
        );
        for (number, record) in (0..).zip(batches.iter().flatten()) {
            assert_eq!(record.name, if number % 2 == 0 { "a" } else { "b" });
            assert_eq!(record.index, number / 2);
        }
    }

    #[test]
    fn listeners_with_long_paths_are_sent_as_fit_into_a_frame() {
        let listeners: Vec<_> = (0..64)
            .map(|_| {
                let addr = ListenAddr::Unix("x".repeat(4096).into());
                let fd = std::os::unix::net::UnixStream::pair().unwrap().0.into();
                HandoffListener::new("x".repeat(255), addr, fd, None, Provenance::Own, true)
            })
            .collect();
        let batches = batches(&listeners);
        assert!(batches.len() > 1);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 64);
    }
}
