//! The maps that people keep connections in.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use dashmap::DashMap;

use crate::register::Register;

/// What the tracker keeps of a connection, as a plain struct.
#[derive(Clone, Copy, Debug)]
struct Entry {
    state: usize,
    since: u32,
    opened: u32,
    requests: u64,
    peer: SocketAddr,
}

impl Entry {
    fn new() -> Self {
        Self {
            state: 1,
            since: 0,
            opened: 0,
            requests: 0,
            peer: SocketAddr::from(([127, 0, 0, 1], 80)),
        }
    }

    fn change(&mut self, on: bool) {
        self.state = usize::from(!on);
        self.since += 1;
    }

    /// Something that needs all of it, so that copying it cannot be left out.
    fn touch(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.opened, self.requests, self.peer.port()).hash(&mut hasher);
        hasher.finish()
    }
}

/// A `DashMap`.
#[derive(Debug)]
pub struct Dash {
    map: DashMap<u64, Entry>,
    snapshot: Vec<(u64, Entry)>,
}

impl Register for Dash {
    fn with(n: usize) -> Self {
        Self {
            map: (0..n as u64).map(|id| (id, Entry::new())).collect(),
            snapshot: Vec::new(),
        }
    }

    fn come_and_go(&mut self) {
        self.map.insert(u64::MAX, Entry::new());
        black_box(self.map.remove(&u64::MAX));
    }

    fn change(&mut self, at: usize, on: bool) {
        if let Some(mut entry) = self.map.get_mut(&(at as u64)) {
            entry.change(on);
        }
    }

    fn count(&mut self) -> usize {
        let mut counts = [0; 5];
        self.map.iter().for_each(|entry| counts[entry.state] += 1);
        counts.iter().sum()
    }

    fn snapshot(&mut self) -> usize {
        self.snapshot.clear();
        let entries = self.map.iter().map(|entry| (*entry.key(), *entry.value()));
        self.snapshot.extend(entries);
        black_box(self.snapshot.last().map(|last| last.1.touch()));
        self.snapshot.len()
    }
}

/// A `HashMap` under one lock.
#[derive(Debug)]
pub struct Locked {
    map: Mutex<HashMap<u64, Entry>>,
    snapshot: Vec<(u64, Entry)>,
}

impl Locked {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Entry>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register for Locked {
    fn with(n: usize) -> Self {
        Self {
            map: Mutex::new((0..n as u64).map(|id| (id, Entry::new())).collect()),
            snapshot: Vec::new(),
        }
    }

    fn come_and_go(&mut self) {
        self.map().insert(u64::MAX, Entry::new());
        black_box(self.map().remove(&u64::MAX));
    }

    fn change(&mut self, at: usize, on: bool) {
        if let Some(entry) = self.map().get_mut(&(at as u64)) {
            entry.change(on);
        }
    }

    fn count(&mut self) -> usize {
        let mut counts = [0; 5];
        self.map()
            .values()
            .for_each(|entry| counts[entry.state] += 1);
        counts.iter().sum()
    }

    fn snapshot(&mut self) -> usize {
        let Self { map, snapshot } = self;
        // As others would: they have no exclusive access.
        let shared: &Mutex<_> = map;
        let map = shared.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.clear();
        snapshot.extend(map.iter().map(|(&id, &entry)| (id, entry)));
        black_box(snapshot.last().map(|last| last.1.touch()));
        snapshot.len()
    }
}
