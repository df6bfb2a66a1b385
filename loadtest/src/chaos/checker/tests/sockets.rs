//! What sessions see: gaps, the order of one socket, and sockets that fall silent or close.

use super::model::Model;
use super::{C, rules};
use crate::chaos::checker::deafness::DEAF_MAX;
use crate::chaos::history::{Act, Outcome, Record, What};

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
        ("replace-node", "1012", true),
        ("replace-router", "1012", false),
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
