//! The process in the cluster: which shards are ours and by what right; sessions, links, and the HTTP face of the shards.

pub mod hop;

pub mod http;

pub mod render;

pub mod link;

pub mod session;

pub mod render;

pub mod owners;

pub mod ring;

pub mod assignment;

pub mod outbox;

pub mod directory;

pub mod table;
