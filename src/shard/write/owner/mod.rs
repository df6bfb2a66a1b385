//! The owner's loop of one shard: the single writer. It decides commands against heads, lets
//! records gather in the two append sides, and when a batch is committed answers, pushes and wakes
//! the workers, in that order of records.
//!
//! Never awaits anything but its own inputs: look-ups in SQLite run beside it and come back as
//! [`input::Completion`]s, while the commands of that conversation wait in their order.

// What comes in, and what is kept of it.
mod write;

mod input;
mod piece;

mod conversation;
mod keys;
mod marks;
mod memory;
mod messages;
mod parking;
mod sought;
mod views;

mod state;

// From the queue to the turn of a write.
mod parked;
mod running;
mod seeking;
mod taking;
mod work;

mod brought;
mod lookup;
mod missing;

// Deciding.
mod appending;
mod decide;
mod repeated;
mod stamped;

mod closing;
mod edits;
mod governing;
mod membership;
mod receipts;
mod resubmit;
mod retention;
mod sending;
mod typing;

// Readers and subscribers.
mod presence;
mod ticket;

// After the append, and around it.
mod anew;
mod applied;
mod commit;
mod taking_back;

mod audited;
mod eviction;
mod holding;
mod housekeeping;
mod time;

pub(in crate::shard) use decide::message_unknown;
pub(in crate::shard) use input::{Accepted, Admission, Asked, Input, Settled, Ticket, Want};
pub(in crate::shard) use keys::StampedKey;
pub(crate) use memory::HeadMemory;
pub(in crate::shard) use running::spawn;
pub(in crate::shard) use state::{Owner, Setup};
pub(in crate::shard) use ticket::page_of;
pub(in crate::shard) use write::{Change, Retire, Step, Write};
