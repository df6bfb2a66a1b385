//! Presence: what sessions watch is asked of the owners of conversations and of users, and what
//! owners tell goes to sessions in turns (`turns`), between which everything else goes first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::ids::{ConversationName, SessionId, UserId};
use crate::link::front::attach::Repeat;
use crate::node::session::board::Board;
use crate::node::session::board::watching::TooMuch;
use crate::node::session::commands::{Asked, NOTHING, answer, conversation_name};
use crate::node::session::drive::wait;
use crate::node::session::hub::Inner;
use crate::node::session::post::Post;
use crate::node::session::said::{Number, Of};
use crate::node::session::typing::add_spare;
use crate::node::session::window::{Owed, Session};
use crate::problem::{Code, Problem};
use crate::protocol::{Presence, ServerFrame, WATCHED_MAX};
use crate::shard::command::{Found, Query, Watched};
use crate::telemetry;

/// What owners may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What a session is owed and is given in one turn.
const OWED_AT_ONCE: usize = 64;

/// Users in one question.
const USERS_AT_ONCE: usize = 1_024;

/// The version of the contract by which a router keeps what a session watches.
const KEPT_SINCE: u16 = 7;

fn checked(
    conversations: &[String],
    session: &Session,
    repeat: Repeat,
) -> Result<Vec<ConversationName>, Problem> {
    if conversations.len() > WATCHED_MAX {
        return Err(Problem::new(
            Code::Invalid,
            format!("a session watches at most {WATCHED_MAX} conversations"),
        ));
    }

    let names: BTreeSet<ConversationName> = conversations
        .iter()
        .map(|name| conversation_name(name))
        .collect::<Result<_, _>>()?;
    if repeat == Repeat::First && !session.asides.watches().take(Instant::now()) {
        return Err(Problem::new(
            Code::RateLimited,
            "one watch a second: name all conversations in one",
        ));
    }
    Ok(names.into_iter().collect())
}

impl Inner {
    /// A client says whom it watches: the participants of these conversations, in the place of
    /// those before.
    pub(super) fn says_watch(
        self: &Arc<Self>,
        session: &Arc<Session>,
        conversations: &[String],
        (asked, owed): (Asked, Owed),
    ) {
        let names = match checked(conversations, session, asked.number.repeat) {
            Ok(names) => names,
            Err(problem) => return answer(session, asked, Err(problem), owed),
        };
        let turn = session.asides.watches().begin();
        self.spawn(Arc::clone(self).begin_watch(Arc::clone(session), (names, turn), (asked, owed)));
    }

    async fn begin_watch(
        self: Arc<Self>,
        session: Arc<Session>,
        (names, turn): (Vec<ConversationName>, u64),
        (asked, owed): (Asked, Owed),
    ) {
        let is_silent = asked.number.repeat == Repeat::Silent;
        let result = if is_silent {
            self.watch_again(&session, (names.as_slice(), turn)).await
        } else {
            let found = self.acquainted(&session.user, &names).await;
            let all: Result<Vec<_>, Problem> = found
                .into_iter()
                .map(|(name, told)| told.map(|users| (name, users)))
                .collect();
            all.and_then(|all| self.watch_found(&session, all, turn))
        };

        // Its router has the next node told of what is watched, if it can, and unless another one
        // has taken its place.
        let is_watched = (result.is_ok() || is_silent) && session.asides.watches().is_at(turn);
        let is_kept = is_watched && session.router.version() >= KEPT_SINCE;
        let of = if is_kept { Of::Watch } else { asked.number.of };
        let asked = Asked {
            number: Number { of, ..asked.number },
            ..asked
        };
        answer(&session, asked, result.map(|()| NOTHING), owed);
    }

    /// Whom the user may see in each conversation.
    async fn acquainted(
        &self,
        user: &UserId,
        names: &[ConversationName],
    ) -> Vec<(ConversationName, Result<Vec<UserId>, Problem>)> {
        let deadline = Instant::now() + WITHIN;
        let each = names.iter().map(|name| async move {
            let shard = self.upstream.map().shard_of(name.slot());
            let query = Query::Acquainted {
                name: name.clone(),
                reader: user.clone(),
            };
            let found = match self.upstream.query(shard, query, deadline).await {
                Ok((Found::Acquainted(users), _)) => Ok(users),
                Ok(_) => Err(Problem::unavailable(
                    "the owner answered something else; try again",
                )),
                Err(problem) => Err(problem),
            };
            (name.clone(), found)
        });
        join_all(each).await
    }

    /// What a session watched at another node: what may be watched still, and the rest as soon as
    /// its owners answer.
    async fn watch_again(
        self: &Arc<Self>,
        session: &Arc<Session>,
        (names, turn): (&[ConversationName], u64),
    ) -> Result<(), Problem> {
        let (mut attempt, mut had) = (0, None);
        loop {
            wait(attempt).await;
            attempt += 1;
            let mut is_open = false;
            let mut named = Vec::with_capacity(names.len());
            for (name, users) in self.acquainted(&session.user, names).await {
                match users {
                    Ok(users) => named.push((name, users)),
                    Err(problem) => is_open |= problem.code.retryable(),
                }
            }
            let is_here = self
                .session(session.id)
                .is_some_and(|here| Arc::ptr_eq(&here, session));
            if had != Some(named.len()) {
                had = Some(named.len());
                self.watch_found(session, named, turn)?;
            }
            if !is_open || !is_here || !session.asides.watches().is_at(turn) {
                return Ok(());
            }
        }
    }

