//! The keys that session tickets are sealed with: made, changed, handed on, and written down nowhere.
//!
//! rustls has a ticketer that changes its keys, but does not give them out, and so every ticket dies with its process.
//! The format of a ticket is the same: the key's name, a nonce, and what ChaCha20-Poly1305 makes of the session.

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};

/// How long a key seals new tickets, in seconds; for as long again it opens them.
pub(super) const PERIOD: u64 = 6 * 60 * 60;

const NAME: usize = 16;
const SECRET: usize = 32;
const UNTIL: usize = size_of::<u64>();

/// One key.
struct Key {
    name: [u8; NAME],
    secret: [u8; SECRET],
    aead: LessSafeKey,
}

impl Key {
    fn random() -> Result<Self, Unspecified> {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        SystemRandom::new().fill(&mut name)?;
        SystemRandom::new().fill(&mut secret)?;
        Self::new(name, secret)
    }

    fn new(name: [u8; NAME], secret: [u8; SECRET]) -> Result<Self, Unspecified> {
        let aead = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &secret)?);
        Ok(Self { name, secret, aead })
    }

    /// Which key, and for whom: sealed with the session, so that neither can be changed.
    fn aad(&self, scope: &str) -> Aad<Vec<u8>> {
        Aad::from([&self.name, scope.as_bytes()].concat())
    }

    fn seal(&self, scope: &str, session: &[u8]) -> Option<Vec<u8>> {
        // At random, as two generations seal with the same key while the old one drains.
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = session.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.aead
            .seal_in_place_append_tag(unique, self.aad(scope), &mut sealed)
            .ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, scope: &str, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket
            .strip_prefix(&self.name)?
            .split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut session = sealed.to_vec();
        let opened = self
            .aead
            .open_in_place(nonce, self.aad(scope), &mut session);
        let len = opened.ok()?.len();
        session.truncate(len);
        Some(session)
    }
}

/// The key that seals, and the one before it, which still opens. `now` is Unix time in seconds throughout: the only clock
/// that two generations share.
pub(super) struct Keys {
    current: Key,
    previous: Option<Key>,
    /// When the current key is to be replaced.
    until: u64,
}

impl Keys {
    pub(super) fn random(now: u64) -> Result<Self, Unspecified> {
        Ok(Self {
            current: Key::random()?,
            previous: None,
            until: now + PERIOD,
        })
    }

    /// Whether [`change`](Self::change) has something to do. A key from the future means that the clock was set back.
    pub(super) fn are_due(&self, now: u64) -> bool {
        now >= self.until || self.until > now + PERIOD
    }

    /// Replaces keys that are due. Without random numbers they stay: better an old key than none.
    pub(super) fn change(&mut self, now: u64) {
        let Ok(mut fresh) = Self::random(now) else {
            return;
        };
        std::mem::swap(self, &mut fresh);
        if now < fresh.until.saturating_add(PERIOD) {
            self.previous = Some(fresh.current);
        }
    }

    pub(super) fn seal(&self, scope: &str, session: &[u8]) -> Option<Vec<u8>> {
        self.current.seal(scope, session)
    }

    pub(super) fn open(&self, scope: &str, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter()
            .flatten()
            .find_map(|key| key.open(scope, ticket))
    }

    /// Everything, for the next generation: the time of the next change (big-endian), then name and secret of each key.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.until.to_be_bytes().to_vec();
        for key in [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
        {
            bytes.extend(key.name);
            bytes.extend(key.secret);
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made; `None` for anything else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (until, keys) = bytes.split_first_chunk::<UNTIL>()?;
        let (current, rest) = key_from(keys)?;
        let previous = match rest {
            [] => None,
            rest => match key_from(rest)? {
                (previous, []) => Some(previous),
                _ => return None,
            },
        };
        Some(Self {
            current,
            previous,
            until: u64::from_be_bytes(*until),
        })
    }
}

fn key_from(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<NAME>()?;
    let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
    Some((Key::new(*name, *secret).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn the_next_generation_opens_what_this_one_sealed() {
        let mut keys = Keys::random(NOW).unwrap();
        let tickets = [0, 1].map(|n| {
            keys.change(NOW + n * PERIOD);
            keys.seal("scope", b"session").unwrap()
        });
        let next = Keys::from_bytes(&keys.to_bytes()).unwrap();
        for ticket in tickets {
            assert_eq!(
                next.open("scope", &ticket).as_deref(),
                Some(&b"session"[..])
            );
        }
        assert_eq!(next.until, keys.until);
    }

    #[test]
    fn a_ticket_opens_in_its_scope_only_and_whole_only() {
        let keys = Keys::random(NOW).unwrap();
        let ticket = keys.seal("scope", b"session").unwrap();
        assert_eq!(keys.open("other scope", &ticket), None);
        for n in 0..ticket.len() {
            assert_eq!(keys.open("scope", &ticket[..n]), None, "{n} bytes");
            let mut forged = ticket.clone();
            forged[n] ^= 1;
            assert_eq!(keys.open("scope", &forged), None, "byte {n}");
        }
        assert_eq!(Keys::random(NOW).unwrap().open("scope", &ticket), None);
    }

    #[test]
    fn a_key_opens_for_two_periods_and_no_longer() {
        let mut keys = Keys::random(NOW).unwrap();
        let ticket = keys.seal("", b"session").unwrap();
        assert!(!keys.are_due(NOW + PERIOD - 1));
        assert!(keys.are_due(NOW + PERIOD));
        keys.change(NOW + PERIOD);
        assert!(keys.open("", &ticket).is_some());
        keys.change(NOW + 2 * PERIOD);
        assert!(keys.open("", &ticket).is_none());
    }

    #[test]
    fn keys_that_nobody_changed_in_time_are_forgotten_together() {
        let mut keys = Keys::random(NOW).unwrap();
        let ticket = keys.seal("", b"session").unwrap();
        keys.change(NOW + 2 * PERIOD);
        assert!(keys.open("", &ticket).is_none());
        assert!(keys.are_due(NOW), "the clock was set back");
    }

    #[test]
    fn what_is_not_keys_is_refused() {
        let bytes = Keys::random(NOW).unwrap().to_bytes();
        for n in 0..bytes.len() {
            assert!(Keys::from_bytes(&bytes[..n]).is_none(), "{n} bytes");
        }
        for more in [1, NAME + SECRET - 1, NAME + SECRET + 1] {
            let bytes = [&bytes[..], &vec![0; more]].concat();
            assert!(Keys::from_bytes(&bytes).is_none(), "{more} more");
        }
    }
}
