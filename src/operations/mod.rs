//! The operations port: `/metrics`, `/livez`, `/readyz`, `/cluster`, `/cluster?whole`,
//! `/shards/{shard}/digest`, `/shards/{shard}/audit`, `/shards/{shard}/owner`,
//! `/nodes/{node}/drain`, `/balance`, `/shards/{shard}/backup`. A server of its own on a thread of
//! its own, so that it answers also when the loops that it tells about stand still; never reachable
//! through the client port.
//!
//! Invariants: `/livez` asks only whether the process's loops move, never the log; at most
//! `CONNECTIONS_MAX` sockets are served at once (an idle one gives way to one more; when none is
//! idle, that is refused), each for at most `CONNECTION_MAX`. Digests, which read a whole file,
//! are made one at a time.

pub(crate) use hex::hex;

pub(crate) use digest::{digest_at, digest_of};
pub(crate) use port::Operations;
pub(crate) use setup::Setup;
pub(crate) use shard_digest::{AppliedTail, Digesting, ShardDigest};
pub(crate) use subject::{Auditing, Backing, Subject};
pub(crate) use told::{Cluster, ClusterLeft, ClusterNode, ClusterShard};

mod port;

mod setup;

mod subject;

mod answers;

mod asked;

mod responses;

mod hex;

pub(crate) mod health;

mod told;

mod digest;

mod shard_digest;

pub(crate) mod control;

pub(crate) mod change;

pub(crate) mod backup;

pub(crate) mod audit;

#[cfg(test)]
mod tests;
