//! Errors as clients see them: codes, refusals, and the close codes of a WebSocket.

mod code;

mod refusal;

mod close;

pub use close::CloseCode;
pub use code::{Code, settles_earlier_attempts};
pub use refusal::{Problem, ProblemBody};
