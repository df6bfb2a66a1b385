//! The way of a read: wait until the file has what was acknowledged, find, and say how sure the
//! answer is.

pub(super) mod barrier;

pub(super) mod find;

pub(super) mod message;

mod history;

pub(super) mod events;

mod receipts;

pub(super) mod presence;

mod admit;

pub(super) mod paging;

mod shown;
