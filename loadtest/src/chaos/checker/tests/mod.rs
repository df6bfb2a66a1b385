//! Histories that a correct cluster gives pass; each kind of break of them is found.

#![allow(
    clippy::cast_possible_truncation,
    clippy::shadow_unrelated,
    reason = "small numbers; one operation after another"
)]

use self::model::Model;
use super::Checker;
use crate::chaos::history::{Item, Outcome, Record};

mod breaks;
mod model;
mod refusals;
mod restored;
mod said;
mod sockets;
mod stays;
mod steps;

/// The conversation of all these histories.
const C: u32 = 0;
/// Those who stay in it.
const MEMBERS: [u32; 3] = [0, 1, 2];
/// One who comes and goes.
const GUEST: u32 = 9;

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
