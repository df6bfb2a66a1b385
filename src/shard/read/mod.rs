//! The way of a read: wait until the file has what was acknowledged, find, and say how sure the
//! answer is.
//!
//! The message list merges the committed tail in memory with SQLite; everything else waits
//! until the worker has reached what touched it (the read barrier). Either way a read sees every
//! write acknowledged before it began.
//!
//! And none sees what came after the removal of its reader. The ticket says that they participate,
//! and how far the conversation reached at that moment: whatever the file has gained since is cut
//! off there. What has no seq to cut at (watermarks, receipts, reactions) is given only when they
//! still participate after it was gathered.

pub(super) mod barrier;

pub(super) mod find;

pub(super) mod message;

mod history;

pub(super) mod events;

mod receipts;

mod bans;

mod audit;

pub(super) mod presence;

mod admit;

pub(super) mod paging;

mod shown;
