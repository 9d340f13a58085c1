//! Bytes that were read before the server asked for them.

use tokio::io::ReadBuf;

#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ahead {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn prepend(&mut self, bytes: &[u8]) {
        let mut all = bytes.to_vec();
        all.extend_from_slice(self.rest());
        *self = Self {
            bytes: all,
            taken: 0,
        };
    }

    #[cold]
    pub(super) fn take_into(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = self.rest();
        let n = buf.remaining().min(rest.len());
        buf.put_slice(&rest[..n]);
        self.taken += n;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
