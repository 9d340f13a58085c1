//! Follows the frames that an HTTP/2 client sends: where another frame is legal, and whether the client has answered the
//! PING of our GOAWAY.
//!
//! h2 sends its second GOAWAY only after the client's PONG and waits for that PONG without a timeout. Neither h2 nor hyper
//! has a call that sends it earlier (hyperium/hyper#4170; hyper 1.12 offers only `graceful_shutdown`). Without the second
//! GOAWAY the client does not learn which of its streams will not be served. So after a second the I/O wrapper inserts the
//! missing PONG into the bytes that hyper reads. It does so only where RFC 9113 allows a frame: behind the client's first
//! frame, at the end of a frame, and not between HEADERS and its last CONTINUATION (§3.4, §4.3, §6.10).

/// What a client sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The PONG to the PING that h2 sends with its first GOAWAY: h2's fixed payload.
pub(super) const PONG: [u8; HEADER + 8] =
    *b"\0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

/// Finds out, from the first bytes of a client, whether it speaks HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// So many bytes of it are there, and nothing else.
    Matched(u8),
    /// It was something else.
    Missing,
}

impl Preface {
    /// Of nothing that was read.
    pub(super) const NONE: Self = Self::Matched(0);

    /// Takes the next bytes. Returns those behind the preface, once it is complete.
    pub(super) fn follow<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Self::Matched(have) = *self else {
            return None;
        };
        let rest = &PREFACE[usize::from(have)..];
        let n = rest.len().min(bytes.len());
        *self = match bytes[..n] == rest[..n] {
            true => Self::Matched(have + n as u8),
            false => Self::Missing,
        };
        (n == rest.len() && *self != Self::Missing).then(|| &bytes[n..])
    }
}

/// Follows the frames of one direction, behind the preface. Costs a few steps per frame, nothing per byte.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// How much of the next header is there.
    have: usize,
    /// How much of the current frame's payload is still to come.
    rest: usize,
    /// The last frame began or continued a header block, which a CONTINUATION still has to end.
    in_block: bool,
    /// How many bytes there have been.
    seen: u64,
    /// In the payload of a PONG that is the answer so far: how much of it is there.
    pong: Option<usize>,
    ponged: bool,
}

impl Frames {
    #[inline]
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        let rest = match self.is_at_boundary() && !self.in_block {
            true => skip_whole(bytes),
            false => bytes,
        };
        if !rest.is_empty() {
            self.follow_parts(rest);
        }
    }

    fn follow_parts(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skip = self.rest.min(bytes.len());
            self.compare(&bytes[..skip]);
            self.rest -= skip;
            bytes = &bytes[skip..];
            let take = (HEADER - self.have).min(bytes.len());
            if self.rest > 0 || take == 0 {
                continue;
            }
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEADER {
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.rest = length([a, b, c]);
        self.have = 0;
        self.pong = (kind == PING && flags & ACK != 0).then_some(0);
        if carries_block(kind) {
            self.in_block = flags & END_HEADERS == 0;
        }
    }

    /// Holds a part of a PONG's payload against the answer: others are to hyper's keep-alive PINGs, or to nothing.
    fn compare(&mut self, part: &[u8]) {
        let Some(have) = self.pong else {
            return;
        };
        let same = PONG[HEADER + have..].starts_with(part);
        let have = have + part.len();
        self.ponged |= same && HEADER + have == PONG.len();
        self.pong = (same && HEADER + have < PONG.len()).then_some(have);
    }

    /// What came before the PING is no answer to it.
    pub(super) fn forget_pong(&mut self) {
        self.ponged = false;
    }

    fn is_at_boundary(&self) -> bool {
        self.rest == 0 && self.have == 0
    }

    /// Whether the client could send any frame here: its SETTINGS have come, and neither a frame nor a header block is
    /// incomplete.
    pub(super) fn allows_frame(&self) -> bool {
        self.is_at_boundary() && !self.in_block && self.seen > 0
    }

    /// Whether the client has sent a part of a frame or of a header block, and not the rest.
    pub(super) fn is_incomplete(&self) -> bool {
        self.in_block || !self.is_at_boundary()
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn has_ponged(&self) -> bool {
        self.ponged
    }
}

/// Skips the frames that are complete, are no PINGs, and leave no header block open. Nearly every read holds nothing else.
#[inline]
fn skip_whole(mut bytes: &[u8]) -> &[u8] {
    while let [a, b, c, kind, flags, _, _, _, _, behind @ ..] = bytes {
        let opens_block = carries_block(*kind) && *flags & END_HEADERS == 0;
        match behind.get(length([*a, *b, *c])..) {
            Some(next) if *kind != PING && !opens_block => bytes = next,
            _ => break,
        }
    }
    bytes
}

#[inline]
fn carries_block(kind: u8) -> bool {
    matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION)
}

