//! The steps that a cluster without a fault takes, one drawn after another.

use super::model::Model;
use super::{C, GUEST, MEMBERS};
use crate::chaos::history::{Act, Item, Outcome, Record, What};

impl Model {
    pub(super) fn step(&mut self) {
        match self.random.below(12) {
            0..4 => self.send(),
            4 => self.visit(),
            5 | 6 => self.page(),
            7 => self.newest(),
            8 => self.shown(),
            9 => self.open(),
            10 => self.deliver(),
            _ => self.marks(),
        }
    }

    fn send(&mut self) {
        let user = self.member();
        let op = self.begin(user, Act::Send);

        match self.random.below(10) {
            0 => self.end(
                op,
                Outcome::Failed {
                    code: "unavailable".to_owned(),
                },
            ),
            1 => {
                if self.random.percent(50) {
                    self.late.push((op, user));
                }
                self.end(
                    op,
                    Outcome::Unknown {
                        code: "timeout".to_owned(),
                    },
                );
            }
            _ => self.acknowledged(op, user),
        }
    }

    pub(super) fn send_surely(&mut self) {
        let user = self.member();
        let op = self.begin(user, Act::Send);
        self.acknowledged(op, user);
    }

    /// Acknowledged, and no session has it yet.
    pub(super) fn send_unseen(&mut self) {
        let op = self.begin(0, Act::Send);
        let item = self.append(What::Message { source: 0, op });
        self.end(
            op,
            Outcome::Ok {
                item: Some(item),
                clean: true,
            },
        );
    }

    pub(super) fn acknowledged(&mut self, op: u64, user: u32) {
        if let Some((op, source)) = self.late.pop() {
            self.append(What::Message { source, op });
        }
        let item = self.append(What::Message { source: user, op });

        // Sometimes others see it before the answer.
        if self.random.percent(30) {
            self.deliver();
        }

        self.end(
            op,
            Outcome::Ok {
                item: Some(item.clone()),
                clean: true,
            },
        );

        if self.random.percent(20) {
            let at = self.tick();
            self.records.push(Record::Again { at, op, item });
        }
    }

    pub(super) fn visit(&mut self) {
        let (act, what) = if self.guest {
            (Act::Remove { user: GUEST }, What::Left { user: GUEST })
        } else {
            (
                Act::Add { user: GUEST },
                What::Joined { users: vec![GUEST] },
            )
        };

        let op = self.begin(0, act);
        self.append(what);
        self.guest = !self.guest;
        self.end(
            op,
            Outcome::Ok {
                item: None,
                clean: true,
            },
        );

        if self.guest {
            let op = self.begin(GUEST, Act::Send);
            let item = self.append(What::Message { source: GUEST, op });
            self.end(
                op,
                Outcome::Ok {
                    item: Some(item),
                    clean: true,
                },
            );
        } else {
            let op = self.begin(GUEST, Act::Send);
            self.end(
                op,
                Outcome::Failed {
                    code: "not_participant".to_owned(),
                },
            );
            let read = self.read(GUEST);
            self.records.push(Record::Refused { read });
        }
    }

    pub(super) fn page(&mut self) {
        let user = self.member();
        let read = self.read(user);
        let after = self.random.below(self.line.len() as u64 + 1);
        let items: Vec<Item> = self.line[after as usize..]
            .iter()
            .take(7)
            .cloned()
            .collect();
        let end = after as usize + items.len() == self.line.len();
        self.records.push(Record::Page {
            read,
            after,
            items,
            end,
        });
    }

    pub(super) fn newest(&mut self) {
        let user = self.member();
        let read = self.read(user);
        let messages = self
            .line
            .iter()
            .rev()
            .filter(|item| matches!(item.what, What::Message { .. }));
        let mut items: Vec<Item> = messages.take(5).cloned().collect();
        items.reverse();
        self.records.push(Record::Newest { read, items });
    }

    fn shown(&mut self) {
        let user = self.member();
        let read = self.read(user);
        let mut users = MEMBERS.to_vec();
        users.extend(self.guest.then_some(GUEST));
        self.records.push(Record::Shown {
            read,
            last: self.line.len() as u64,
            users,
        });
    }

    pub(super) fn marks(&mut self) {
        self.read_up_to = self.random.between(self.read_up_to, self.line.len() as u64);
        let seq = self.read_up_to;
        let op = self.begin(1, Act::Read { seq });
        self.end(
            op,
            Outcome::Ok {
                item: None,
                clean: true,
            },
        );
        let read = self.read(0);
        self.records.push(Record::Marks {
            read,
            marks: vec![(1, seq, seq)],
        });
    }

    pub(super) fn open(&mut self) {
        self.session += 1;
        let (at, user) = (self.tick(), self.member());
        let position = self.random.below(self.line.len() as u64 + 1);
        self.records.push(Record::Opened {
            at,
            session: self.session,
            user,
            positions: vec![(C, position)],
        });
        self.sessions.push((self.session, user, position));
    }

    pub(super) fn deliver(&mut self) {
        let at = self.tick();
        for (session, _, position) in &mut self.sessions {
            let items = self.line[*position as usize..].to_vec();
            *position = self.line.len() as u64;
            self.records.push(Record::Frames {
                at,
                session: *session,
                conversation: C,
                items,
            });
            self.records.push(Record::Live {
                at,
                session: *session,
                positions: vec![(C, *position)],
            });
        }
    }
}
