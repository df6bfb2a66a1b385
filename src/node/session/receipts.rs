//! Delivered marks: when the pong to a ping shows how far a client has read, the highest seq per
//! conversation is gathered here for the whole node, and goes to the owners at most every
//! [`Config::delivered_every`].
//!
//! Marks are automatic and the next one covers the last, so under load they are shed and counted,
//! never queued.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Seq, ShardId, UserId};
use crate::node::session::upstream::Upstream;
use crate::shard::command::{Command, Delivered};
use crate::telemetry;

#[cfg(doc)]
use crate::node::session::config::Config;

/// Marks gathered on a node between two rounds; more are shed.
const GATHERED_MAX: usize = 65_536;
/// Marks in one command.
const BATCH_MAX: usize = 1_000;
/// How long a round may take; marks that were not taken by then are shed.
const ROUND_MAX: Duration = Duration::from_secs(2);

/// Marks of one session since its last ping: conversation and highest seq.
pub(super) type Marks = HashMap<ConversationName, Seq>;

/// The node's gathered marks.
#[derive(Debug, Default)]
pub(super) struct Gather(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    marks: HashMap<(UserId, ConversationName), Seq>,
    /// Shards with a round under way: their marks stay gathered.
    busy: HashSet<ShardId>,
}

impl Gather {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a client of `user` has read.
    pub(super) fn add(&self, user: &UserId, marks: Marks) {
        let mut state = self.state();
        let mut shed = 0;

        for (conversation, seq) in marks {
            let full = state.marks.len() >= GATHERED_MAX;
            match state.marks.entry((user.clone(), conversation)) {
                Entry::Occupied(mut held) => {
                    let highest = (*held.get()).max(seq);
                    held.insert(highest);
                }
                Entry::Vacant(_) if full => shed += 1,
                Entry::Vacant(free) => {
                    free.insert(seq);
                }
            }
        }

        drop(state);
        if shed > 0 {
            telemetry::SESSION_DELIVERED.add(shed, &[("result", "shed")]);
        }
    }

    /// What is gathered for the shards that have no round under way; each is now begun, and ends
    /// with [`Gather::send`].
    pub(super) fn take(&self, map: ShardMap) -> HashMap<ShardId, Vec<Delivered>> {
        let mut by_shard: HashMap<ShardId, Vec<Delivered>> = HashMap::new();
        let mut state = self.state();
        let State { marks, busy } = &mut *state;
        for ((user, conversation), up_to) in
            marks.extract_if(|(_, of), _| !busy.contains(&map.shard_of(of.slot())))
        {
            let shard = map.shard_of(conversation.slot());
            by_shard.entry(shard).or_default().push(Delivered {
                conversation,
                user,
                up_to,
            });
        }
        busy.extend(by_shard.keys());
        by_shard
    }

    /// Brings the marks of one round to their owner. The next round of this shard may begin when
    /// this is done.
    pub(super) async fn send(
        &self,
        upstream: &dyn Upstream,
        shard: ShardId,
        marks: Vec<Delivered>,
    ) {
        let deadline = Instant::now() + ROUND_MAX;
        let rounds = marks.chunks(BATCH_MAX).map(|batch| {
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let answer = upstream.execute(shard, Command::Delivered(batch.to_vec()), deadline);
            async move {
                let taken = matches!(
                    tokio::time::timeout_at(deadline.into(), answer).await,
                    Ok(Ok(_))
                );
                let result = if taken { "sent" } else { "shed" };
                telemetry::SESSION_DELIVERED.add(count, &[("result", result)]);
            }
        });
        join_all(rounds).await;
        self.state().busy.remove(&shard);
    }
}
