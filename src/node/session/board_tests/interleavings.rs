//! Under any interleaving of commits, pushes, lost links, answers, removals, and resumes each
//! session sees each seq once, in order, with holes only where a gap was told, and nothing after
//! its user's own `left` (I9, I10).

use super::*;

/// The index of a user lags behind what their session was shown, and the node dies: the stay that
/// was shown is not shown again.
#[test]
fn what_a_session_was_shown_counts_where_the_index_of_the_next_node_is_older() {
    let mut world = World::new(1 << 20);
    let run = |at: &mut World, steps: &[Step]| {
        steps
            .iter()
            .for_each(|step| at.step(step).expect("as promised"))
    };

    let settle = |at: &mut World| {
        for _ in 0..50 {
            run(
                at,
                &[
                    Step::Deliver,
                    Step::Decide(0),
                    Step::Arrive(0, false),
                    Step::Drain(0),
                    Step::Drain(1),
                ],
            );
        }
    };

    run(&mut world, &[Step::Open(0, false), Step::Open(2, false)]);
    settle(&mut world);
    run(
        &mut world,
        &[Step::Join(0, 2), Step::Say(0, 0), Step::Leave(0, 2)],
    );

    settle(&mut world);
    run(
        &mut world,
        &[
            Step::Indexes(false),
            Step::Join(0, 2),
            Step::Say(0, 0),
            Step::Leave(0, 2),
        ],
    );

    settle(&mut world);
    run(&mut world, &[Step::Die]);
    settle(&mut world);
    run(
        &mut world,
        &[Step::Join(0, 2), Step::Say(0, 0), Step::Indexes(true)],
    );

    world.come_to_rest().expect("as promised");
    world.check().expect("as promised");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_session_sees_each_seq_once_in_order_and_ends_at_the_tail(steps in steps(), small: bool) {
        // A small one has room for a few events: most sessions fall behind in bursts, and are
        // served by spans.
        let mut world = World::new(if small { 800 } else { 1 << 20 });
        for step in &steps {
            world.step(step)?;
        }
        world.come_to_rest()?;
        world.check()?;
    }
}
