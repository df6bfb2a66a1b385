//! What messages say, who may speak, and what is counted: a history that keeps to it passes, and
//! each kind of break is found.

use super::model::Model;
use super::{C, GUEST, rules};
use crate::chaos::history::{Act, Item, Outcome, Record, What, Words};

/// The words of the author's message at a seq, after an edit or without any.
fn with(item: &Item, words: Words) -> Item {
    let what = match (&item.what, words) {
        (What::Message { source, .. }, Words::Erased) => What::Message {
            source: *source,
            op: 0,
        },
        (what, _) => what.clone(),
    };
    let said = match words {
        Words::First => item.said,
        Words::Edit(op) => 1_000 + op,
        Words::Erased => 0,
    };
    Item {
        what,
        words,
        said,
        ..item.clone()
    }
}

fn ok(item: Option<Item>) -> Outcome {
    Outcome::Ok { item, clean: true }
}

impl Model {
    /// The place of a message of u1, right behind one of others.
    fn authored(&mut self) -> usize {
        let op = self.begin(1, Act::Send);
        let item = self.append(What::Message { source: 1, op });
        self.end(op, ok(Some(item)));
        self.line.len() - 1
    }

    /// Its words are replaced; everybody sees them so from then on.
    fn edit(&mut self, at: usize) -> u64 {
        let seq = self.line[at].seq;
        let op = self.begin(1, Act::Edit { seq });
        let edited = with(&self.line[at], Words::Edit(op));
        self.supersede(seq);
        self.line[at] = edited.clone();
        self.append(What::Edited { message: seq });
        let event = self.line.last_mut().expect("the event");
        (event.words, event.said) = (Words::Edit(op), 1_000 + op);
        self.end(op, ok(Some(edited)));
        op
    }

    fn supersede(&mut self, message: u64) {
        for event in &mut self.line {
            if event.what == (What::Edited { message }) {
                *event = with(event, Words::Erased);
            }
        }
    }

    /// It is erased.
    fn erase(&mut self, at: usize) {
        let seq = self.line[at].seq;
        let op = self.begin(0, Act::Delete { seq });
        self.line[at] = with(&self.line[at], Words::Erased);
        self.supersede(seq);
        self.append(What::Deleted { message: seq });
        self.end(op, ok(None));
    }

    /// One is muted, or not any more.
    fn silence(&mut self, user: u32, on: bool) {
        let op = self.begin(0, Act::Silence { user, on });
        self.append(What::Role {
            user,
            reader: false,
            muted: on,
        });
        self.end(op, ok(None));
    }

    /// Somebody reads all messages, as they are given.
    fn reads(&mut self, items: Vec<Item>) {
        let read = self.read(2);
        self.records.push(Record::Some { read, items });
    }
}

/// A history with an edited and an erased message, and where they are.
fn said() -> (Model, usize, usize) {
    let mut model = Model::new(7);
    model.open();
    let (edited, erased) = (model.authored(), model.authored());
    model.deliver();
    model.edit(erased);
    model.edit(edited);
    model.edit(edited);
    model.erase(erased);
    (model, edited, erased)
}

fn is_found(model: Model, rule: &str) -> bool {
    rules(&model.finish()).iter().any(|found| found == rule)
}

#[test]
fn edits_and_deletions_that_hold_pass() {
    let (mut model, edited, erased) = said();
    let items = vec![model.line[edited].clone(), model.line[erased].clone()];
    model.reads(items);
    model.silence(2, true);
    model.silence(2, false);
    let op = model.begin(2, Act::Send);
    let item = model.append(What::Message { source: 2, op });
    model.end(op, ok(Some(item)));
    model.deliver();
    assert_eq!(rules(&model.finish()), Vec::<String>::new());
}

#[test]
fn words_from_before_an_edit_are_found_and_only_in_reads_that_began_after_it() {
    let (mut model, edited, _) = said();
    let old = with(&model.line[edited], Words::First);
    let begun = model.tick();
    let at = model.line[edited].seq;
    let op = model.edit(edited);
    let mut read = model.read(2);
    read.begun = begun;
    let before = with(&model.line[edited], Words::Edit(op - 1));
    assert_eq!(before.seq, at);
    model.records.push(Record::Some {
        read,
        items: vec![model.line[edited].clone()],
    });
    assert_eq!(rules(&model.records), Vec::<String>::new());

    model.reads(vec![old]);
    assert!(is_found(
        model,
        "what a message said before an edit is not shown again"
    ));
}

