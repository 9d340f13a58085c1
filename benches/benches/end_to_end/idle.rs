//! Many idle connections, and a client that closes each as soon as the server does.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use graceful_benches::wire::{Client, Protocol};
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags, add, create, wait};

/// Opens `n` connections, one after the other; each has had one answer.
pub(super) fn open(addr: SocketAddr, n: usize) -> io::Result<Vec<TcpStream>> {
    open_paced(addr, n, Duration::ZERO)
}

/// The same, with no more than one for each `pace`.
pub(super) fn open_paced(addr: SocketAddr, n: usize, pace: Duration) -> io::Result<Vec<TcpStream>> {
    let began = Instant::now();
    (0..n)
        .map(|at| {
            let due = began + pace * u32::try_from(at).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut client = Client::connect(addr, Protocol::Http1)?;
            client.request(false)?;
            Ok(client.into_stream())
        })
        .collect()
}

/// Closes every connection when the server has closed it, as clients do. Ends when all are closed.
pub(super) fn close_when_closed(streams: Vec<TcpStream>) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let epoll = create(CreateFlags::CLOEXEC)?;
        for (at, stream) in (0..).zip(&streams) {
            add(
                &epoll,
                stream.as_fd(),
                EventData::new_u64(at),
                EventFlags::IN,
            )?;
        }
        let mut open: Vec<_> = streams.into_iter().map(Some).collect();
        let mut left = open.len();
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = vec![none; 1024];
        while left > 0 {
            let n = wait(&epoll, &mut events[..], None)?;
            for event in &events[..n] {
                let slot = &mut open[event.data.u64() as usize];
                // An end or a reset: no answer is owed.
                if slot
                    .as_mut()
                    .is_some_and(|stream| stream.read(&mut [0]).is_ok_and(|n| n > 0))
                {
                    continue;
                }
                left -= usize::from(slot.take().is_some());
            }
        }
        Ok(())
    })
}
