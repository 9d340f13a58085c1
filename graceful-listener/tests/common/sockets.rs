//! The role of a server with sockets of every kind, named `NAME=ADDRESS`. `UDP` are echoed with
//! the generation before each datagram; the one that is `restart ..` is an order to restart, with
//! the variables that follow it. `TCP` are listeners, all of an SO_REUSEPORT group, which tell
//! each client the generation; at `inherited` is the one that there is. To each file of `FILES` a generation appends its number.

use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use graceful_listener::{
    HandoffFd, HandoffListener, HandoffUdp, Handover, Stream, Successor, generation, ready,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::say;

struct Sockets {
    udp: Vec<HandoffUdp>,
    tcp: Vec<HandoffListener>,
    files: Vec<HandoffFd>,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run() {
    let sockets = Sockets::from_env();
    if let Err(error) = ready().await {
        return say(format!("called off: {error}"));
    }
    say(format!("ready {} {}", std::process::id(), generation()));
    let (order, mut orders) = mpsc::unbounded_channel();
    for udp in &sockets.udp {
        tokio::spawn(echo(udp.clone(), order.clone()));
    }
    for listener in &sockets.tcp {
        tokio::spawn(tell(listener.clone()));
    }
    let order = orders.recv().await.unwrap();
    let mut handover = sockets.restart(&order).await;
    sockets.let_go().await;
    if order.contains("STAY=1") {
        let died = handover.gone().await.unwrap();
        say(format!("reclaimed {}", died.is_some()));
        std::future::pending::<()>().await;
    }
}

impl Sockets {
    fn from_env() -> Self {
        let udp = words("UDP").map(|(name, addr)| {
            let options = HandoffListener::options().name(name);
            let udp = options.udp_from_env_or_bind(addr).unwrap();
            say(format!("udp {}={}", udp.name(), udp.local_addr()));
            udp
        });
        let tcp = words("TCP").map(|(name, addr)| {
            let options = HandoffListener::options().reuse_port(true);
            let listener = match addr.as_str() {
                "inherited" => options.from_env().unwrap(),
                addr => options.name(name).from_env_or_bind(addr).unwrap(),
            };
            say(format!("tcp {}={}", listener.name(), listener.local_addr()));
            listener
        });
        let files = words("FILES").map(|(name, path)| {
            let make = || std::fs::File::create_new(&path).map(Into::into);
            let file = HandoffFd::from_env_or_else(&*name, make).unwrap();
            append(&file);
            file
        });
        Self {
            udp: udp.collect(),
            tcp: tcp.collect(),
            files: files.collect(),
        }
    }

    async fn restart(&self, order: &str) -> Handover {
        let mut builder = Successor::builder();
        for (name, value) in order.split(';').filter_map(|set| set.split_once('=')) {
            builder = builder.env(name, value);
        }
        builder = self
            .udp
            .iter()
            .fold(builder, |builder, udp| builder.carry(udp));
        builder = self
            .files
            .iter()
            .fold(builder, |builder, file| builder.carry(file));
        let listeners: Vec<_> = self.tcp.iter().collect();
        let handover = builder.start(&listeners).await.unwrap().commit().await;
        handover.unwrap()
    }

    /// Empties the queues of the listeners that the successor did not want.
    async fn let_go(&self) {
        for listener in self.tcp.iter().filter(|tcp| !tcp.is_handed_over()) {
            listener.seal();
            while let Some((stream, _)) = listener.accept_queued().unwrap() {
                answer(stream).await;
            }
        }
        // What another task accepted is answered before the process ends.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn words(variable: &str) -> impl Iterator<Item = (String, String)> {
    let words = std::env::var(variable).unwrap_or_default();
    let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
    words.into_iter().filter_map(|word| {
        let (name, addr) = word.split_once('=')?;
        Some((name.to_owned(), addr.to_owned()))
    })
}

fn append(file: &HandoffFd) {
    let mut file = std::fs::File::from(file.as_fd().try_clone_to_owned().unwrap());
    file.seek(std::io::SeekFrom::End(0)).unwrap();
    file.write_all(format!("{} ", generation()).as_bytes())
        .unwrap();
}

async fn echo(udp: HandoffUdp, order: mpsc::UnboundedSender<String>) {
    let mut buffer = [0; 2048];
    loop {
        let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let answer = format!("{} {text}", generation());
        udp.send_to(answer.as_bytes(), peer).await.unwrap();
        if let Some(variables) = text.strip_prefix("restart ") {
            order.send(variables.to_owned()).unwrap();
        }
    }
}

async fn tell(listener: HandoffListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream).await;
    }
}

/// The client sends a line first.
async fn answer(mut stream: Stream) {
    let mut buffer = [0; 64];
    let _ = stream.read(&mut buffer).await;
    let _ = stream
        .write_all(format!("{}", generation()).as_bytes())
        .await;
}

/// What is in a file that the generations append to.
pub(crate) fn contents(path: &str) -> String {
    let mut text = String::new();
    let mut file = std::fs::File::open(path).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
