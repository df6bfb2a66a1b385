//! `rookery cluster`: asks the operations port of a running cluster how it stands, or to move a shard, and prints the answer
//! for people or for programs.

pub use ask::run;

mod call;

mod show;

mod ask;
