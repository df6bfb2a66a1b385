//! Both ends of a snapshot: what the owner keeps and for how long, and how the other end gets all
//! of it.

use crate::ids::ShardId;
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::shard::file::snapshot::Snapshot;

mod giving;
mod seeding;

const SHARD: ShardId = ShardId(3);

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at * 31 % 251).expect("a byte"))
        .collect()
}

fn said(bytes: &[u8]) -> Snapshot {
    Snapshot {
        length: bytes.len().try_into().expect("small"),
        sha256: [7; 32],
        applied: PerStream::both(Tail::EMPTY),
    }
}