/// Of a frame's payload.
#[inline]
fn length([a, b, c]: [u8; 3]) -> usize {
    u32::from_be_bytes([0, a, b, c]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\
        \0\0\x04\x08\0\0\0\0\0\0\0\0\x01\
        \0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

    #[test]
    fn boundaries_are_found_however_the_bytes_come() {
        let ends = [24, 33, 46, 63];
        for step in 1..=CLIENT.len() {
            let mut preface = Preface::Matched(0);
            let mut frames = Frames::default();
            let mut seen = 0;
            for part in CLIENT.chunks(step) {
                let behind = if seen < 24 {
                    preface.follow(part)
                } else {
                    Some(part)
                };
                frames.follow(behind.unwrap_or_default());
                seen += part.len();
                let allowed = seen > 24 && ends.contains(&seen);
                assert_eq!(frames.allows_frame(), allowed, "after {seen} by {step}");
                assert_eq!(frames.has_ponged(), seen == 63, "after {seen} by {step}");
            }
            frames.forget_pong();
            assert!(!frames.has_ponged());
        }
    }

    #[test]
    fn another_pong_is_not_the_answer() {
        for last in [b'\x53', b'\x55'] {
            let mut other = PONG;
            other[PONG.len() - 1] = last;
            for step in 1..=other.len() {
                let mut frames = Frames::default();
                other.chunks(step).for_each(|part| frames.follow(part));
                assert!(frames.allows_frame() && !frames.has_ponged(), "by {step}");
            }
        }
    }

    /// Flags: END_STREAM is 1, END_HEADERS 4, PADDED 8, PRIORITY 32. Only END_HEADERS ends a header block.
    #[test]
    fn between_headers_and_the_last_continuation_no_frame_is_allowed() {
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
            [&head[..], payload].concat()
        };
        let settings = frame(4, 0, b"");
        for (kind, first, continuations) in [
            (HEADERS, 0x01, &[0x04][..]),
            (HEADERS, 0x29, &[0x00, 0x01, 0x04]),
            (HEADERS, 0x20, &[0x08, 0x04]),
            (PUSH_PROMISE, 0x00, &[0x04]),
        ] {
            let mut bytes = [&settings[..], &frame(kind, first, b"\x82\x86")].concat();
            let open_from = settings.len();
            for flags in continuations {
                bytes.extend(frame(CONTINUATION, *flags, b"\x84"));
            }
            let open_until = bytes.len();
            bytes.extend(frame(0, 1, b"body"));
            for step in 1..=bytes.len() {
                let (mut frames, mut seen) = (Frames::default(), 0);
                for part in bytes.chunks(step) {
                    frames.follow(part);
                    seen += part.len();
                    let allowed = [open_from, open_until, bytes.len()].contains(&seen);
                    assert_eq!(frames.allows_frame(), allowed, "after {seen} by {step}");
                }
            }
        }
    }

    #[test]
    fn what_only_begins_like_the_preface_is_something_else() {
        for other in [&b"PRI /x HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.1", b"POST"] {
            for step in 1..=other.len() {
                let mut preface = Preface::Matched(0);
                assert!(
                    other
                        .chunks(step)
                        .all(|part| preface.follow(part).is_none())
                );
                assert_eq!(preface, Preface::Missing, "{other:?} by {step}");
            }
        }
    }

    #[test]
    fn the_pong_is_one_whole_frame() {
        assert_eq!(PONG, CLIENT[46..]);
    }
}
