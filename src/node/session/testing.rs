//! Sessions on a connection that only notes what it is given.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::Config;
use super::routers::Downward;
use super::window::{Router, Session};
use crate::ids::{ConversationName, SessionId, UserId};
use crate::link::front::attach::{Attach, Stage, Stand, Standing, Tells};
use crate::link::front::{self, Down, Handle, SessionNumber};

impl Config {
    /// Small limits, and waits as the program has them.
    pub(crate) fn small() -> Self {
        Self {
            outbox_bytes_max: 512 * 1024,
            heartbeat: Duration::from_secs(25),
            write_timeout: Duration::from_secs(10),
            sessions_per_user_max: 4,
            sessions_max: 100,
            frames_per_second_max: 100,
            delivered_every: Duration::from_millis(250),
            resume_wait_max: Duration::from_secs(10),
        }
    }
}

/// Notes what it is given.
#[derive(Debug, Default)]
pub(super) struct Noting {
    texts: Mutex<HashMap<SessionNumber, Vec<Bytes>>>,
    delivers: AtomicUsize,
    /// Frames for clients, in their order.
    sent: Mutex<Vec<Bytes>>,
    is_full: AtomicBool,
    is_laden: AtomicBool,
    others: Mutex<Vec<Down>>,
    kept: Mutex<Kept>,
}

/// What a router keeps of its sessions, plainly.
#[derive(Debug, Default)]
struct Kept {
    names: HashMap<Handle, ConversationName>,
    sessions: HashMap<SessionNumber, KeptSession>,
}

#[derive(Debug, Clone, Default)]
struct KeptSession {
    stage: Option<Stage>,
    stands: HashMap<ConversationName, Stand>,
    /// The node that has it told that its cursors are set.
    is_placed: bool,
}

impl Kept {
    #[expect(clippy::too_many_lines, reason = "one arm for each frame")]
    fn take_in(&mut self, down: &Down) {
        match down {
            Down::Known {
                handle,
                conversation,
            } => drop(self.names.insert(*handle, conversation.clone())),
            Down::Forgotten(handle) => drop(self.names.remove(handle)),
            Down::Deliver {
                to,
                quiet,
                event,
                tells,
                ..
            } => {
                let event =
                    event.and_then(|(handle, seq)| Some((self.names.get(&handle)?.clone(), seq)));
                for number in to.iter().chain(quiet) {
                    let KeptSession { stage, stands, .. } =
                        self.sessions.entry(*number).or_default();
                    if let Some((name, seq)) = &event {
                        let shown = stands
                            .get(name)
                            .map_or_else(|| Stand::at(*seq), |stand| stand.shown(*seq));
                        stands.insert(
                            name.clone(),
                            if let Tells::Stand(stand) = tells {
                                *stand
                            } else {
                                shown
                            },
                        );
                    }
                    match tells {
                        Tells::Ready if *stage == Some(Stage::Placed) => {
                            *stage = Some(Stage::Ready)
                        }
                        Tells::Live(handles) => {
                            for name in handles.iter().filter_map(|handle| self.names.get(handle)) {
                                stands
                                    .entry(name.clone())
                                    .and_modify(|stand| *stand = stand.announced());
                            }
                        }
                        _ => {}
                    }
                }
            }
            Down::Stands {
                session,
                stage,
                at,
                out,
            } => {
                let KeptSession {
                    stage: kept,
                    stands,
                    is_placed,
                } = self.sessions.entry(*session).or_default();
                *kept = stage.or(*kept);
                *is_placed |= matches!(stage, Some(Stage::Placed | Stage::Ready));
                let known = at
                    .iter()
                    .filter_map(|(handle, stand)| Some((self.names.get(handle)?.clone(), *stand)));
                stands.extend(known);
                stands.extend(
                    out.iter()
                        .map(|(name, seq)| (name.clone(), Standing::Out { seq: *seq }.into())),
                );
            }
            _ => {}
        }
    }
}

impl Noting {
    /// From now on there is no room for deliveries.
    pub(super) fn fill(&self) {
        self.is_full.store(true, Ordering::SeqCst);
    }

    /// There is room again.
    pub(super) fn empty(&self) {
        self.is_full.store(false, Ordering::SeqCst);
    }

    /// From now on, or no more, so much waits that nothing is put behind it which may be told
    /// later.
    pub(super) fn lade(&self, is_laden: bool) {
        self.is_laden.store(is_laden, Ordering::SeqCst);
    }

    /// How many frames went over the link, for however many sessions.
    pub(super) fn delivers(&self) -> usize {
        self.delivers.load(Ordering::SeqCst)
    }

