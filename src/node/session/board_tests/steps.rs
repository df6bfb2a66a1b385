//! What may happen to a board, and what holds when all of it has come to rest.

use super::*;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Say(usize, usize),
    Join(usize, usize),
    Leave(usize, usize),
    /// A conversation is deleted.
    Shut(usize),
    Deliver,
    /// The pushes of a shard are lost from now on, until the node is told.
    Lose,
    Tell,
    /// The shards of users are not told of changes from now on, or are told again.
    Indexes(bool),
    /// The owner takes the n-th waiting request, now.
    Decide(usize),
    /// The n-th decided answer arrives.
    Arrive(usize, bool),
    Open(usize, bool),
    Close(usize),
    /// Another connection carries it on, to the same node.
    Move(usize),
    /// The node dies with all that is under way, and another one goes on with all sessions.
    Die,
    Resume(usize, usize, u64),
    Drain(usize),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Say(c, u)),
        2 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Join(c, u)),
        2 => (0..2_usize, 0..3_usize).prop_map(|(c, u)| Step::Leave(c, u)),
        1 => prop::bool::weighted(0.2).prop_map(|second| Step::Shut(usize::from(second))),
        8 => Just(Step::Deliver),
        1 => Just(Step::Lose),
        1 => Just(Step::Tell),
        1 => any::<bool>().prop_map(Step::Indexes),
        6 => (0..8_usize).prop_map(Step::Decide),
        6 => (0..8_usize, prop::bool::weighted(0.1)).prop_map(|(n, fails)| Step::Arrive(n, fails)),
        2 => (0..3_usize, any::<bool>()).prop_map(|(u, held)| Step::Open(u, held)),
        1 => (0..6_usize).prop_map(Step::Close),
        1 => (0..6_usize).prop_map(Step::Move),
        1 => Just(Step::Die),
        1 => (0..6_usize, 0..2_usize, 0..12_u64).prop_map(|(s, c, p)| Step::Resume(s, c, p)),
        3 => (0..6_usize).prop_map(Step::Drain),
    ];
    prop::collection::vec(step, 0..120)
}

impl World {
    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    pub(super) fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Say(c, u) if self.owners.members(&conversation(c)).contains_key(&user(u)) => {
                self.owners.say(&conversation(c), &user(u));
            }
            Step::Join(c, u)
                if !self.owners.closed.contains_key(&conversation(c))
                    && !self.owners.members(&conversation(c)).contains_key(&user(u)) =>
            {
                let kind = EventKind::joined(user(0), vec![user(u)]);
                self.owners.commit(&conversation(c), kind);
            }
            Step::Leave(c, u) if self.owners.members(&conversation(c)).contains_key(&user(u)) => {
                let kind = EventKind::left(user(0), user(u), None);
                self.owners.commit(&conversation(c), kind);
            }
            Step::Shut(c) if !self.owners.closed.contains_key(&conversation(c)) => {
                self.owners.close(&conversation(c));
            }
            Step::Deliver => {
                if let Some(push) = self.owners.pushes.pop_front() {
                    self.board.push(push);
                }
            }
            Step::Lose => self.owners.lagged = true,
            Step::Tell if self.owners.lagged => {
                self.owners.lagged = false;
                self.owners.epoch += 1;
                self.owners.interests.clear();
                self.owners.pushes.push_back(Push::Resubscribe {
                    shard: crate::ids::ShardId(0),
                });
            }
            Step::Indexes(heard) => {
                self.owners.unheard = !heard;
                if heard {
                    self.owners.tell_indexes();
                }
            }
            Step::Decide(index) => self.decide(index),
            Step::Arrive(index, fails) => self.arrive(index, fails),
            Step::Open(u, held) if self.clients.len() < 6 => {
                let session = session_on(&self.router, user(u), self.outbox);
                self.board.open(&session, held);
                let (seen, out, strange) = (HashMap::new(), HashMap::new(), HashMap::new());
                let (user, ready, unplaced) = (user(u), 0, None);
                self.clients.push(Client {
                    session,
                    user,
                    seen,
                    out,
                    strange,
                    ready,
                    held,
                    unplaced,
                });
            }
            Step::Close(s) if s < self.clients.len() => {
                let client = self.clients.remove(s);
                self.board.close(client.session.id);
            }
            Step::Move(s) if s < self.clients.len() => self.moves(s)?,
            Step::Die => self.die()?,
            Step::Resume(s, c, position) if s < self.clients.len() => {
                self.resume(s, c, position)?
            }
            Step::Drain(s) if s < self.clients.len() => self.drain(s)?,
            _ => {}
        }

        self.gather();
        Ok(())
    }

    /// Everything under way arrives, all outboxes are read.
    pub(super) fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        self.step(&Step::Tell)?;
        self.step(&Step::Indexes(true))?;

        let held: Vec<SessionId> = self
            .clients
            .iter()
            .map(|client| client.session.id)
            .collect();
        for id in held {
            self.board.stop_waiting(id);
        }

        for _ in 0..5_000 {
            self.gather();
            let idle =
                self.owners.pushes.is_empty() && self.waiting.is_empty() && self.answers.is_empty();
            self.step(&Step::Deliver)?;
            self.decide(0);
            self.arrive(0, false);
            for s in 0..self.clients.len() {
                self.drain(s)?;
            }
            self.gather();
            if idle && self.waiting.is_empty() {
                // The last room that was made may have let something in that waits for nothing
                // else.
                for client in &mut self.clients {
                    client.take(&self.owners)?;
                }
                return Ok(());
            }
        }

        Err(TestCaseError::fail("it never comes to rest"))
    }

    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        for client in &self.clients {
            prop_assert!(client.ready >= 1, "{} is never ready", client.user);
            prop_assert!(
                !client.session.has_ended(),
                "nothing that is sent ends a session"
            );
            for index in 0..2 {
                let name = conversation(index);
                let is_member = self.owners.members(&name).contains_key(&client.user);
                let place = self.board.feeds.get(&name).and_then(|feed| {
                    let member = feed.members.get(&client.user)?;
                    member
                        .places
                        .iter()
                        .find(|place| place.session.id == client.session.id)
                });
                prop_assert_eq!(place.is_some(), is_member, "{} in {}", client.user, name);
                let missed = client.missed(&self.owners, &name);
                prop_assert!(
                    missed.is_none(),
                    "{} was in {name} at {missed:?}, and was told nothing",
                    client.user
                );
                if let Some(place) = place {
                    let tail = self.owners.tail(&name);
                    prop_assert_eq!(
                        place.cursor,
                        crate::node::session::board::state::Cursor::Live { seq: tail }
                    );
                    if let Some(seen) = client.seen.get(&name) {
                        prop_assert_eq!(*seen, tail, "{} saw all of {}", client.user, name);
                    }
                    prop_assert!(
                        self.owners
                            .interests
                            .contains_key(&(name, client.user.clone()))
                    );
                }
            }
        }
        Ok(())
    }
}
