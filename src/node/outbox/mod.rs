//! Delivers a shard's outbox: changes of users' indexes go to the shards of the users, at least
//! once. A change that arrives twice, or after a newer one, does nothing there (its seq tells).
//! Each shard has its own window of rows (`window`), so one that cannot be reached holds up the
//! rows of its own users alone. See `docs/adr/0016-outbox.md`.

pub(crate) use deliver::deliver;

mod deliver;

mod window;

#[cfg(test)]
mod tests;
