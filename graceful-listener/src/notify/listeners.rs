//! Listeners in the descriptor store of the service manager.

use std::io;
use std::os::fd::AsFd;

use super::{Notify, store, stored_as};
use crate::inherited::unwanted;
use crate::listener::HandoffListener;

impl Notify {
    /// Stores listeners with the service manager, under their names. When this process crashes, the
    /// process that the unit's `Restart=` starts inherits them. Until then clients wait in the queue
    /// instead of being refused.
    ///
    /// A listener that this process inherited from the store and that is not in `listeners` is taken
    /// out of the store: the service manager would keep it open, and its clients would wait without a timeout.
    /// Call it when this process serves. The unit needs `FileDescriptorStoreMax=`.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send). Listeners that were sent before the error stay stored.
    ///
    /// # References
    ///
    /// [File Descriptor Store](https://systemd.io/FILE_DESCRIPTOR_STORE/)
    pub fn store(&self, listeners: &[&HandoffListener]) -> io::Result<()> {
        if !self.is_enabled() {
            return Ok(());
        }
        let names: Vec<_> = listeners.iter().map(|one| stored_as(one.name())).collect();
        for (listener, name) in listeners.iter().zip(&names) {
            self.address.send(&store::keep(name), &[listener.as_fd()])?;
        }
        let mut unwanted = unwanted();
        unwanted.retain(|name| !names.contains(name));
        self.forget(&unwanted)
    }

    /// Takes listeners out of the store, at the final shutdown: the service manager closes them.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn unstore(&self, listeners: &[&HandoffListener]) -> io::Result<()> {
        let names: Vec<_> = listeners.iter().map(|one| stored_as(one.name())).collect();
        self.forget(&names)
    }

    fn forget(&self, names: &[String]) -> io::Result<()> {
        names
            .iter()
            .try_for_each(|name| self.address.send(&store::remove(name), &[]))
    }
}
