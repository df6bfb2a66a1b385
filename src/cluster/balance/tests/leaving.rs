//! Nodes that drain, and standbys of which there are too many.

use super::*;

#[test]
fn a_surplus_standby_goes_when_those_that_stay_are_in_sync() {
    let mut table = first(1, 4, 1);
    let shard = ShardId(0);
    let sync = |of: &[usize]| of.iter().copied().map(node).collect::<BTreeSet<_>>();
    table.rows[0] = [0, 3, 1].map(node).to_vec();
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        None,
        "the new one is not there yet"
    );
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[3])),
        Some([0, 3].map(node).to_vec())
    );
    assert_eq!(
        without_surplus(&table, shard, 3, &sync(&[1, 3])),
        None,
        "it is no surplus"
    );

    // Whom the table says, and whoever drains, wherever they stand.
    table.changes.replaced.insert(shard, node(3));
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        Some([0, 1].map(node).to_vec())
    );
    table.changes.replaced.clear();
    drain(&mut table, 3);
    assert_eq!(without_surplus(&table, shard, 2, &sync(&[3])), None);
    assert_eq!(
        without_surplus(&table, shard, 2, &sync(&[1])),
        Some([0, 1].map(node).to_vec())
    );
    drain(&mut table, 0);
    assert_eq!(
        without_surplus(&table, shard, 1, &sync(&[1, 3])),
        None,
        "the owner hands over first"
    );
    table.rows[0].truncate(2);
    assert_eq!(without_surplus(&table, shard, 2, &sync(&[3])), None);
}

#[test]
fn a_draining_node_gives_what_it_owns_then_its_places_and_gets_nothing() {
    let mut table = first(64, 4, 2);
    let all = nodes(4);
    drain(&mut table, 1);
    let (none, everything): (_, BTreeSet<ShardId>) =
        (BTreeSet::new(), (0..64).map(ShardId).collect());
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 2,
        resting: &none,
    };
    let owned = table.owned_by(&node(1)).count();
    let moves = balance.due_moves(|_, _| true);
    assert_eq!(moves.len(), owned);
    assert!(
        moves
            .iter()
            .all(|done| done.from == node(1) && done.why == "node-1 is draining"),
        "{moves:?}"
    );
    assert!(
        balance.even_moves().is_empty(),
        "nothing is evened out meanwhile"
    );
    let (_, placed) = balance
        .next_places(8, false)
        .expect("though nothing is to be evened out");
    assert!(
        placed.len() == 8 && placed.iter().all(|place| place.instead_of == node(1)),
        "{placed:?}"
    );
    let resting = Balance {
        resting: &everything,
        ..balance
    };
    assert!(
        resting.due_moves(|_, _| true).is_empty(),
        "what could not be moved just now"
    );

    settle(&mut table, &all, 2);
    assert!(!table.names(&node(1)) && table.rows.iter().all(|row| row.len() == 2));
    let others: BTreeSet<NodeId> = [0, 2, 3].map(node).into();
    let share = spread(&table, |row| owners(row), &others);
    assert!(share.0 >= 20 && share.1 <= 23, "{share:?}");
}

#[test]
fn two_nodes_that_drain_at_once_leave_the_rows_that_they_share() {
    let mut table = first(16, 4, 2);
    table.rows = vec![[0, 1].map(node).to_vec(); 16];
    drain(&mut table, 0);
    drain(&mut table, 1);
    settle(&mut table, &nodes(4), 2);
    assert!(
        table
            .rows
            .iter()
            .all(|row| row.iter().collect::<BTreeSet<_>>() == [&node(2), &node(3)].into())
    );
}
