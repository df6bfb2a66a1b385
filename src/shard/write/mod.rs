//! The way of a write: from the queue to the decision of the single writer, into a batch of the
//! log, back as its commit, and from there to those who subscribed.

pub(super) mod fate;

pub(crate) mod agreed;

pub(super) mod message;

pub(super) mod owner;

pub(super) mod head;

pub(super) mod filter;

pub(super) mod used_keys;

pub(super) mod append;

pub(crate) mod subscriptions;

pub(super) mod typing;

pub(super) mod presence;
