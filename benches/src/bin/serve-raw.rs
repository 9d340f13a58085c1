//! A server that is nothing but epoll, and whose end is the kernel's: the floor under every drain.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
};

use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags, add, create, wait};

use graceful_benches::{
    process::raise_limit,
    server::{BoxError, listener, say_ready},
};

const LISTENER: u64 = u64::MAX;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Answers every read. SIGTERM has its default action.
fn main() -> Result<(), BoxError> {
    raise_limit()?;
    let listener = listener()?;
    let epoll = create(CreateFlags::CLOEXEC)?;
    add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    say_ready()?;
    let mut streams: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = [Event {
        flags: EventFlags::empty(),
        data: EventData::new_u64(0),
    }; 256];
    loop {
        let n = wait(&epoll, &mut events, None)?;
        for event in &events[..n] {
            let key = event.data.u64();
            if key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let key = stream.as_raw_fd() as u64;
                    add(&epoll, &stream, EventData::new_u64(key), EventFlags::IN)?;
                    streams.insert(key, stream);
                }
            } else if streams
                .get_mut(&key)
                .is_none_or(|stream| answer(stream).is_err())
            {
                streams.remove(&key);
            }
        }
    }
}

fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    match stream.read(&mut bytes)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => stream.write_all(ANSWER),
    }
}
