//! The order of events: warm up, restart again and again, stop, let the last client find the door
//! closed.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::args::Args;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::mix;
use crate::server::{Generation, Server};
use crate::status::Board;

/// Runs it all against a server that serves, and leaves what happened in the ledger.
pub(crate) async fn run(
    args: &Args,
    server: Server,
    ledger: &Arc<Ledger>,
    board: &Board,
) -> Result<(), Failure> {
    let mut run = Run {
        clients: mix::start(server.listen(), args.rate, ledger),
        server,
        ledger,
        board,
    };
    sleep(args.interval / 2).await;
    for _ in 0..args.restarts {
        let next = Instant::now() + args.interval;
        run.restart().await?;
        sleep_until(next).await;
    }
    run.stop().await
}

struct Run<'a> {
    server: Server,
    clients: JoinSet<()>,
    ledger: &'a Ledger,
    board: &'a Board,
}

impl Run<'_> {
    async fn restart(&mut self) -> Result<(), Failure> {
        let old = self.server.current().clone();
        self.ledger.begin(old.number, old.pid(), false);
        self.server.restart().await?;
        self.ledger.successor_ready();
        let new = self.server.current();
        self.board.add(new.number, new.pid());
        self.ended(&old).await
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        let last = self.server.current().clone();
        self.ledger.begin(last.number, last.pid(), true);
        self.server.stop()?;
        self.ended(&last).await?;
        // Each of them ends with its first connection that is refused, and no request takes more
        // than its bound.
        while let Some(ended) = self.clients.join_next().await {
            ended.map_err(Failure::of("a client of the demonstration failed"))?;
        }
        Ok(())
    }

    async fn ended(&mut self, generation: &Generation) -> Result<(), Failure> {
        let exit = self.server.ended(generation).await?;
        self.ledger.predecessor_ended(exit);
        self.board.remove(generation.number);
        Ok(())
    }
}
