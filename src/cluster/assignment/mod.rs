//! The assignment: which table should stand, given the live nodes and the table that stands now.
//! Pure.
//!
//! The ring proposes an order of nodes for each shard; a bounded-load pass evens out the owners,
//! and standbys go where the fewest are, of nodes in zones that the row has not. Draining nodes get
//! nothing. A shard that was ever claimed keeps its owner here, dead or alive: it moves by
//! hand-over or failover only. Its standbys stay while they live, and while its owner does not:
//! then any of them may be the one that has its messages. What comes out depends on nothing but the
//! arguments, so a second pass over its own result changes nothing.

pub use rows::EVEN_SHARDS_PER_NODE;
pub use tables::{first_table, next_table};

mod tables;

mod rows;

mod load;
