//! Errors as clients see them: codes, refusals, and the close codes of a WebSocket.

mod code;

mod refusal;

mod close;

pub(crate) use close::CloseCode;
pub(crate) use code::{Code, settles_earlier_attempts};
pub(crate) use refusal::{Problem, ProblemBody};