    /// These are watched, in the place of all before, unless the session has said another thing
    /// since.
    fn watch_found(
        self: &Arc<Self>,
        session: &Session,
        found: Vec<(ConversationName, Vec<UserId>)>,
        turn: u64,
    ) -> Result<(), Problem> {
        let watched = self.on_board(|board| {
            if session.asides.watches().is_at(turn) {
                board.watch(session, found)
            } else {
                Ok(())
            }
        });
        watched.map_err(|TooMuch| {
            Problem::unavailable("this node watches too many users; try again later")
        })
    }

    /// Asks the owners of these users how they are, and to be told when that changes.
    pub(super) async fn ask_presence(self: Arc<Self>, mut users: Vec<UserId>) {
        let mut attempt = 0;
        while !users.is_empty() {
            wait(attempt).await;
            attempt += 1;
            let asked: Vec<Watched> = {
                let board = self.board();
                users
                    .drain(..)
                    .filter_map(|user| board.watching.known(&user))
                    .collect()
            };
            for part in asked.chunks(USERS_AT_ONCE) {
                let answers = self
                    .upstream
                    .presence(part.to_vec(), Instant::now() + WITHIN)
                    .await;
                let (mut told, mut again) = (Vec::with_capacity(part.len()), Vec::new());
                for (of, one) in part.iter().zip(answers) {
                    match one {
                        Ok(one) => told.push(one),
                        Err(_) => again.push(of.user.clone()),
                    }
                }
                users.append(&mut again);
                self.on_board(|board| {
                    told.into_iter()
                        .for_each(|(epoch, one)| board.watching.told(epoch, one))
                });
            }
        }
    }
}

impl Board {
    /// A session watches these conversations from now on; those that its user has left since are
    /// left out.
    fn watch(
        &mut self,
        session: &Session,
        named: Vec<(ConversationName, Vec<UserId>)>,
    ) -> Result<(), TooMuch> {
        if !self.sessions.contains_key(&session.id) {
            return Ok(());
        }
        let memberships = self
            .users
            .get(&session.user)
            .map(|known| &known.memberships);
        let has_left = |name: &ConversationName| {
            let known = memberships.and_then(|memberships| memberships.get(name));
            known.is_some_and(|at| !at.joined && at.seq.0 > 0)
        };

        let mut of: Vec<_> = named
            .into_iter()
            .filter(|(name, _)| !has_left(name))
            .collect();
        for (_, users) in &mut of {
            users.retain(|user| *user != session.user);
        }
        self.watching.watch(session.id, of)
    }

    /// A user has left a conversation.
    pub(super) fn unseen(&mut self, user: &UserId, conversation: &ConversationName) {
        let sessions = self
            .users
            .get(user)
            .map(|known| known.sessions.clone())
            .unwrap_or_default();
        self.watching.left(user, conversation, &sessions);
    }

    /// One turn: some sessions are told of one user.
    pub(super) fn give_presence(&mut self) {
        let Some((presence, sessions)) = self.watching.next() else {
            return;
        };
        let mut post = Post::spare(ServerFrame::from(&presence).encode());
        let (mut given, mut missed) = (Vec::with_capacity(sessions.len()), Vec::new());
        for id in sessions {
            let Some(entry) = self
                .sessions
                .get(&id)
                .filter(|entry| entry.session.user != presence.user)
            else {
                continue;
            };
            if entry.is_quiet || !add_spare(&entry.session, &mut post, "presence") {
                missed.push(id);
            } else {
                given.push(&entry.session);
            }
        }

        let cost = post.cost();
        for unsent in post.send() {
            for session in given.iter().filter(|session| unsent.has(session)) {
                session.take_back(cost);
                missed.push(session.id);
            }
        }
        telemetry::SESSION_PRESENCE.add(1, &[]);
        missed
            .into_iter()
            .for_each(|id| self.watching.owe(id, &presence.user));
    }

    /// One turn: a session is told some of what it is owed. True when there may be more, and room
    /// for it.
    pub(super) fn give_owed(&mut self, id: SessionId) -> bool {
        let Some(entry) = self.sessions.get(&id) else {
            return false;
        };
        let session = Arc::clone(&entry.session);
        if entry.is_quiet || !session.has_room() || !session.router.takes_spare() {
            return false;
        }

        let owed = self.watching.take_owed(id, OWED_AT_ONCE);
        let mut has_room = true;
        for presence in &owed {
            if presence.user == session.user {
                continue;
            }
            has_room = has_room && give_one(&session, presence);
            if !has_room {
                self.watching.owe(id, &presence.user);
            }
        }

        telemetry::SESSION_PRESENCE.add(1, &[]);
        has_room && owed.len() == OWED_AT_ONCE
    }
}

/// Tells one session of one user, if it has room to spare.
fn give_one(session: &Session, presence: &Presence) -> bool {
    // Its link had room when the turn began, and has it for the whole of one.
    let mut post = Post::new(ServerFrame::from(presence).encode(), None);
    if !add_spare(session, &mut post, "presence") {
        return false;
    }
    let cost = post.cost();
    let is_sent = post.send().is_empty();
    if !is_sent {
        session.take_back(cost);
    }
    is_sent
}
