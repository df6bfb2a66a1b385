//! The process in the cluster: which shards are ours and by what right; sessions, links, and the HTTP face of the shards.

pub mod hop;

pub mod session;

pub mod render;

pub mod owners;

pub mod table;
