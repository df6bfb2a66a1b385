//! What another node would need to go on with a session, as its node tells it (ADR 7). Pure.

use std::sync::Arc;

use crate::ids::{Seq, SessionId, Slot};
use crate::link::front::attach::{Attach, STANDS_MAX, Stage, Stand};
use crate::router::sessions::names::Name;

/// Who a session is for, as it was opened: the same at every node.
#[derive(Debug, Clone)]
pub(in crate::router) struct Who {
    /// The slot of the user, whose shard's nodes hold it.
    pub(in crate::router) slot: Slot,
    /// The id of the upgrade; named in every problem.
    pub(in crate::router) request_id: Arc<str>,
    /// The newest one.
    pub(in crate::router) token: Arc<str>,
}

/// See the head of this file. At most [`STANDS_MAX`] conversations: a session of more is not
/// attached any more.
#[derive(Debug)]
pub(super) struct Followed {
    id: SessionId,
    who: Who,
    stage: Stage,
    /// How it stands where, in the order of the names.
    stands: Vec<(Name, Stand)>,
}

impl Followed {
    /// A session that has just been opened.
    pub(super) fn new(id: SessionId, who: Who, stage: Stage) -> Self {
        Self {
            id,
            who,
            stage,
            stands: Vec::new(),
        }
    }

    /// The session stands so.
    pub(super) fn stands(&mut self, name: &Name, stand: Stand) {
        match self.find(name) {
            Ok(Some(known)) => *known = stand,
            Ok(None) => {}
            Err(place) => self.insert(place, name, stand),
        }
    }

    /// An event or a gap was put into the socket.
    pub(super) fn shown(&mut self, name: &Name, seq: Seq) {
        match self.find(name) {
            Ok(Some(known)) => *known = known.shown(seq),
            Ok(None) => {}
            Err(place) => self.insert(place, name, Stand::at(seq)),
        }
    }

    /// It was told to be live.
    pub(super) fn announced(&mut self, name: &Name) {
        if let Ok(Some(known)) = self.find(name) {
            *known = known.announced();
        }
    }

    fn find(&mut self, name: &Name) -> Result<Option<&mut Stand>, usize> {
        let place = self.stands.binary_search_by(|(known, _)| known.cmp(name))?;
        Ok(self.stands.get_mut(place).map(|(_, stand)| stand))
    }

    fn insert(&mut self, place: usize, name: &Name, stand: Stand) {
        if self.stage == Stage::TooMany {
            return;
        }
        if self.stands.len() >= STANDS_MAX {
            self.stage = Stage::TooMany;
            self.stands = Vec::new();
            return;
        }
        // Most sessions are in as many conversations as they were at their start.
        self.stands.reserve_exact(1);
        self.stands.insert(place, (name.clone(), stand));
    }

    /// All that was set at once.
    pub(super) fn reserve(&mut self, more: usize) {
        self.stands.reserve_exact(more.min(STANDS_MAX));
    }

    /// The session is so far in its life.
    pub(super) fn is_at(&mut self, stage: Stage) {
        if self.stage == Stage::TooMany {
            return;
        }
        self.stage = stage;
        if stage == Stage::TooMany {
            self.stands = Vec::new();
        }
    }

    /// `ready` was put into the socket.
    pub(super) fn is_ready(&mut self) {
        if self.stage == Stage::Placed {
            self.stage = Stage::Ready;
        }
    }

    /// It has a newer token.
    pub(super) fn token(&mut self, token: &str) {
        self.who.token = Arc::from(token);
    }

    /// Another node can go on with it.
    pub(super) fn can_move(&self) -> bool {
        self.stage != Stage::TooMany
    }

    /// Who it is for.
    pub(super) fn who(&self) -> &Who {
        &self.who
    }

    /// What the other node is given, beside so many messages that are said again.
    pub(super) fn attach(&self, again: usize) -> Attach {
        let stands = self
            .stands
            .iter()
            .map(|(name, stand)| (name.text().clone(), *stand));
        Attach {
            id: self.id,
            stage: self.stage,
            stands: stands.collect(),
            again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConversationName;
    use crate::link::front::attach::Standing;
    use crate::router::sessions::names::Names;

    fn session(stage: Stage) -> Followed {
        let who = Who {
            slot: Slot(1),
            request_id: Arc::from("r"),
            token: Arc::from("t"),
        };
        Followed::new(SessionId::random(), who, stage)
    }

    fn name(names: &Names, text: &str) -> Name {
        names.of(&ConversationName::parse(text).expect("a name"))
    }

    #[test]
    fn what_was_told_and_shown_is_what_another_node_is_given() {
        let (names, mut session) = (Names::default(), session(Stage::Begun));
        let all: Vec<_> = ["c", "d", "e", "f"].map(|text| name(&names, text)).into();
        session.stands(
            &all[0],
            Standing::At {
                seq: Seq(3),
                named: true,
            }
            .into(),
        );
        session.stands(&all[1], Standing::Tail.into());
        session.stands(&all[2], Standing::Out { seq: Seq(7) }.into());
        session.is_at(Stage::Placed);
        session.shown(&all[0], Seq(4));
        session.shown(&all[3], Seq(1));
        session.announced(&all[0]);
        session.is_ready();
        session.token("newer");

        let Attach {
            stage, mut stands, ..
        } = session.attach(0);
        stands.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let stands: Vec<_> = stands
            .iter()
            .map(|(name, stand)| (name.as_str(), stand.standing()))
            .collect();
        let at = |seq| Standing::At {
            seq: Seq(seq),
            named: false,
        };
        assert_eq!(
            stands,
            [
                ("c", at(4)),
                ("d", Standing::Tail),
                ("e", Standing::Out { seq: Seq(7) }),
                ("f", at(1))
            ]
        );
        assert_eq!((stage, &*session.who().token), (Stage::Ready, "newer"));
    }

    #[test]
    fn ready_counts_only_once_the_cursors_are_known() {
        let mut session = session(Stage::Begun);
        session.is_ready();
        assert_eq!(
            session.attach(0).stage,
            Stage::Begun,
            "else another node would take all conversations for new"
        );
    }

    #[test]
    fn a_session_of_too_many_conversations_is_not_attached_and_keeps_nothing() {
        let (names, mut session) = (Names::default(), session(Stage::Ready));
        for number in 0..STANDS_MAX {
            session.shown(&name(&names, &format!("c{number}")), Seq(1));
        }
        assert!(session.can_move());
        session.shown(&name(&names, "one-more"), Seq(1));
        session.shown(&name(&names, "another"), Seq(1));
        session.is_at(Stage::Ready);
        assert!(!session.can_move() && session.stands.is_empty());
    }
}
