//! What clients send: each frame is checked, sent to its owner in the order it came, and answered
//! with `ok` or `error`.

mod messages;

mod taken;

pub(super) use messages::conversation_name;
pub(super) use taken::{Asked, NOTHING, answer, handle};
