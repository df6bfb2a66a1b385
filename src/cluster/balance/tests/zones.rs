//! Rows stand in as many zones as they can.

use super::*;

#[test]
fn rows_of_nodes_that_told_no_zone_are_spread_when_they_do() {
    let mut table = first(64, 4, 2);
    table.nodes = live(4, &["a", "b"]);
    let all = nodes(4);
    assert!(badly_spread(&table, &all) > 0);
    settle(&mut table, &all, 2);
    assert_eq!(badly_spread(&table, &all), 0);
    let (places, owned) = (
        spread(&table, Vec::clone, &all),
        spread(&table, |row| owners(row), &all),
    );
    assert!(
        places.0 >= 28 && places.1 <= 36 && owned.0 >= 15 && owned.1 <= 17,
        "{places:?} {owned:?}"
    );
}

#[test]
fn a_drained_place_goes_to_a_zone_that_its_row_has_not() {
    // Two nodes a zone: one of each zone is left when a node drains.
    let mut table = first_in(64, &live(6, &["a", "b", "c"]), 3);
    drain(&mut table, 0);
    settle(&mut table, &nodes(6), 3);

    assert_eq!(
        (badly_spread(&table, &nodes(6)), table.names(&node(0))),
        (0, false)
    );

    let zones = |row: &Vec<NodeId>| {
        row.iter()
            .map(|node| table.zone(node).to_owned())
            .collect::<BTreeSet<_>>()
            .len()
    };

    assert!(
        table.rows.iter().all(|row| zones(row) == 3),
        "{:?}",
        table.rows
    );
}
