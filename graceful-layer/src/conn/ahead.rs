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

    /// Returns whether it skipped any.
    pub(super) fn skip_empty_lines(&mut self) -> bool {
        let lines = empty_lines(self.rest());
        self.taken += lines;
        lines > 0
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

/// The length of the empty lines at the beginning of `bytes`. A bare LF may end a line (RFC 9112 §2.2).
fn empty_lines(bytes: &[u8]) -> usize {
    let mut lines = 0;
    loop {
        lines += match bytes[lines..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return lines,
        };
    }
}

/// Whether no message of HTTP/1 begins in `bytes`: they are empty lines, perhaps with half of an empty line at the end.
#[inline]
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    match bytes {
        [first, ..] if *first > b'\r' => false,
        _ => matches!(bytes[empty_lines(bytes)..], [] | [b'\r']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_and_half_an_empty_line_are_blank_and_all_else_begins_a_message() {
        for blank in ["", "\r", "\n", "\r\n", "\n\r\n\n", "\r\n\r\n\r"] {
            assert!(is_blank(blank.as_bytes()), "{blank:?}");
        }
        for begun in ["G", "\r\r", "\rG", "\r\n\r\nG", "\n ", "\0", "\t\r\n"] {
            assert!(!is_blank(begun.as_bytes()), "{begun:?}");
        }
    }

    #[test]
    fn only_whole_lines_are_skipped() {
        let mut ahead = Ahead::default();
        ahead.append(b"\n\r\n\r");
        assert!(ahead.skip_empty_lines());
        assert_eq!(ahead.rest(), b"\r");
        ahead.append(b"\nGET");
        assert!(ahead.skip_empty_lines());
        assert_eq!(ahead.rest(), b"GET");
        assert!(!ahead.skip_empty_lines());
    }
}
