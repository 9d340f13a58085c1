//! A server for one connection that ends as politely as a server can, and does nothing else: the floor under an exit after a
//! last answer whose client is waited for (RFC 9112 §9.6).

use graceful_benches::{
    server::{BoxError, say_ready, start, terminated, tokio_listener},
    service::{BODY, SLOW, SLOW_PATH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

fn main() -> Result<(), BoxError> {
    start(|_| serve())
}

/// Its slow answer is its last one: then it half-closes, reads to the end, and returns.
async fn serve() -> Result<(), BoxError> {
    tokio::spawn(terminated()?);
    let listener = tokio_listener()?;
    say_ready()?;
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; 1024];
    loop {
        let read = stream.read(&mut bytes).await?;
        let last = String::from_utf8_lossy(&bytes[..read]).contains(SLOW_PATH);
        if last {
            sleep(SLOW).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        if last {
            stream.shutdown().await?;
            while stream.read(&mut bytes).await? > 0 {}
            return Ok(());
        }
    }
}
