//! Run `cargo run -p graceful-signal --example second_ctrl_c`, press Ctrl-C twice: the first stops it
//! politely, the second kills it at once (`echo $?` says 130), though its only thread is blocked.
//! Press it once and wait: after ten seconds it ends by itself with status 0.

use std::thread;
use std::time::Duration;

use graceful_signal::{NotifyContext, SignalKind};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]
async fn main() -> std::io::Result<()> {
    let context = NotifyContext::new([SignalKind::interrupt()])?;
    println!("running, press Ctrl-C");

    let signal = context.signal();
    signal.clone().await;
    context.stop();

    if let Some(cause) = signal.cause() {
        println!("stopping because of {cause}; this takes ten seconds, or another Ctrl-C");
    }
    // A bad clean-up: it blocks the runtime, so no async code could see the second Ctrl-C.
    thread::sleep(Duration::from_secs(10));
    println!("stopped");
    Ok(())
}
