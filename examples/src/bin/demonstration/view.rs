//! The live view: a block that redraws itself on a terminal, a line a second elsewhere.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::sleep;

use crate::frame::Frame;
use crate::ledger::Ledger;
use crate::paint::Paint;
use crate::status::Board;

/// All there is to see.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) board: Board,
    pub(crate) restarts: u32,
}

impl Scene {
    pub(crate) fn new(ledger: &Arc<Ledger>, board: &Board, restarts: u32) -> Self {
        let (ledger, board) = (Arc::clone(ledger), board.clone());
        Self {
            ledger,
            board,
            restarts,
        }
    }
}

/// Shows the scene until it is dropped; on a terminal the block is then wiped.
pub(crate) async fn follow(scene: &Scene) -> Infallible {
    if io::stdout().is_terminal() {
        redraw(scene).await
    } else {
        print(scene).await
    }
}

async fn redraw(scene: &Scene) -> Infallible {
    let paint = Paint::for_stdout();
    let block = Block(ProgressBar::with_draw_target(
        None,
        ProgressDrawTarget::stdout(),
    ));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        block.0.set_style(style);
    }
    loop {
        block.0.set_message(Frame::of(scene).block(paint));
        sleep(Duration::from_millis(200)).await;
    }
}

async fn print(scene: &Scene) -> Infallible {
    loop {
        sleep(Duration::from_secs(1)).await;
        // Whoever stopped reading still wants the verdict, which is the exit status.
        let _ = writeln!(io::stdout(), "{}", Frame::of(scene).line());
    }
}

struct Block(ProgressBar);

impl Drop for Block {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
