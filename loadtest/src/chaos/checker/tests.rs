//! Histories that a correct cluster gives pass; each kind of break of them is found.
#![allow(
    clippy::cast_possible_truncation,
    clippy::shadow_unrelated,
    reason = "small numbers; one operation after another"
)]

use proptest::prelude::*;

use crate::chaos::checker::Checker;
use crate::chaos::checker::deafness::DEAF_MAX;
use crate::chaos::history::{Act, Item, Outcome, Read, Record, What};
use crate::chaos::random::Random;

/// The conversation of all these histories.
const C: u32 = 0;
/// Those who stay in it.
const MEMBERS: [u32; 3] = [0, 1, 2];
/// One who comes and goes.
const GUEST: u32 = 9;

/// A cluster that does nothing wrong: one conversation, each operation done at one moment between
/// its begin and its end.
struct Model {
    random: Random,
    now: u64,
    op: u64,
    session: u64,
    line: Vec<Item>,
    guest: bool,
    records: Vec<Record>,
    /// Sessions with where they are.
    sessions: Vec<(u64, u32, u64)>,
    /// Done, but nobody was told.
    late: Vec<(u64, u32)>,
    read_up_to: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            random: Random::new(seed),
            now: 0,
            op: 0,
            session: 0,
            line: Vec::new(),
            guest: false,
            records: Vec::new(),
            sessions: Vec::new(),
            late: Vec::new(),
            read_up_to: 0,
        };
        let users = MEMBERS.to_vec();
        let op = model.begin(
            0,
            Act::Create {
                users: users.clone(),
            },
        );
        model.append(What::Created { users });
        model.end(
            op,
            Outcome::Ok {
                item: None,
                clean: true,
            },
        );
        model
    }

    fn tick(&mut self) -> u64 {
        self.now += 1 + self.random.below(1_000);
        self.now
    }

    fn begin(&mut self, user: u32, act: Act) -> u64 {
        self.op += 1;
        let (at, op) = (self.tick(), self.op);
        self.records.push(Record::Begun {
            at,
            op,
            user,
            conversation: C,
            act,
        });
        op
    }

    fn end(&mut self, op: u64, result: Outcome) {
        let at = self.tick();
        self.records.push(Record::Ended { at, op, result });
    }

    fn append(&mut self, what: What) -> Item {
        let seq = self.line.len() as u64 + 1;
        let item = Item {
            seq,
            digest: self.random.next(),
            what,
        };
        self.line.push(item.clone());
        item
    }

    fn read(&mut self, user: u32) -> Read {
        let begun = self.tick();
        Read {
            begun,
            at: self.tick(),
            user,
            conversation: C,
            stale: false,
        }
    }

    fn member(&mut self) -> u32 {
        MEMBERS[self.random.below(3) as usize]
    }

    fn step(&mut self) {
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

    fn send_surely(&mut self) {
        let user = self.member();
        let op = self.begin(user, Act::Send);
        self.acknowledged(op, user);
    }

    /// Acknowledged, and no session has it yet.
    fn send_unseen(&mut self) {
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

    fn acknowledged(&mut self, op: u64, user: u32) {
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

    fn visit(&mut self) {
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

    fn page(&mut self) {
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

    fn newest(&mut self) {
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

    fn marks(&mut self) {
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

    fn open(&mut self) {
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

    fn deliver(&mut self) {
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

    /// Everything is read to its end.
    fn finish(mut self) -> Vec<Record> {
        self.deliver();
        let read = self.read(0);
        self.records.push(Record::Page {
            read,
            after: 0,
            items: self.line.clone(),
            end: true,
        });
        let at = self.tick();
        self.records.push(Record::Final {
            at,
            conversation: C,
            last: self.line.len() as u64,
        });
        self.records
    }
}

fn history(seed: u64, steps: usize) -> Vec<Record> {
    let mut model = Model::new(seed);
    (0..steps).for_each(|_| model.step());
    // At least one of each, so that there is something to break.
    model.open();
    model.send_surely();
    model.send_surely();
    model.page();
    model.newest();
    model.deliver();
    model.finish()
}

fn rules(records: &[Record]) -> Vec<String> {
    let mut checker = Checker::default();
    records.iter().for_each(|record| checker.take(record));
    checker
        .violations
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

/// Positions of records that fit.
fn places(records: &[Record], fits: impl Fn(&Record) -> bool) -> Vec<usize> {
    (0..records.len()).filter(|i| fits(&records[*i])).collect()
}

/// The last page, of everything.
fn last_page(records: &mut [Record]) -> &mut Vec<Item> {
    let page = records.iter_mut().rev().find_map(|record| match record {
        Record::Page { items, .. } => Some(items),
        _ => None,
    });
    page.unwrap()
}

fn is_acknowledged(record: &Record) -> bool {
    matches!(
        record,
        Record::Ended {
            result: Outcome::Ok { item: Some(_), .. },
            ..
        }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_correct_history_passes(seed: u64, steps in 0..150_usize) {
        prop_assert_eq!(rules(&history(seed, steps)), Vec::<String>::new());
    }

    #[test]
    fn the_history_survives_the_disk(seed: u64) {
        for record in history(seed, 30) {
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        }
    }

    #[test]
    fn what_was_acknowledged_last_and_is_lost_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let kept = last_page(&mut records);
        kept.pop();
        let last = kept.len() as u64;
        if let Some(Record::Final { last: told, .. }) = records.last_mut() {
            *told = last;
        }
        prop_assert!(!rules(&records).is_empty());
    }

    #[test]
    fn a_message_that_is_there_twice_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let items = last_page(&mut records);
        let mut twice = items.iter().find(|item| matches!(item.what, What::Message { .. })).unwrap().clone();
        twice.seq = items.len() as u64 + 1;
        items.push(twice);
        prop_assert!(rules(&records).contains(&"nothing twice".to_owned()));
    }

    #[test]
    fn two_orders_are_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let items = last_page(&mut records);
        let last = items.len() - 1;
        let (a, b) = (items[last].seq, items[last - 1].seq);
        (items[last].seq, items[last - 1].seq) = (b, a);
        items.swap(last, last - 1);
        prop_assert!(rules(&records).contains(&"one order, the same for everybody".to_owned()));
    }

    #[test]
    fn a_refused_message_that_appears_is_found(seed: u64, steps in 0..100_usize, chosen: prop::sample::Index) {
        let mut records = history(seed, steps);
        let places = places(&records, is_acknowledged);
        if let Record::Ended { result, .. } = &mut records[*chosen.get(&places)] {
            *result = Outcome::Failed { code: "unavailable".to_owned() };
        }
        prop_assert!(rules(&records).contains(&"refused must not appear".to_owned()));
    }

    #[test]
    fn a_change_that_a_session_is_not_sent_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        // Of the last delivery with at least three, the one in the middle.
        let places = places(&records, |record| matches!(record, Record::Frames { items, .. } if items.len() > 2));
        prop_assume!(!places.is_empty());
        if let Record::Frames { items, .. } = &mut records[*places.last().unwrap()] {
            items.remove(1);
        }
        prop_assert!(rules(&records).contains(&"sessions see each change once, in order".to_owned()));
    }

    #[test]
    fn a_change_that_a_session_is_sent_twice_is_found(seed: u64, steps in 0..100_usize, chosen: prop::sample::Index) {
        let mut records = history(seed, steps);
        let places = places(&records, |record| matches!(record, Record::Frames { items, .. } if !items.is_empty()));
        prop_assume!(!places.is_empty());
        if let Record::Frames { items, .. } = &mut records[*chosen.get(&places)] {
            items.insert(0, items[0].clone());
        }
        prop_assert!(rules(&records).contains(&"sessions see each change once, in order".to_owned()));
    }

    #[test]
    fn a_session_that_begins_with_a_hole_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let places = places(&records, |record| matches!(record, Record::Opened { .. }));
        let Record::Opened { positions, .. } = &mut records[places[places.len() - 1]] else { unreachable!() };
        prop_assume!(positions[0].1 > 0);
        positions[0].1 -= 1;
        prop_assert!(rules(&records).contains(&"sessions see each change once, in order".to_owned()));
    }

    #[test]
    fn a_page_with_a_hole_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let items = last_page(&mut records);
        items.remove(items.len() / 2);
        prop_assert!(rules(&records).contains(&"seqs are dense".to_owned()));
    }

    #[test]
    fn an_old_read_is_found_and_a_marked_one_is_not(seed: u64, steps in 0..100_usize, stale: bool) {
        let mut records = history(seed, steps);
        let at = records.last().unwrap().at();
        let read = Read { begun: at + 1, at: at + 2, user: 0, conversation: C, stale };
        let items: Vec<Item> = last_page(&mut records)[..2].to_vec();
        records.push(Record::Page { read, after: 0, items, end: true });
        let found = rules(&records).iter().any(|rule| rule.contains("not older"));
        prop_assert_eq!(found, !stale);
    }

    #[test]
    fn an_old_list_of_messages_is_found(seed: u64, steps in 0..100_usize) {
        let mut records = history(seed, steps);
        let at = records.last().unwrap().at();
        let read = Read { begun: at + 1, at: at + 2, user: 0, conversation: C, stale: false };
        records.push(Record::Newest { read, items: Vec::new() });
        prop_assert!(rules(&records).iter().any(|rule| rule.contains("not older")));
    }

    #[test]
    fn a_list_of_messages_with_a_hole_is_found(seed: u64, steps in 20..100_usize) {
        let mut records = history(seed, steps);
        let full = |record: &Record| matches!(record, Record::Newest { items, .. } if items.len() > 2);
        let places = places(&records, full);
        prop_assume!(!places.is_empty());
        let mut again = records[*places.last().unwrap()].clone();
        if let Record::Newest { items, .. } = &mut again {
            items.remove(1);
        }
        records.push(again);
        prop_assert!(rules(&records).contains(&"one order, the same for everybody".to_owned()));
    }

    #[test]
    fn watermarks_that_go_back_are_found(seed: u64, steps in 0..100_usize, back in 1_u64..3) {
        let mut model = Model::new(seed);
        (0..steps).for_each(|_| model.step());
        (0..4).for_each(|_| model.send_surely());
        model.read_up_to = model.line.len() as u64;
        model.marks();
        let read = model.read(0);
        let height = model.read_up_to.saturating_sub(back);
        prop_assume!(height < model.read_up_to);
        model.records.push(Record::Marks { read, marks: vec![(1, model.read_up_to, height)] });
        prop_assert!(rules(&model.finish()).contains(&"watermarks never go back".to_owned()));
    }

    #[test]
    fn what_a_removed_participant_does_or_is_sent_is_found(seed: u64, steps in 0..100_usize, how in 0..4) {
        let mut model = Model::new(seed);
        (0..steps).for_each(|_| model.step());
        if model.guest {
            model.visit();
        }
        model.visit();
        let joined = model.line.len() as u64 - 2;
        model.visit();
        let from = "nothing from a removed participant";
        let to = "nothing to a removed participant";
        let expected = match how {
            0 => {
                let op = model.begin(GUEST, Act::Send);
                let item = model.append(What::Message { source: GUEST, op });
                model.end(op, Outcome::Ok { item: Some(item), clean: true });
                from
            }
            1 => {
                let op = model.begin(GUEST, Act::Send);
                model.append(What::Message { source: GUEST, op });
                model.end(op, Outcome::Unknown { code: "timeout".to_owned() });
                from
            }
            2 => {
                let read = model.read(GUEST);
                model.records.push(Record::Page { read, after: 0, items: model.line.clone(), end: true });
                to
            }
            _ => {
                model.session += 1;
                let (at, session) = (model.tick(), model.session);
                model.records.push(Record::Opened { at, session, user: GUEST, positions: vec![(C, joined)] });
                model.send_surely();
                let items = model.line[joined as usize..].to_vec();
                model.records.push(Record::Frames { at, session, conversation: C, items });
                to
            }
        };
        prop_assert!(rules(&model.finish()).contains(&expected.to_owned()));
    }

    #[test]
    fn an_old_refusal_of_one_who_is_in_is_found(seed: u64, steps in 0..100_usize, sends: bool) {
        let mut model = Model::new(seed);
        (0..steps).for_each(|_| model.step());
        if sends {
            let op = model.begin(1, Act::Send);
            model.end(op, Outcome::Failed { code: "not_participant".to_owned() });
        } else {
            let read = model.read(1);
            model.records.push(Record::Refused { read });
        }
        prop_assert!(rules(&model.finish()).iter().any(|rule| rule.contains("refusal")));
    }

    #[test]
    fn a_message_of_nobody_is_found(seed: u64, steps in 0..100_usize) {
        let mut model = Model::new(seed);
        (0..steps).for_each(|_| model.step());
        model.append(What::Message { source: 1, op: 1_000_000 });
        prop_assert!(rules(&model.finish()).contains(&"nothing that nobody sent".to_owned()));
    }
}

#[test]
fn after_an_attempt_of_unknown_outcome_nothing_is_sure_of_a_membership() {
    let mut model = Model::new(5);
    let op = model.begin(0, Act::Add { user: GUEST });
    model.end(
        op,
        Outcome::Unknown {
            code: "timeout".to_owned(),
        },
    );
    let op = model.begin(0, Act::Remove { user: GUEST });
    model.end(
        op,
        Outcome::Ok {
            item: None,
            clean: true,
        },
    );
    // The first is done after all.
    model.append(What::Joined { users: vec![GUEST] });
    let read = model.read(GUEST);
    model.records.push(Record::Page {
        read,
        after: 0,
        items: model.line.clone(),
        end: true,
    });
    assert_eq!(rules(&model.finish()), Vec::<String>::new());
}

#[test]
fn a_gap_is_no_hole_but_a_needless_one_is_wrong() {
    for (reason, wrong) in [("too_far", true), ("replaced", true)] {
        let mut model = Model::new(6);
        model.open();
        (0..5).for_each(|_| model.send_surely());
        let (session, _, position) = model.sessions[0];
        let (at, last) = (model.tick(), model.line.len() as u64);
        let from = position + 1;
        model.records.push(Record::Gap {
            at,
            session,
            conversation: C,
            from,
            to: last,
            reason: reason.to_owned(),
        });
        model.sessions[0].2 = if reason == "replaced" { position } else { last };
        assert_eq!(rules(&model.finish()).is_empty(), !wrong, "{reason}");
    }
}

/// A conversation with a session that is ready, at its end.
fn watched() -> Model {
    let mut model = Model::new(8);
    model.send_surely();
    let read = model.read(0);
    model.records.push(Record::Page {
        read,
        after: 0,
        items: model.line.clone(),
        end: true,
    });
    model.session += 1;
    let (at, session, position) = (model.tick(), model.session, model.line.len() as u64);
    model.records.push(Record::Opened {
        at,
        session,
        user: 1,
        positions: vec![(C, position)],
    });
    model.records.push(Record::Ready { at, session });
    model.sessions.push((session, 1, position));
    model
}

#[test]
fn sends_of_one_socket_that_change_places_are_found() {
    for swapped in [false, true] {
        let mut model = watched();
        let session = model.session;
        let [first, second] = [(); 2].map(|()| {
            let op = model.begin(1, Act::Send);
            let at = model.tick();
            model.records.push(Record::Framed { at, op, session });
            op
        });
        let order = if swapped {
            [second, first]
        } else {
            [first, second]
        };
        let items = order.map(|op| (op, model.append(What::Message { source: 1, op })));
        for (op, item) in items {
            model.end(
                op,
                Outcome::Ok {
                    item: Some(item),
                    clean: true,
                },
            );
        }
        let found = rules(&model.finish())
            .contains(&"sends of one socket appear in the order sent".to_owned());
        assert_eq!(found, swapped);
    }
}

#[test]
fn a_session_that_hears_too_late_or_never_is_found_and_one_that_reads_nothing_is_not() {
    let deaf = "no session is deaf for long".to_owned();
    for (excused, late) in [(false, true), (false, false), (true, true)] {
        let mut model = watched();
        let session = model.session;
        if excused {
            let at = model.tick();
            model.records.push(Record::Deafened { at, session });
        }
        model.send_unseen();
        model.now += if late {
            DEAF_MAX + 1_000_000
        } else {
            1_000_000
        };
        assert_eq!(rules(&model.finish()).contains(&deaf), late && !excused);
    }
    let mut model = watched();
    model.send_unseen();
    model.sessions.clear();
    model.now += DEAF_MAX + 1_000_000;
    assert!(rules(&model.finish()).contains(&deaf), "never");
}

#[test]
fn a_socket_that_closes_while_only_nodes_fail_is_found() {
    let open = "a socket stays open while nodes fail".to_owned();
    for (name, why, is_found) in [
        ("kill-node", "1012", true),
        (
            "kill-master",
            "Connection reset without closing handshake",
            true,
        ),
        ("kill-node", "dropped", false),
        (
            "kill-router",
            "Connection reset without closing handshake",
            false,
        ),
        ("clock-days-ahead", "4401", false),
        ("clock-days-ahead", "1012", true),
        ("a stage of a scenario", "1012", false),
    ] {
        let mut model = watched();
        let session = model.session;
        let at = model.tick();
        model.records.push(Record::Fault {
            at,
            name: name.to_owned(),
            said: "begins: all".to_owned(),
        });
        let at = model.tick();
        model.records.push(Record::Closed {
            at,
            session,
            why: why.to_owned(),
        });
        model.sessions.clear();
        model.now += 10_000_000;
        model.send_surely();
        assert_eq!(
            rules(&model.finish()).contains(&open),
            is_found,
            "{name}, {why}"
        );
    }
}

/// A conversation, and a session of the guest, who is not in it.
fn with_guest() -> Model {
    let mut model = Model::new(9);
    model.session += 1;
    let (at, session) = (model.tick(), model.session);
    model.records.push(Record::Opened {
        at,
        session,
        user: GUEST,
        positions: Vec::new(),
    });
    model.records.push(Record::Ready { at, session });
    model
}

#[test]
fn while_a_machine_is_gone_for_good_a_new_stay_may_be_told_late_and_nothing_else() {
    let deaf = "no session is deaf for long".to_owned();
    for (gone, back_in_time) in [(false, true), (true, true), (true, false)] {
        let mut model = with_guest();
        let session = model.session;
        model.send_surely();
        if gone {
            let at = model.tick();
            model.records.push(Record::Gone { at });
        }
        let told = model.line.len();
        model.visit();
        let read = model.read(0);
        model.records.push(Record::Page {
            read,
            after: 0,
            items: model.line.clone(),
            end: true,
        });
        model.now += DEAF_MAX + 1_000_000;
        model.records.push(Record::Back { at: model.now });
        model.now += if back_in_time {
            1_000_000
        } else {
            DEAF_MAX + 1_000_000
        };
        let (at, items) = (model.tick(), model.line[told..].to_vec());
        model.records.push(Record::Frames {
            at,
            session,
            conversation: C,
            items,
        });
        let found = rules(&model.finish()).contains(&deaf);
        assert_eq!(
            found,
            !gone || !back_in_time,
            "gone {gone}, back in time {back_in_time}"
        );
    }
}

#[test]
fn a_stay_that_a_session_is_not_told_of_is_found() {
    let whole = "a session gets the whole of each stay".to_owned();
    for passed_over in [false, true] {
        let mut model = with_guest();
        let session = model.session;
        model.send_surely();
        // In and out, and in again; with a message that was asked for after the session was ready
        // before each.
        (0..2).for_each(|_| model.visit());
        model.send_surely();
        let again = model.line.len();
        model.visit();
        let last = model.line.len();
        let at = model.tick();
        let first: Vec<Item> = model.line[2..again - 1].to_vec();
        let second: Vec<Item> = model.line[again..last].to_vec();
        if !passed_over {
            model.records.push(Record::Frames {
                at,
                session,
                conversation: C,
                items: first,
            });
        }
        model.records.push(Record::Frames {
            at,
            session,
            conversation: C,
            items: second,
        });
        assert_eq!(rules(&model.finish()).contains(&whole), passed_over);
    }
}

#[test]
fn a_stay_that_was_told_after_a_refusal_is_not_looked_for_again() {
    let whole = "a session gets the whole of each stay".to_owned();
    for passed_over in [false, true] {
        let mut model = Model::new(13);
        model.session += 1;
        let (at, session) = (model.tick(), model.session);
        model.records.push(Record::Opened {
            at,
            session,
            user: GUEST,
            positions: vec![(C, 1)],
        });
        model.records.push(Record::Ready { at, session });
        let (at, reason) = (model.tick(), "not_participant".to_owned());
        model.records.push(Record::Gap {
            at,
            session,
            conversation: C,
            from: 2,
            to: 2,
            reason,
        });
        model.send_surely();

        let mut stays = Vec::new();
        for _ in 0..2 {
            let begin = model.line.len();
            model.visit();
            stays.push(model.line[begin..].to_vec());
            model.send_surely();
        }
        for items in stays.into_iter().skip(usize::from(passed_over)) {
            let at = model.tick();
            model.records.push(Record::Frames {
                at,
                session,
                conversation: C,
                items,
            });
        }
        assert_eq!(rules(&model.finish()).contains(&whole), passed_over);
    }
}

#[test]
fn a_list_that_lacks_what_was_acknowledged_is_found_unless_it_carries_a_mark() {
    let rule = "a list without a mark is what was acknowledged".to_owned();
    for (conversations, stale, wrong) in [
        (vec![C], false, false),
        (Vec::new(), false, true),
        (Vec::new(), true, false),
    ] {
        let mut model = Model::new(10);
        model.visit();
        let (begun, at) = (model.tick(), model.tick());
        model.records.push(Record::Listed {
            begun,
            at,
            user: GUEST,
            stale,
            conversations,
        });
        assert_eq!(rules(&model.finish()).contains(&rule), wrong);
    }
    let mut model = Model::new(10);
    (0..2).for_each(|_| model.visit());
    let (begun, at) = (model.tick(), model.tick());
    model.records.push(Record::Listed {
        begun,
        at,
        user: GUEST,
        stale: false,
        conversations: vec![C],
    });
    assert!(rules(&model.finish()).contains(&rule), "he was put out");
}

#[test]
fn a_refusal_for_a_removal_that_never_happens_is_found() {
    let rule = "a refusal rests on a change that is in the history".to_owned();
    for (code, happens, wrong) in [
        ("unavailable", false, true),
        ("timeout", false, true),
        ("timeout", true, false),
    ] {
        let mut model = Model::new(11);
        model.visit();
        let removal = model.begin(0, Act::Remove { user: GUEST });
        let send = model.begin(GUEST, Act::Send);
        model.end(
            send,
            Outcome::Failed {
                code: "not_participant".to_owned(),
            },
        );
        let surely = code == "unavailable";
        let code = code.to_owned();
        model.end(
            removal,
            if surely {
                Outcome::Failed { code }
            } else {
                Outcome::Unknown { code }
            },
        );
        if happens {
            model.append(What::Left { user: GUEST });
        }
        assert_eq!(rules(&model.finish()).contains(&rule), wrong);
    }
}

#[test]
fn whoever_was_refused_is_not_served_before_the_next_stay() {
    let rule = "a refusal stands until the next stay".to_owned();
    // Whether the send after the refusal is before the removal; and whether it was asked for before
    // the refusal was answered.
    for (same_stay, asked_before, wrong) in [
        (true, false, true),
        (true, true, false),
        (false, false, false),
    ] {
        let mut model = Model::new(14);
        model.visit();
        let read = model.read(0);
        model.records.push(Record::Page {
            read,
            after: 0,
            items: model.line.clone(),
            end: true,
        });
        let removal = model.begin(0, Act::Remove { user: GUEST });
        let early = asked_before.then(|| model.begin(GUEST, Act::Send));
        let refused = model.begin(GUEST, Act::Send);
        model.end(
            refused,
            Outcome::Failed {
                code: "not_participant".to_owned(),
            },
        );
        if !same_stay {
            model.append(What::Left { user: GUEST });
            model.append(What::Joined { users: vec![GUEST] });
        }
        let op = early.unwrap_or_else(|| model.begin(GUEST, Act::Send));
        model.acknowledged(op, GUEST);
        // A retry of the removal is done after all.
        model.append(What::Left { user: GUEST });
        model.end(
            removal,
            Outcome::Ok {
                item: None,
                clean: false,
            },
        );
        model.guest = false;
        assert_eq!(
            rules(&model.finish()),
            if wrong {
                vec![rule.clone()]
            } else {
                Vec::new()
            }
        );
    }
}

#[test]
fn after_a_removal_that_was_surely_not_done_he_is_in_as_before() {
    let mut model = Model::new(12);
    model.visit();
    let removal = model.begin(0, Act::Remove { user: GUEST });
    model.end(
        removal,
        Outcome::Failed {
            code: "unavailable".to_owned(),
        },
    );
    let read = model.read(GUEST);
    model.records.push(Record::Refused { read });
    assert!(
        rules(&model.finish())
            .iter()
            .any(|rule| rule.contains("refusal is not older"))
    );
}

#[test]
fn of_two_under_one_key_one_is_done_and_no_other_is_refused_for_nothing() {
    for (of_first, of_second, rule) in [
        (None, "idempotency_conflict", None),
        (
            Some("unavailable"),
            "idempotency_conflict",
            Some("a refusal rests on a change that is in the history"),
        ),
        (Some("unavailable"), "unavailable", None),
    ] {
        let mut model = Model::new(13);
        let (op, other) = (model.begin(1, Act::Send), model.begin(1, Act::Send));
        let at = model.tick();
        model.records.push(Record::Rivals { at, op, other });
        model.end(
            other,
            Outcome::Failed {
                code: of_second.to_owned(),
            },
        );
        match of_first {
            None => model.acknowledged(op, 1),
            Some(code) => model.end(
                op,
                Outcome::Failed {
                    code: code.to_owned(),
                },
            ),
        }
        let found = rules(&model.finish());
        assert_eq!(found.first().map(String::as_str), rule);
    }
    let mut model = Model::new(13);
    let (op, other) = (model.begin(1, Act::Send), model.begin(1, Act::Send));
    let at = model.tick();
    model.records.push(Record::Rivals { at, op, other });
    model.acknowledged(op, 1);
    model.acknowledged(other, 1);
    assert!(rules(&model.finish()).contains(&"one key, one message".to_owned()));
}
