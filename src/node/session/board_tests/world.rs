//! A board, the owners that it asks, and the sessions that it tells.

use super::*;
use crate::link::front::attach::Stage;
use crate::node::session::board::work::{Fetch, Load, Work};
use crate::node::session::window::Router;
use crate::problem::Problem;

pub(super) enum Waiting {
    Asks(Vec<Ask>),
    Fetch(Fetch),
    Load(Load),
}

pub(super) enum Answer {
    Asks(Vec<Ask>, Vec<Subscribed>),
    Fetch(Fetch, Vec<Subscribed>),
    Load(Load, IndexPage),
}

pub(super) struct World {
    pub(super) board: Board,
    pub(super) owners: Owners,
    pub(super) clients: Vec<Client>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) answers: Vec<Answer>,
    pub(super) outbox: usize,
    /// All sessions are on one connection.
    pub(super) router: Arc<Router>,
}

impl World {
    pub(super) fn new(outbox: usize) -> Self {
        let board = Board::new(ShardMap::new(1).expect("a power of two"));
        let mut owners = Owners {
            epoch: 1,
            ..Owners::default()
        };

        for index in 0..2 {
            let participants = vec![user(0), user(1)];
            owners.commit(
                &conversation(index),
                EventKind::created(user(0), None, participants),
            );
        }

        owners.pushes.clear();
        Self {
            board,
            owners,
            clients: Vec::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            outbox,
            router: testing::router(),
        }
    }

    pub(super) fn gather(&mut self) {
        self.board.tell_stands();
        let Work {
            asks,
            fetches,
            loads,
            ended,
            ended_indexes: _,
            forgotten: _,
        } = self.board.take_work();

        for (name, user) in ended {
            self.owners.interests.remove(&(name, user));
        }

        if !asks.is_empty() {
            self.waiting.push(Waiting::Asks(asks));
        }

        self.waiting.extend(fetches.into_iter().map(Waiting::Fetch));
        self.waiting.extend(loads.into_iter().map(Waiting::Load));
    }

    pub(super) fn decide(&mut self, index: usize) {
        if self.waiting.is_empty() {
            return;
        }

        let answer = match self.waiting.remove(index % self.waiting.len()) {
            Waiting::Asks(asks) => {
                let answers = asks.iter().map(|ask| self.owners.subscribe(ask)).collect();
                Answer::Asks(asks, answers)
            }
            Waiting::Fetch(fetch) => {
                let answers = fetch
                    .asks
                    .iter()
                    .map(|ask| self.owners.subscribe(ask))
                    .collect();
                Answer::Fetch(fetch, answers)
            }
            Waiting::Load(load) => {
                let rows = self.owners.indexes.get(&load.user).into_iter().flatten();
                let mut items: Vec<_> = rows
                    .filter(|row| row.version > load.after)
                    .cloned()
                    .collect();
                let more = items.len() > 1;
                items.truncate(1);
                Answer::Load(load, IndexPage { items, more })
            }
        };
        self.answers.push(answer);
    }

    pub(super) fn arrive(&mut self, index: usize, fails: bool) {
        if self.answers.is_empty() {
            return;
        }

        let failed = |answers: Vec<Subscribed>| -> Vec<Subscribed> {
            let failed = || Subscribed::Failed(Problem::unavailable("test"));
            answers
                .into_iter()
                .map(|answer| if fails { failed() } else { answer })
                .collect()
        };

        match self.answers.remove(index % self.answers.len()) {
            Answer::Asks(asks, answers) => {
                for (ask, answer) in asks.iter().zip(failed(answers)) {
                    self.board.subscribed(ask, answer);
                }
            }
            Answer::Fetch(fetch, answers) => self.board.fetched(&fetch, failed(answers)),
            Answer::Load(load, _) if fails => self.board.load_failed(load),
            Answer::Load(load, page) => self.board.loaded(&load, &page),
        }
    }

    pub(super) fn moves(&mut self, s: usize) -> Result<(), TestCaseError> {
        let old = Arc::clone(&self.clients[s].session);
        self.clients[s].take(&self.owners)?;
        old.gone();
        self.board.close(old.id);
        self.gather();
        self.goes_on(s, &old);
        Ok(())
    }

    pub(super) fn die(&mut self) -> Result<(), TestCaseError> {
        for client in &mut self.clients {
            client.take(&self.owners)?;
            client.session.gone();
        }
        self.board = Board::new(ShardMap::new(1).expect("a power of two"));
        (self.waiting, self.answers) = (Vec::new(), Vec::new());
        (self.owners.interests, self.owners.pushes) = (HashMap::new(), VecDeque::new());
        self.owners.lagged = false;
        self.router = testing::router();
        for s in 0..self.clients.len() {
            let old = Arc::clone(&self.clients[s].session);
            self.goes_on(s, &old);
        }
        Ok(())
    }

    /// A session that was there goes on here, as its router tells.
    fn goes_on(&mut self, s: usize, old: &Session) {
        let first = if self.clients[s].held {
            Stage::Waits
        } else {
            Stage::Begun
        };
        let (session, attach, was_placed) = testing::moved(old, &self.router, self.outbox, first);
        self.board.goes_on(&session, attach);
        let client = &mut self.clients[s];
        client.session = session;
        // A resume is said again as long as no cursor was set for it.
        if let Some(positions) = client.unplaced.take().filter(|_| !was_placed) {
            client.unplaced = resumed(&mut self.board, client.session.id, positions);
        }
        self.gather();
    }

    pub(super) fn resume(
        &mut self,
        s: usize,
        c: usize,
        position: u64,
    ) -> Result<(), TestCaseError> {
        // What was queued before belongs to the old cursor.
        self.clients[s].take(&self.owners)?;
        let client = &mut self.clients[s];
        client.held = false;
        let named = BTreeMap::from([(conversation(c), Seq(position))]);
        let before = client
            .unplaced
            .take()
            .filter(|_| !testing::is_placed(&client.session));
        let unplaced = resumed(&mut self.board, client.session.id, named);
        client.unplaced = unplaced.map(|all| before.into_iter().flatten().chain(all).collect());
        client.seen.insert(conversation(c), Seq(position));
        client.out.remove(&conversation(c));
        client.strange.remove(&conversation(c));
        Ok(())
    }

    pub(super) fn drain(&mut self, s: usize) -> Result<(), TestCaseError> {
        self.clients[s].take(&self.owners)?;
        let id = self.clients[s].session.id;
        self.board.has_room(id);
        Ok(())
    }
}
