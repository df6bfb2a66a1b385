//! Each frame is taken, sent to its owner in the order it came, and answered with `ok` or `error`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::ids::{ConversationName, Seq};
use crate::link::front::Down;
use crate::link::front::attach::Repeat;
use crate::node::session::board::state::Resumed;
use crate::node::session::commands::messages::{self, conversation_name};
use crate::node::session::deadlines::ends;
use crate::node::session::hub::Inner;
use crate::node::session::said::{Message, Number, Of};
use crate::node::session::underway::{PROMPT, Place};
use crate::node::session::window::{Owed, Session};
use crate::problem::{Code, Problem, settles_earlier_attempts};
use crate::protocol::{ClientFrame, OkResult, RESUME_POSITIONS_MAX, ServerFrame};
use crate::shard::command::Done;

/// What a command may take in all.
const COMMAND_MAX: Duration = Duration::from_secs(5);
/// How long after that the answer of an owner is still awaited: it knows better what became of the
/// command.
const ANSWER_GRACE: Duration = Duration::from_millis(250);
/// What an `ok` brings when there is nothing to show.
pub(in crate::node::session) const NOTHING: OkResult = OkResult::None(());
/// Largest position: what every client's numbers can hold.
const POSITION_MAX: u64 = (1 << 53) - 1;

/// Takes one frame. Waits while the session has too many commands under way that are still expected
/// to be answered promptly, or too many answers that it does not read, so that nothing more of it
/// is worked on meanwhile.
///
/// Before it is enqueued nothing is done: dropped while it waits, it may be begun anew.
pub(in crate::node::session) async fn handle(
    inner: &Arc<Inner>,
    session: &Arc<Session>,
    message: &Message,
) {
    let Some(owed) = session.owe(message.text.len()).await else {
        return;
    };
    let (reference, parsed) = ClientFrame::parse(&message.text);
    let asked = Asked {
        reference,
        number: message.number(),
    };
    let frame = match parsed {
        Ok(frame) => frame,
        Err(error) => {
            let detail = format!("this is no frame that is known here: {error}");
            let problem = Problem::new(Code::Invalid, detail);
            return answer(session, asked, Err(problem), owed);
        }
    };

    let decided = match frame {
        ClientFrame::Ping {} => {
            let pong = ServerFrame::Pong {
                reference: asked.reference.as_ref(),
                now: inner.clock.now_ms(),
            };
            return session.answer_frame(&pong, owed, asked.number);
        }
        ClientFrame::Auth { token } => {
            let authorized = authorize(inner, session, token);
            return answer(session, asked, authorized, owed);
        }
        ClientFrame::Resume { positions, more } => {
            let (resumed, of) = resume(inner, session, positions, more);
            let number = Number { of, ..asked.number };
            return answer_resume(session, Asked { number, ..asked }, resumed, owed);
        }
        ClientFrame::Typing { conversation, on } => {
            return inner.says_typing(session, &conversation, on, (asked, owed));
        }
        ClientFrame::Watch { conversations } => {
            return inner.says_watch(session, &conversations, (asked, owed));
        }
        frame => messages::command_of(session, message, frame),
    };

    let (slot, command) = match decided {
        Ok(decided) => decided,
        Err(problem) => return answer(session, asked, Err(problem), owed),
    };
    let shard = inner.upstream.map().shard_of(slot);
    let place = match session.under_way.enter(shard, owed.num_permits()).await {
        Ok(place) => place,
        Err(problem) => {
            let problem = unsettled(problem, asked.number);
            return answer(session, asked, Err(problem), owed);
        }
    };

    let deadline = Instant::now() + COMMAND_MAX;
    // Enqueued here, in the order of the frames; only the answer is awaited aside.
    let done = inner.upstream.execute(shard, command, deadline);
    let waiting = finish(Arc::clone(session), asked, done, deadline, (place, owed));
    inner.spawn(waiting);
}

/// What an answer repeats of its message.
#[derive(Debug, Default)]
pub(in crate::node::session) struct Asked {
    /// Its `ref`.
    pub(in crate::node::session) reference: Option<Value>,
    /// Which it is.
    pub(in crate::node::session) number: Number,
}

/// The answer to a `resume` is `ready`; one that is asked for is given.
fn answer_resume(session: &Session, asked: Asked, resumed: Result<OkResult, Problem>, owed: Owed) {
    if asked.reference.is_some() || resumed.is_err() {
        answer(session, asked, resumed, owed);
    } else {
        session.answered(asked.number);
    }
}

