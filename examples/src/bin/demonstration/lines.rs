//! What the server says: its lines on standard output, and the end of what it wrote to standard
//! error.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A line of standard output that means something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Listening(SocketAddr),
    Ready { pid: i32, generation: u32 },
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        if let Some(address) = line.strip_prefix("listening ") {
            return address.trim().parse().ok().map(Self::Listening);
        }
        let (pid, generation) = line
            .strip_prefix("ready pid=")?
            .split_once(" generation=")?;
        let (pid, generation) = (pid.parse().ok()?, generation.trim().parse().ok()?);
        Some(Self::Ready { pid, generation })
    }
}

/// Sends the lines on, and ends when the last generation has closed the pipe.
pub(crate) fn follow(stdout: OwnedFd) -> io::Result<mpsc::Receiver<Line>> {
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(stdout)?).lines();
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let Some(line) = Line::parse(&line) else {
                continue;
            };
            if sender.send(line).await.is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// The last lines of a log that nobody reads unless something goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Tail(watch::Receiver<VecDeque<String>>);

impl Tail {
    pub(crate) fn follow(stderr: OwnedFd) -> io::Result<Self> {
        let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(stderr)?).lines();
        let (sender, receiver) = watch::channel(VecDeque::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|kept| keep(kept, line));
            }
        });
        Ok(Self(receiver))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().iter().cloned().collect()
    }

    /// Waits a moment for the end of the log, for the last words of a process that has just ended.
    pub(crate) async fn complete(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.0.wait_for(|_| false)).await;
    }
}

fn keep(kept: &mut VecDeque<String>, line: String) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(line);
}

const KEPT: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_lines_of_the_server_are_understood_and_no_others() {
        let address = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(
            Line::parse("listening 127.0.0.1:4711"),
            Some(Line::Listening(address))
        );
        let ready = Line::Ready {
            pid: 12,
            generation: 3,
        };
        assert_eq!(Line::parse("ready pid=12 generation=3"), Some(ready));
        for line in [
            "",
            "ready",
            "ready pid=x generation=1",
            "listening unix:/tmp/s",
            "hello",
        ] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let mut kept = VecDeque::new();
        (0..KEPT + 2).for_each(|line| keep(&mut kept, line.to_string()));
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT, "2"));
    }
}
