//! Each kind of break, put into a history of any length, is found.

use proptest::prelude::*;

use super::model::Model;
use super::{C, GUEST, history, is_acknowledged, last_page, places, rules};
use crate::chaos::history::{Act, Item, Outcome, Read, Record, What};

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
