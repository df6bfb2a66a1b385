//! What there is to say of each operation of the client contract: first in which form it is said,
//! then what is said, by what the operations are about.

pub(super) mod form;

mod common;

pub(super) mod conversations;

pub(super) mod participants;

pub(super) mod governing;

pub(super) mod history;

pub(super) mod messages;

pub(super) mod front;
