//! Stays in a conversation, and who is told of them.

use super::model::Model;
use super::{C, GUEST, rules};
use crate::chaos::checker::deafness::DEAF_MAX;
use crate::chaos::history::{Act, Item, Outcome, Record, What};

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

    assert!(
        rules(&model.finish()).contains(&rule),
        "the user was put out"
    );
}

#[test]
fn after_a_removal_that_was_surely_not_done_they_are_in_as_before() {
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
