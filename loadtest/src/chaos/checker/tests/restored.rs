//! Backups: what was known before one began is in what is restored of it, as it was.

use super::model::Model;
use super::{C, rules};
use crate::chaos::history::{Item, Record};

/// A history in which a backup begins after three messages and before a fourth, and what is
/// restored of it.
fn restored(change: impl FnOnce(&mut Vec<Item>)) -> Vec<String> {
    let mut model = Model::new(5);
    (0..3).for_each(|_| model.send_surely());
    model.page();
    let at = model.tick();
    model.records.push(Record::Backup { at });
    model.send_surely();

    let mut items = model.line.clone();
    change(&mut items);
    let at = model.tick();
    model.records.push(Record::Restored {
        at,
        conversation: C,
        after: 0,
        items,
        end: true,
    });
    rules(&model.finish())
}

#[test]
fn a_backup_with_all_that_was_known_passes_whatever_it_has_of_later() {
    assert_eq!(restored(|_| {}), Vec::<String>::new());
    assert_eq!(restored(|items| items.truncate(4)), Vec::<String>::new());
}

#[test]
fn a_backup_that_ends_before_what_was_known_is_found() {
    let rule = "a backup has what was known before it began";
    assert_eq!(restored(|items| items.truncate(3)), [rule]);
    assert_eq!(restored(Vec::clear), [rule]);
}

#[test]
fn a_backup_with_a_hole_or_with_another_message_is_found() {
    assert_eq!(restored(|items| drop(items.remove(2))), ["seqs are dense"]);
    let other = restored(|items| items[3].digest += 1);
    assert_eq!(other, ["one order, the same for everybody"]);
}
