//! The append side of one stream of a shard: records get their offsets here, in the order of their
//! decisions; they gather while a batch is away, are sealed into the next entry, and are committed
//! in order. Pure but for the lane.

pub(in crate::shard) use appender::Appender;
pub(in crate::shard) use decided::Decided;
pub(in crate::shard) use ended::Ended;

mod appender;

mod decided;

mod ended;

mod retained;

#[cfg(test)]
mod tests;