async fn finish(
    session: Arc<Session>,
    asked: Asked,
    mut done: BoxFuture<'static, Result<Done, Problem>>,
    deadline: Instant,
    (mut place, mut owed): (Place, Owed),
) {
    let mut answered = tokio::time::timeout(PROMPT, &mut done).await;
    if answered.is_err() {
        place.grow_late();
        owed = session.owe_late(owed);
        answered = tokio::time::timeout_at((deadline + ANSWER_GRACE).into(), done).await;
    }

    let result = match answered {
        Ok(Ok(Done::Sent { message, .. } | Done::Edited(message))) => {
            Ok(OkResult::Message(Box::new(message)))
        }
        Ok(Ok(_)) => Ok(NOTHING),
        Ok(Err(problem)) => Err(unsettled(problem, asked.number)),
        Err(_) => Err(Problem::new(
            Code::OutcomeUnknown,
            "the owner did not answer in time: retry with the same key",
        )),
    };

    answer(&session, asked, result, owed);
    drop(place);
}

/// What is said of a refusal: one that does not tell what became of the message when it was said to
/// another node leaves that open (ADR 7).
fn unsettled(problem: Problem, number: Number) -> Problem {
    if number.repeat == Repeat::First || settles_earlier_attempts(problem.code.status()) {
        return problem;
    }
    let detail = "the node that had this is gone, and whether it was written is not known: retry with the same client_id";
    Problem::new(Code::OutcomeUnknown, detail)
}

/// Answers a message.
pub(in crate::node::session) fn answer(
    session: &Session,
    asked: Asked,
    result: Result<OkResult, Problem>,
    owed: Owed,
) {
    let Asked { reference, number } = asked;
    if number.repeat == Repeat::Silent {
        return session.answered(number);
    }

    match result {
        Ok(result) => {
            let reference = reference.unwrap_or_default();
            session.answer_frame(
                &ServerFrame::Ok {
                    reference: &reference,
                    result,
                },
                owed,
                number,
            );
        }
        Err(problem) => {
            let (status, code) = (problem.code.status(), problem.code.as_str());
            tracing::debug!(id = %session.request_id, user = %session.user, status, code, "frame refused");
            let problem = problem.body(&session.request_id);
            session.answer_frame(
                &ServerFrame::Error {
                    reference: reference.as_ref(),
                    problem,
                },
                owed,
                number,
            );
        }
    }
}

fn authorize(inner: &Inner, session: &Session, token: String) -> Result<OkResult, Problem> {
    let refuse = |why: String| Err(Problem::new(Code::Unauthorized, why));
    match (inner.verify)(&token) {
        Ok(identity) if identity.user != session.user => {
            refuse("the token is for another user".to_owned())
        }
        Ok(identity) if identity.expires <= session.expires.load(Ordering::Relaxed) => {
            refuse("the token does not live longer than the one in use".to_owned())
        }
        Ok(identity) => {
            let before = session.expires.swap(identity.expires, Ordering::Relaxed);
            let mut deadlines = inner.deadlines();
            deadlines.forget_token(session.id, ends(before));
            deadlines.token(session.id, ends(identity.expires));
            drop(deadlines);
            if session.is_followed {
                session.router.offer(Down::Token {
                    session: session.number,
                    token,
                });
            }
            Ok(NOTHING)
        }
        Err(refused) => refuse(refused.0),
    }
}

fn resume(
    inner: &Arc<Inner>,
    session: &Session,
    positions: BTreeMap<String, u64>,
    more: bool,
) -> (Result<OkResult, Problem>, Of) {
    let checked = match positions_of(positions) {
        Ok(checked) => checked,
        Err(problem) => return (Err(problem), Of::Itself),
    };
    match inner.on_board(|board| board.resume(session.id, checked, more)) {
        Resumed::Placed => (Ok(NOTHING), Of::Itself),
        Resumed::Later => (Ok(NOTHING), Of::Resume),
        Resumed::TooMany => {
            let detail = "too many positions in one resume; all of them are forgotten";
            (Err(Problem::new(Code::Invalid, detail)), Of::GivenUp)
        }
    }
}

fn positions_of(named: BTreeMap<String, u64>) -> Result<BTreeMap<ConversationName, Seq>, Problem> {
    if named.len() > RESUME_POSITIONS_MAX {
        return Err(Problem::new(
            Code::Invalid,
            "at most 500 positions in one frame; send the rest in further ones",
        ));
    }

    let mut checked = BTreeMap::new();
    for (name, position) in named {
        if position > POSITION_MAX {
            return Err(Problem::new(
                Code::Invalid,
                "a position is the seq last seen in a conversation",
            ));
        }
        checked.insert(conversation_name(&name)?, Seq(position));
    }

    Ok(checked)
}