    /// Frames for clients that went over the link, in their order; each once, for however many
    /// sessions.
    pub(super) fn sent(&self) -> Vec<Value> {
        let sent = self.sent.lock().expect("lock");
        sent.iter()
            .map(|text| serde_json::from_slice(text).expect("json"))
            .collect()
    }

    /// What was given beside frames for clients.
    pub(super) fn others(&self) -> Vec<Down> {
        std::mem::take(&mut self.others.lock().expect("lock"))
    }
}

impl Downward for Noting {
    fn offer(&self, down: Down) -> Result<(), Down> {
        if matches!(down, Down::Deliver { .. }) && self.is_full.load(Ordering::SeqCst) {
            return Err(down);
        }

        self.kept.lock().expect("lock").take_in(&down);
        match down {
            Down::Deliver {
                to, quiet, text, ..
            } => {
                self.delivers.fetch_add(1, Ordering::SeqCst);
                self.sent.lock().expect("lock").push(text.clone());
                let mut texts = self.texts.lock().expect("lock");
                for number in to.into_iter().chain(quiet) {
                    texts.entry(number).or_default().push(text.clone());
                }
            }
            other => self.others.lock().expect("lock").push(other),
        }

        Ok(())
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::SeqCst)
    }

    fn takes_spare(&self) -> bool {
        self.has_room() && !self.is_laden.load(Ordering::SeqCst)
    }

    fn version(&self) -> u16 {
        crate::link::PEER_VERSION
    }
}

/// A connection of which everything is noted.
pub(super) fn router() -> Arc<Router> {
    Router::new(Box::new(Noting::default()))
}

/// What was given to a connection of a test, beside frames for clients.
pub(super) fn noted(router: &Router) -> Vec<Down> {
    let end: &dyn Any = router.end();
    end.downcast_ref::<Noting>()
        .expect("a connection of a test")
        .others()
}

/// What was noted of the session's connection.
pub(super) fn router_of(session: &Session) -> &Noting {
    let end: &dyn Any = session.router.end();
    end.downcast_ref().expect("a connection of a test")
}

/// A session on a connection of its own.
pub(super) fn session(user: &str, bytes_max: usize) -> Arc<Session> {
    session_on(&router(), UserId::parse(user).expect("a name"), bytes_max)
}

/// A session on this connection, of which its router keeps what another node would need.
pub(super) fn session_on(router: &Arc<Router>, user: UserId, bytes_max: usize) -> Arc<Session> {
    session_of(router, user, bytes_max, None)
}

fn session_of(
    router: &Arc<Router>,
    user: UserId,
    bytes_max: usize,
    id: Option<SessionId>,
) -> Arc<Session> {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let on = (Arc::clone(router), NUMBERS.fetch_add(1, Ordering::SeqCst));
    let session =
        Arc::new(Session::new(on, user, Arc::from("r"), u64::MAX, bytes_max).followed(id));
    router.enter(session.number, &session);
    session
}

/// The node told that the session's cursors are set.
pub(super) fn is_placed(session: &Session) -> bool {
    let kept = router_of(session).kept.lock().expect("lock");
    kept.sessions
        .get(&session.number)
        .is_some_and(|session| session.is_placed)
}

/// The same session on this connection, at another node, and what that is told of it; `first` is
/// how far a session is of which nothing was told. Also whether the node that had it had set its
/// cursors.
pub(super) fn moved(
    session: &Session,
    router: &Arc<Router>,
    bytes_max: usize,
    first: Stage,
) -> (Arc<Session>, Attach, bool) {
    let kept = router_of(session)
        .kept
        .lock()
        .expect("lock")
        .sessions
        .remove(&session.number);
    let KeptSession {
        stage,
        stands,
        is_placed,
    } = kept.unwrap_or_default();
    let new = session_of(router, session.user.clone(), bytes_max, Some(session.id));

    // The router keeps it, until the new node tells more.
    let goes_on = KeptSession {
        stage,
        stands: stands.clone(),
        is_placed: false,
    };

    router_of(&new)
        .kept
        .lock()
        .expect("lock")
        .sessions
        .insert(new.number, goes_on);
    let (id, stage) = (session.id, stage.unwrap_or(first));

    let attach = Attach {
        id,
        stage,
        stands: stands.into_iter().collect(),
        again: 0,
    };
    (new, attach, is_placed)
}

/// All frames sent to a session; they are taken.
pub(super) fn frames(session: &Session) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let texts = router_of(session)
            .texts
            .lock()
            .expect("lock")
            .remove(&session.number)
            .unwrap_or_default();
        if texts.is_empty() {
            return found;
        }
        found.extend(
            texts
                .iter()
                .map(|text| serde_json::from_slice::<Value>(text).expect("json")),
        );
        session.taken(texts.iter().map(|text| front::cost(text.len())).sum());
    }
}
