//! What this process committed lately, so that an owner's worker, which reads what was just
//! appended, need not ask Redis for it, and can go on while Redis is gone.
//!
//! Only a token's own committed entries are kept, each linked to the one before: what is here is
//! what a read would bring. A claim begins anew, a fence or another tail than ours ends it. A read
//! that cannot be answered without a gap from the offset asked for is none of ours. Beyond
//! [`BYTES_MAX`] the oldest entries of all shards go first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{Offset, ShardId};
use crate::log::{Batch, PerStream, RawEntry, Stream, Token};

/// Most bytes of entries kept, with what each costs beside its bytes.
pub(super) const BYTES_MAX: usize = 32 * 1024 * 1024;
const ENTRY_COST: usize = 256;

type Key = (ShardId, Stream);

/// The committed entries of this process, newest of all shards.
#[derive(Debug)]
pub(super) struct Cache {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    streams: HashMap<Key, Run>,
    /// Which stream's oldest entry came at which turn: the first one goes first.
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
    bytes: usize,
}

/// Entries of one stream without a hole between them.
#[derive(Debug)]
struct Run {
    token: Token,
    /// Offset before the first entry.
    after: Offset,
    entries: VecDeque<(u64, RawEntry)>,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Cache {
    fn new(bytes_max: usize) -> Self {
        Self {
            kept: Mutex::default(),
            bytes_max,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is committed.
    pub(super) fn committed(&self, batch: &Batch) {
        let mut kept = self.kept();
        let key = (batch.shard, batch.stream);
        let run = kept.streams.get(&key);
        if run.is_some_and(|run| run.token != batch.token) {
            // A late answer to a former owner in this process.
            return;
        }

        let last = run.map(|run| {
            run.entries
                .back()
                .map_or(run.after, |(_, entry)| entry.last)
        });
        if last.is_some_and(|last| last >= batch.tail.offset) {
            // Sent again.
            return;
        }
        if last != Some(batch.expected.offset) {
            kept.begin(key, batch.token, batch.expected.offset);
        }

        kept.push(
            key,
            RawEntry {
                last: batch.tail.offset,
                bytes: batch.bytes.clone(),
            },
        );

        while kept.bytes > self.bytes_max {
            let Some(&oldest) = kept.turns.values().next() else {
                return;
            };
            kept.drop_first(oldest);
        }
    }

    /// This process holds the shard by this token from now on; nothing of it is known.
    pub(super) fn claimed(&self, shard: ShardId, token: Token, tails: PerStream<Offset>) {
        let mut kept = self.kept();
        for (stream, tail) in tails {
            kept.begin((shard, stream), token, tail);
        }
    }

    /// The token is lost, or the log has another tail than it should: nothing of the shard holds
    /// any more.
    pub(super) fn ended(&self, shard: ShardId, token: Token) {
        let mut kept = self.kept();
        for stream in Stream::BOTH {
            if kept
                .streams
                .get(&(shard, stream))
                .is_some_and(|run| run.token == token)
            {
                kept.clear((shard, stream));
                kept.streams.remove(&(shard, stream));
            }
        }
    }

    /// Entries up to this offset were dropped from the log.
    pub(super) fn trimmed(&self, shard: ShardId, stream: Stream, upto: Offset) {
        let mut kept = self.kept();
        let key = (shard, stream);
        while kept.first(key).is_some_and(|entry| entry.last <= upto) {
            kept.drop_first(key);
        }
    }

    /// As the log's `read`; `None` when Redis must be asked. May end before the stream does, never
    /// before an entry that a read would begin with.
    pub(super) fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Option<Vec<RawEntry>> {
        let kept = self.kept();
        let run = kept.streams.get(&(shard, stream))?;
        if after < run.after {
            return None;
        }

        let from = run
            .entries
            .partition_point(|(_, entry)| entry.last <= after);
        let (mut found, mut size) = (Vec::new(), 0);
        for (_, entry) in run.entries.range(from..) {
            size += entry.bytes.len();
            found.push(entry.clone());
            if size >= bytes_max {
                break;
            }
        }

        // What lies behind the last one is for Redis to say.
        (!found.is_empty()).then_some(found)
    }
}

impl Kept {
    fn begin(&mut self, key: Key, token: Token, after: Offset) {
        self.clear(key);
        self.streams.insert(
            key,
            Run {
                token,
                after,
                entries: VecDeque::new(),
            },
        );
    }

    fn clear(&mut self, key: Key) {
        while self.first(key).is_some() {
            self.drop_first(key);
        }
    }

    fn first(&self, key: Key) -> Option<&RawEntry> {
        self.streams
            .get(&key)?
            .entries
            .front()
            .map(|(_, entry)| entry)
    }

    fn push(&mut self, key: Key, entry: RawEntry) {
        let Some(run) = self.streams.get_mut(&key) else {
            return;
        };
        let turn = self.next_turn;
        self.next_turn += 1;
        self.bytes += entry.bytes.len() + ENTRY_COST;
        self.turns.insert(turn, key);
        run.entries.push_back((turn, entry));
    }

    fn drop_first(&mut self, key: Key) {
        let Some(run) = self.streams.get_mut(&key) else {
            return;
        };
        let Some((turn, entry)) = run.entries.pop_front() else {
            return;
        };
        run.after = entry.last;
        self.bytes -= entry.bytes.len() + ENTRY_COST;
        self.turns.remove(&turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::log::conformance::batch;
    use crate::log::record::Tail;

    const SHARD: ShardId = ShardId(1);
    const M: Stream = Stream::Messages;
    const R: Stream = Stream::Receipts;

    /// `count` batches of two records each, linked.
    fn batches(shard: ShardId, stream: Stream, token: Token, count: usize) -> Vec<Batch> {
        let mut tail = Tail::EMPTY;
        let next = |number: usize| {
            let next = batch(shard, stream, token, &tail, (2, &format!("entry-{number}")));
            tail = next.tail;
            next
        };
        (0..count).map(next).collect()
    }

    fn offsets(cache: &Cache, shard: ShardId, after: u64, bytes_max: usize) -> Option<Vec<u64>> {
        let found = cache.read(shard, M, Offset(after), bytes_max)?;
        Some(found.iter().map(|entry| entry.last.0).collect())
    }

    #[test]
    fn reads_are_answered_from_what_was_committed_without_a_gap() {
        let (cache, token) = (Cache::default(), Token::new(Epoch(1)));
        cache.claimed(SHARD, token, PerStream::both(Offset(0)));
        assert_eq!(offsets(&cache, SHARD, 0, 1), None, "nothing is known yet");

        let sent = batches(SHARD, M, token, 4);
        sent.iter().for_each(|batch| cache.committed(batch));
        assert_eq!(
            offsets(&cache, SHARD, 0, usize::MAX),
            Some(vec![2, 4, 6, 8])
        );
        assert_eq!(offsets(&cache, SHARD, 3, usize::MAX), Some(vec![4, 6, 8]));
        assert_eq!(offsets(&cache, SHARD, 4, 0), Some(vec![6]), "at least one");
        assert_eq!(
            offsets(&cache, SHARD, 0, sent[0].bytes.len() + 1),
            Some(vec![2, 4])
        );

        assert_eq!(
            offsets(&cache, SHARD, 8, usize::MAX),
            None,
            "what is behind the tail is for redis to say"
        );
        assert_eq!(cache.read(SHARD, R, Offset(0), 1), None);
        assert_eq!(
            cache.read(SHARD, M, Offset(2), 0).unwrap()[0].bytes,
            sent[1].bytes
        );
    }

    #[test]
    fn a_batch_sent_again_is_there_once_and_one_after_a_hole_begins_anew() {
        let (cache, token) = (Cache::default(), Token::new(Epoch(1)));
        let sent = batches(SHARD, M, token, 4);
        for at in [0, 0, 1, 0, 1] {
            cache.committed(&sent[at]);
        }
        assert_eq!(offsets(&cache, SHARD, 0, usize::MAX), Some(vec![2, 4]));
        cache.committed(&sent[3]);
        assert_eq!(offsets(&cache, SHARD, 0, usize::MAX), None);
        assert_eq!(offsets(&cache, SHARD, 5, usize::MAX), None);
        assert_eq!(offsets(&cache, SHARD, 6, usize::MAX), Some(vec![8]));
    }

    #[test]
    fn a_claim_a_fence_and_another_tail_end_it() {
        let (cache, first, second) = (Cache::default(), Token::new(Epoch(1)), Token::new(Epoch(2)));
        let sent = batches(SHARD, M, first, 3);
        cache.committed(&sent[0]);
        cache.ended(SHARD, second);

        assert_eq!(
            offsets(&cache, SHARD, 0, 0),
            Some(vec![2]),
            "the end of another token"
        );

        cache.ended(SHARD, first);
        assert_eq!(offsets(&cache, SHARD, 0, 0), None);

        cache.committed(&sent[1]);
        cache.claimed(
            SHARD,
            second,
            PerStream {
                messages: Offset(4),
                receipts: Offset(0),
            },
        );
        assert_eq!(offsets(&cache, SHARD, 2, 0), None);

        // An answer that comes late, to the former owner.
        cache.committed(&sent[2]);
        assert_eq!(offsets(&cache, SHARD, 4, 0), None);

        cache.committed(&Batch {
            token: second,
            ..sent[2].clone()
        });
        assert_eq!(offsets(&cache, SHARD, 4, 0), Some(vec![6]));
    }

    #[test]
    fn what_was_trimmed_is_gone_from_here_too() {
        let (cache, token) = (Cache::default(), Token::new(Epoch(1)));
        batches(SHARD, M, token, 3)
            .iter()
            .for_each(|batch| cache.committed(batch));
        cache.trimmed(SHARD, M, Offset(3));
        assert_eq!(offsets(&cache, SHARD, 0, usize::MAX), None);
        assert_eq!(offsets(&cache, SHARD, 2, usize::MAX), Some(vec![4, 6]));
        cache.trimmed(SHARD, M, Offset(u64::MAX));
        assert_eq!(offsets(&cache, SHARD, 2, usize::MAX), None);
        assert_eq!(cache.kept().bytes, 0);
        assert!(cache.kept().turns.is_empty());
    }

    #[test]
    fn the_oldest_of_all_shards_goes_first_and_the_bound_holds() {
        let token = Token::new(Epoch(1));
        let per_shard = [
            batches(SHARD, M, token, 50),
            batches(ShardId(2), M, token, 50),
        ];
        let size = per_shard[0][0].bytes.len() + ENTRY_COST;
        let cache = Cache::new(size * 20 + size / 2);

        for (one, two) in per_shard[0].iter().zip(&per_shard[1]) {
            cache.committed(one);
            cache.committed(two);
            assert!(cache.kept().bytes <= cache.bytes_max);
        }

        for shard in [SHARD, ShardId(2)] {
            let left = offsets(&cache, shard, 90, usize::MAX).unwrap();
            assert_eq!(left, [92, 94, 96, 98, 100]);
            assert_eq!(offsets(&cache, shard, 70, 0), None);
        }

        assert!(cache.kept().turns.len() <= 20);
    }
}
