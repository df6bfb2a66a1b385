//! What holds for any table, any nodes that drain, and any zones.

use super::*;
use crate::cluster::assignment::next_table;

proptest! {
    #[test]
    fn whatever_the_table_it_comes_to_rest_even_enough_and_stays_so(
        shards in prop::sample::select(vec![16_u32, 64, 128]),
        before in 2_usize..5,
        more in 0_usize..3,
        replicas in 1_usize..4,
        turns in prop::collection::vec(any::<bool>(), 128),
    ) {
        let replicas = replicas.min(before);
        let mut table = first(shards, before, replicas);
        for (row, turn) in table.rows.iter_mut().zip(turns) {
            if turn {
                row.reverse();
            }
        }

        let all = nodes(before + more);
        settle(&mut table, &all, replicas);
        let (low, high) = bounds(table.rows.len(), all.len());
        let (least, most) = spread(&table, |row| owners(row), &all);

        // Whoever cannot be helped shares no row with whoever has too many, by any way.
        prop_assert!(least >= low && most <= high, "{least} to {most}, not {low} to {high}");

        let rests = table.clone();
        prop_assert_eq!(settle(&mut table, &all, replicas), (0, 0));
        prop_assert_eq!(&table, &rests);

        for row in &rests.rows {
            prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), replicas);
        }
    }

    /// Any nodes drain, in any zones: whoever has to take it all lives on in as many zones as can
    /// be.
    #[test]
    fn whatever_drains_ends_with_nothing_and_rows_stand_in_as_many_zones_as_there_are(
        shards in prop::sample::select(vec![16_u32, 64]),
        count in 3_usize..7,
        zones in 1_usize..4,
        replicas in 1_usize..4,
        drains in prop::collection::btree_set(0_usize..7, 0..4),
        told in any::<bool>(),
    ) {
        let names = &["a", "b", "c"][..zones];
        let drains: BTreeSet<usize> = drains.into_iter().filter(|number| *number < count).collect();
        let replicas = replicas.min(count - drains.len());
        prop_assume!(replicas > 0);

        let mut table = first_in(shards, &live(count, if told { names } else { &[] }), replicas);
        prop_assert_eq!(badly_spread(&table, &nodes(count)), 0);

        table.nodes = live(count, names);
        drains.iter().for_each(|number| drain(&mut table, *number));

        let all = nodes(count);
        settle(&mut table, &all, replicas);
        for number in &drains {
            prop_assert!(!table.names(&node(*number)), "node-{number} has something: {:?}", table.rows);
        }

        prop_assert!(table.rows.iter().all(|row| row.iter().collect::<BTreeSet<_>>().len() == replicas));
        if all.len() - drains.len() > replicas {
            prop_assert_eq!(badly_spread(&table, &all), 0);
        }

        prop_assert_eq!(settle(&mut table, &all, replicas), (0, 0), "it rests");
        // Nor does the coordinator's other half move anything.
        prop_assert_eq!(next_table(&table, &table.nodes, replicas, &BTreeSet::new()), None);
    }

    /// In zones of the same size, load is as even as without zones.
    #[test]
    fn zones_of_the_same_size_cost_no_evenness(
        each in 1_usize..4,
        zones in 2_usize..4,
        replicas in 2_usize..4,
        turns in prop::collection::vec(any::<bool>(), 64),
    ) {
        let count = each * zones;
        prop_assume!(count > replicas);
        let mut table = first(64, count, replicas);
        table.nodes = live(count, &["a", "b", "c"][..zones]);
        for (row, turn) in table.rows.iter_mut().zip(turns) {
            if turn {
                row.reverse();
            }
        }
        let all = nodes(count);
        settle(&mut table, &all, replicas);
        prop_assert_eq!(badly_spread(&table, &all), 0);
        let (low, high) = bounds(table.rows.len(), all.len());
        let (least, most) = spread(&table, |row| owners(row), &all);
        prop_assert!(least >= low && most <= high, "{least} to {most}, not {low} to {high}");
    }
}
