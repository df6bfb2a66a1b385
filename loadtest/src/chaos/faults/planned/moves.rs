//! Shards are moved by hand, from one node to another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::chaos::faults::planned::LOOK_EVERY;
use crate::chaos::faults::{Broken, Field, Mend};
use crate::chaos::random::Random;

/// Shards that are moved in all, and at once: a node hands over two at a time.
const MOVES: usize = 48;
const AT_ONCE: usize = 4;
/// For one of them: longer than the cluster itself takes to say that it cannot be done.
const MOVED_WITHIN: Duration = Duration::from_secs(30);
/// A node dies when so many were moved, at least and at most, and so many milliseconds later.
const MOVED_FIRST: (u64, u64) = (1, 6);
const LATER_MS: u64 = 60;

/// What moves by hand promise.
const MOVES_RULE: &str = "a shard moves to a standby in sync when it is asked to";

/// A shard, and who is to have it.
type Wish = (u64, String);

impl Field {
    /// Moves shards to their standbys, some at a time.
    pub(super) async fn move_shards(&self, random: &mut Random) -> Result<Broken, String> {
        let (mut moved, mut refused) = (0, Vec::new());

        for _ in 0..MOVES / AT_ONCE {
            if self.world.log.is_wrong() {
                break;
            }
            let wishes = drawn(self.movable(None).await, AT_ONCE, random);
            for done in join_all(wishes.iter().map(|wish| self.move_one(wish))).await {
                match done {
                    Ok(()) => moved += 1,
                    Err(error) => refused.push(error),
                }
            }
        }

        let said = format!("{moved} shards were moved, {} were not", refused.len());
        // The balance may move one of them at the same time, and a standby fall behind.
        if moved < refused.len() && !self.world.log.is_wrong() {
            let first = refused.first().cloned().unwrap_or_default();
            let said = format!("{said}; the first: {first}");
            self.world.log.wrong(MOVES_RULE, None, said);
        }
        Ok(Broken {
            said,
            mends: Vec::new(),
        })
    }

    /// Moves the shards of one node to another, until one of both dies of it.
    pub(super) async fn move_and_kill(&self, random: &mut Random) -> Result<Broken, String> {
        let giver = self.nodes(random, 1).await?.pop().unwrap_or_default();
        let movable = self.movable(Some(&giver)).await;
        let takers: Vec<String> = movable.iter().map(|(_, taker)| taker.clone()).collect();
        let taker = random
            .pick(&takers)
            .cloned()
            .ok_or_else(|| format!("nobody stands by for a shard of {giver}"))?;
        let wishes: Vec<Wish> = movable.into_iter().filter(|(_, to)| *to == taker).collect();
        let victim = if random.percent(50) { &giver } else { &taker };
        let one = std::slice::from_ref(victim);
        let had = self.had(&[giver.clone(), taker.clone()]).await;

        let first = random.between(MOVED_FIRST.0, MOVED_FIRST.1);
        let first = usize::try_from(first).unwrap_or(1).min(wishes.len());
        let later = Duration::from_millis(random.below(LATER_MS));
        let (moved, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let killing = async {
            while moved.load(Ordering::SeqCst) < first && over.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(LOOK_EVERY / 20).await;
            }
            tokio::time::sleep(later).await;
            self.site.kill(one).await;
            over.store(1, Ordering::SeqCst);
        };
        let moving = async {
            let wishes = futures_util::stream::iter(&wishes)
                .take_while(|_| std::future::ready(over.load(Ordering::SeqCst) == 0));
            let mut moves = wishes
                .map(|wish| self.move_one(wish))
                .buffer_unordered(AT_ONCE);
            while let Some(done) = moves.next().await {
                moved.fetch_add(usize::from(done.is_ok()), Ordering::SeqCst);
            }
            // What is left to be moved is nothing: whoever waits for more waits in vain.
            over.store(1, Ordering::SeqCst);
        };
        tokio::join!(killing, moving);

        let moved = moved.into_inner();
        let said = format!("{had}: {moved} shards were moved, and {victim} is killed");
        let mends = vec![Mend::Start(victim.clone())];
        if moved == 0 {
            self.site.start_again(one).await?;
            return Err(said);
        }
        Ok(Broken { said, mends })
    }

    /// The shards that could be moved now, each with a standby in sync; of one node, or of all.
    async fn movable(&self, of: Option<&str>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (node, holding) in self.holdings().await {
            if of.is_some_and(|of| of != node) {
                continue;
            }
            for (shard, standbys) in holding.owned {
                let in_sync = standbys.into_iter().filter(|(_, in_sync)| *in_sync);
                wishes.extend(in_sync.map(|(standby, _)| (shard, standby)).next());
            }
        }
        wishes
    }

    async fn move_one(&self, (shard, to): &Wish) -> Result<(), String> {
        let shard = shard.to_string();
        self.site
            .steer(&["move", &shard, to], MOVED_WITHIN)
            .await
            .map(drop)
    }
}

/// Some of these, each at most once.
fn drawn(mut from: Vec<Wish>, count: usize, random: &mut Random) -> Vec<Wish> {
    let mut drawn = Vec::new();
    while drawn.len() < count && !from.is_empty() {
        let at = random.below(u64::try_from(from.len()).unwrap_or(1));
        drawn.push(from.swap_remove(usize::try_from(at).unwrap_or(0)));
    }
    drawn
}
