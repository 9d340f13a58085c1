//! The manager's store of descriptors: under what name a listener is put into it. Pure.

/// Tells what was stored from what the unit's socket units pass.
const MARK: &str = "graceful-";
/// The longest name the manager takes. sd_pid_notify_with_fds(3).
const LONGEST: usize = 255;

/// The name of a listener in the store. A colon separates names in `LISTEN_FDNAMES`, so it cannot
/// be in one, and nothing but printable ASCII may be. A name that came from the store stays.
pub(crate) fn stored_as(name: &str) -> String {
    if is_stored(name) {
        return name.to_owned();
    }
    let allowed = |c: char| {
        if matches!(c, ' '..='~') && c != ':' {
            c
        } else {
            '_'
        }
    };
    let mut stored = MARK.to_owned();
    stored.extend(name.chars().map(allowed).take(LONGEST - MARK.len()));
    stored
}

/// Whether a listener of that name came from the store.
pub(crate) fn is_stored(name: &str) -> bool {
    name.starts_with(MARK)
}

/// Whether that is a listener of this name. In the store a name is not written as it was given.
pub(crate) fn is_called(actual: &str, name: &str) -> bool {
    actual == name || (is_stored(actual) && actual == stored_as(name))
}

/// Without `FDPOLL=0` the manager may take a listener for dead and drop it.
pub(super) fn keep(name: &str) -> String {
    format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0")
}

pub(super) fn remove(name: &str) -> String {
    format!("FDSTOREREMOVE=1\nFDNAME={name}")
}