#[test]
fn erased_words_are_found_wherever_they_are_shown_again() {
    let shown = |change: fn(&mut Model, Item, Item)| {
        let (mut model, _, erased) = said();
        let message = with(&model.line[erased], Words::First);
        let message = Item {
            what: What::Message { source: 1, op: 3 },
            ..message
        };
        let mut edits = model.line.iter();
        let of_it = |item: &&Item| {
            item.what
                == What::Edited {
                    message: message.seq,
                }
        };
        let event = edits.find(of_it).expect("its edit").clone();
        change(&mut model, message, event);
        is_found(model, "what was erased is not shown again")
    };

    assert!(shown(|model, message, _| model.reads(vec![message])));
    assert!(shown(|model, _, event| {
        let event = Item {
            words: Words::Edit(4),
            said: 1_004,
            ..event
        };
        let read = model.read(0);
        let after = event.seq - 1;
        model.records.push(Record::Page {
            read,
            after,
            items: vec![event],
            end: false,
        });
    }));
    assert!(shown(|model, message, _| {
        model.open();
        let (session, _, position) = *model.sessions.last().expect("a session");
        let at = model.tick();
        if let Some(Record::Opened { positions, .. }) =
            model.records.iter_mut().rev().find(
                |record| matches!(record, Record::Opened { session: of, .. } if *of == session),
            )
        {
            positions[0].1 = message.seq - 1;
        }
        assert!(position <= model.line.len() as u64);
        model.records.push(Record::Frames {
            at,
            session,
            conversation: C,
            items: vec![message],
        });
    }));
}

#[test]
fn words_that_nobody_wrote_are_found() {
    let rule = "a message says what was written";
    let (mut model, edited, _) = said();
    let other = with(&model.line[edited], Words::Edit(9_999));
    model.reads(vec![other]);
    assert!(is_found(model, rule), "of no edit");

    let (mut model, edited, _) = said();
    let spoiled = Item {
        said: 5,
        ..model.line[edited].clone()
    };
    model.reads(vec![spoiled]);
    assert!(
        is_found(model, rule),
        "of an edit, and not as others saw it"
    );

    let (mut model, ..) = said();
    let at = model.authored();
    let gone = with(&model.line[at], Words::Erased);
    model.reads(vec![gone]);
    assert!(is_found(model, rule), "erased by nobody");
}

#[test]
fn what_one_who_is_muted_sends_is_found() {
    let (mut model, ..) = said();
    model.silence(1, true);
    model.authored();
    assert!(is_found(model, "nothing from one who may not send"));

    let (mut model, ..) = said();
    let op = model.begin(1, Act::Send);
    let code = "muted".to_owned();
    model.end(op, Outcome::Failed { code });
    let rule = "a refusal rests on a change that is in the history";
    assert!(is_found(model, rule), "nobody muted them");
}

#[test]
fn one_who_is_banned_and_let_in_is_found_unless_the_ban_ended() {
    for ends in [false, true] {
        let (mut model, ..) = said();
        let op = model.begin(0, Act::Ban { user: GUEST });
        model.end(op, ok(None));
        if ends {
            let op = model.begin(0, Act::Unban { user: GUEST });
            model.end(op, ok(None));
        }
        let op = model.begin(0, Act::Add { user: GUEST });
        model.append(What::Joined { users: vec![GUEST] });
        model.end(op, ok(None));
        assert_eq!(is_found(model, "who is banned does not come back"), !ends);
    }
}

#[test]
fn a_count_that_is_not_what_the_order_says_is_found() {
    for (told, is_wrong) in [(1, false), (2, true), (0, true)] {
        let (model, ..) = said();
        let mut records = model.finish();
        let at = records.last().expect("the end").at() + 1;
        // Of u1's two messages one is erased, and u0 has read none.
        records.push(Record::Counted {
            at,
            user: 0,
            conversation: C,
            unread: told,
        });
        let found = rules(&records).contains(&"counts are exact in the end".to_owned());
        assert_eq!(found, is_wrong, "{told}");
    }
}
