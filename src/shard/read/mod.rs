//! The way of a read: wait until the file has what was acknowledged, find, and say how sure the
//! answer is.

pub(super) mod barrier;

pub(super) mod presence;

pub(super) mod find;

mod admit;

pub(super) mod paging;

mod shown;
