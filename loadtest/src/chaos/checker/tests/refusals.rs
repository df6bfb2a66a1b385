//! Refusals that are right, and those that are not.

use super::model::Model;
use super::{GUEST, rules};
use crate::chaos::history::{Act, Outcome, Record, What};

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
