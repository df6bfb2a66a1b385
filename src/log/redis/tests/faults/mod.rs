//! Each row of the table of answers that a real server can be brought to give, and the
//! interleavings.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Pair;
use super::owned::{Owned, assert_not_replicated};
use crate::log::redis::Config;
use crate::log::redis::testing::{Server, config, log};
use crate::log::{AppendOutcome, ShardLog};

mod copies;
mod damaged;
mod late;
mod observed;
mod reads;
mod refused;

/// Short enough to run out while a server stands still.
const SHORT: Duration = Duration::from_millis(400);

fn config_of(server: &Server) -> Config {
    config(&[server.url()])
}

/// The replica of the pair is stopped for a while.
pub(super) async fn nothing_is_committed_without(pair: &Pair) {
    let mut owned = Owned::new(pair.config(), 1).await;
    owned.append().await;

    let config = Config {
        replica_wait: SHORT / 2,
        ..owned.config.clone()
    };
    owned.log = log(&config);
    pair.replica.signal(Signal::SIGSTOP);

    let next = owned.next();
    for _ in 0..3 {
        assert_not_replicated(&owned.send(&next).await);
    }

    // A fresh connection has written nothing of its own before: its WAIT must not count what others
    // wrote.
    assert_not_replicated(
        &log(&config)
            .append(std::slice::from_ref(&next))
            .await
            .remove(0),
    );

    pair.replica.signal(Signal::SIGCONT);
    let (outcome, _) = owned.settle(&next).await;
    assert_eq!(outcome, AppendOutcome::AlreadyDone);
    owned.assert_whole().await;
}
