//! Nodes that join or come back, and evening out.

use super::*;

#[test]
fn a_node_that_came_back_gets_its_share_again() {
    let mut table = first(256, 3, 2);
    let all = nodes(3);
    // What it owned was taken over.
    table
        .rows
        .iter_mut()
        .filter(|row| row[0] == node(2))
        .for_each(|row| row.reverse());
    let (moved, placed) = settle(&mut table, &all, 2);
    let (least, most) = spread(&table, |row| owners(row), &all);
    assert!(least >= 81 && most <= 90, "{least} to {most}");
    assert!(
        (78..=95).contains(&moved) && placed <= 2,
        "{moved} moves, {placed} places"
    );
}

#[test]
fn a_node_that_joins_gets_its_share_and_nothing_moves_between_the_others() {
    let before = first(256, 3, 2);
    let mut table = before.clone();
    let all = nodes(4);
    let (moved, placed) = settle(&mut table, &all, 2);
    let owned = spread(&table, |row| owners(row), &all);
    let places = spread(&table, Vec::clone, &all);
    assert!(owned.0 >= 61 && owned.1 <= 75, "owners {owned:?}");
    assert!(places.0 >= 121 && places.1 <= 150, "places {places:?}");

    // The least that could be: a quarter of the places, of which the half own.
    assert!(
        placed <= 128 && moved <= 90,
        "{placed} places, {moved} moves"
    );

    for (after, row) in table.rows.iter().zip(&before.rows) {
        let came: Vec<_> = after.iter().filter(|node| !row.contains(node)).collect();
        assert!(
            came.iter().all(|came| **came == node(3)),
            "{row:?} became {after:?}"
        );
    }
}

#[test]
fn nodes_that_share_no_row_are_evened_out_by_way_of_a_third() {
    let of = |pair: [usize; 2]| pair.map(node).to_vec();
    let mut table = first(8, 3, 2);

    // The first owns all; the last stands by for the second only, which owns nothing.
    table.rows = vec![of([0, 1]); 6];
    table.rows.extend(vec![of([1, 2]); 2]);

    let all = nodes(3);
    let resting = BTreeSet::new();
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 2,
        resting: &resting,
    };
    let moves = balance.even_moves();
    assert_eq!(moves.len(), 2, "{moves:?}");
    assert_eq!(
        (&moves[0].from, &moves[0].to, &moves[1].from, &moves[1].to),
        (&node(1), &node(2), &node(0), &node(1))
    );

    settle(&mut table, &all, 2);
    assert_eq!(spread(&table, |row| owners(row), &all), (2, 3));
}

#[test]
fn nothing_moves_while_a_node_is_missing_or_a_shard_rests() {
    let mut table = first(64, 3, 2);
    table
        .rows
        .iter_mut()
        .filter(|row| row[0] == node(2))
        .for_each(|row| row.reverse());
    let (none, all) = (BTreeSet::new(), nodes(3));

    let resting: BTreeSet<ShardId> = (0..64).map(ShardId).collect();
    let two = nodes(2);
    assert!(
        Balance {
            table: &table,
            nodes: &two,
            replicas: 2,
            resting: &none
        }
        .even_moves()
        .is_empty()
    );

    assert!(
        Balance {
            table: &table,
            nodes: &all,
            replicas: 2,
            resting: &resting
        }
        .even_moves()
        .is_empty()
    );

    assert!(
        !Balance {
            table: &table,
            nodes: &all,
            replicas: 2,
            resting: &none
        }
        .even_moves()
        .is_empty()
    );
}

#[test]
fn a_shard_with_one_replica_moves_by_a_further_place_a_hand_over_and_the_end_of_the_former_one() {
    let mut table = first(64, 1, 1);
    let (none, all) = (BTreeSet::new(), nodes(2));
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 1,
        resting: &none,
    };
    let (next, placed) = balance
        .next_places(1, true)
        .expect("the second has nothing");
    let shard = placed[0].shard;
    assert_eq!(next.rows[usize::from(shard.0)], [node(0), node(1)]);
    let both = next.rows[usize::from(shard.0)].iter().cloned().collect();
    assert_eq!(
        without_surplus(&next, shard, 1, &both),
        None,
        "it is the owner that goes, and not by itself"
    );
    let due = Balance {
        table: &next,
        ..balance
    };
    assert!(
        due.due_moves(|_, _| false).is_empty(),
        "the copy is not there yet"
    );
    let moves = due.due_moves(|_, _| true);
    assert_eq!((moves.len(), &moves[0].to), (1, &node(1)));
    let mut given = next.clone();
    carry_out(&mut given, &moves[0]);
    assert_eq!(
        without_surplus(&given, shard, 1, &BTreeSet::new()),
        Some(vec![node(1)])
    );

    let (moved, places) = settle(&mut table, &all, 1);
    assert!(
        moved == places && (30..=34).contains(&moved),
        "{moved} moves, {places} places"
    );
    assert_eq!(
        spread(&table, |row| owners(row), &all).0 + spread(&table, |row| owners(row), &all).1,
        64
    );
    assert!(table.rows.iter().all(|row| row.len() == 1) && table.changes.is_empty());
}

#[test]
fn the_steps_that_would_follow_are_told_in_their_order_with_their_reasons() {
    let mut table = first(4, 2, 1);
    table.rows = [0, 0, 0, 1].map(|owner| vec![node(owner)]).to_vec();
    drain(&mut table, 1);

    let (none, all) = (BTreeSet::new(), nodes(3));
    let balance = Balance {
        table: &table,
        nodes: &all,
        replicas: 1,
        resting: &none,
    };
    let told = |steps: Vec<Step>| -> Vec<String> {
        let line = |step: Step| format!("{:?} {} {} {}", step.what, step.shard, step.from, step.to);
        steps.into_iter().map(line).collect()
    };

    assert_eq!(
        told(balance.steps(false, 9)),
        ["Copy s3 node-1 node-2", "Owner s3 node-1 node-2"]
    );

    let evened = told(balance.steps(true, 9));
    assert_eq!(
        (evened.len(), &evened[..2]),
        (4, &told(balance.steps(false, 9))[..]),
        "{evened:?}"
    );
    assert_eq!(balance.steps(true, 1).len(), 1);
}
