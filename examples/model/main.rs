//! A model of a large cluster: ring, table and balance at a size that no test machine holds, by the
//! very functions that the program uses. What it prints is what `docs/performance.md` quotes:
//!
//! ```sh
//! cargo run --release --example model -- --shards 4096 --nodes 100
//! ```
//!
//! Counts follow from the arguments alone; only the times are of this machine.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for people at a terminal; what it does not expect it stops at"
)]

mod cluster;
mod report;
mod steady;

use clap::Parser;

/// Models ring, table and balance of a large cluster.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Size {
    /// Shards of the cluster.
    #[arg(long, default_value = "4096")]
    shards: u32,
    /// Nodes.
    #[arg(long, default_value = "100")]
    nodes: usize,
    /// Nodes that hold each shard.
    #[arg(long, default_value = "2")]
    replicas: usize,
    /// Routers.
    #[arg(long, default_value = "20")]
    routers: usize,
    /// Masters of Redis Cluster.
    #[arg(long, default_value = "6")]
    masters: usize,
}

fn main() {
    println!("{}", report::of(&Size::parse()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, Spread, least_places, node};

    const SMALL: Size = Size {
        shards: 512,
        nodes: 24,
        replicas: 2,
        routers: 4,
        masters: 3,
    };

    fn within(spread: &Spread, part: usize) -> bool {
        // Rounded in favour of what is tested.
        spread.least * part >= spread.all / spread.among * (part - 1)
            && spread.most * part <= spread.all.div_ceil(spread.among) * (part + 1)
    }

    #[test]
    fn owners_and_places_begin_within_a_tenth_of_the_mean_above_and_few_are_far_below() {
        let cluster = Cluster::begin(&SMALL);
        let (owned, placed) = (cluster.owned(), cluster.placed());
        assert_eq!((owned.all, placed.all), (512, 1024));
        assert!(owned.most * 10 * owned.among <= owned.all * 11, "{owned:?}");
        assert!(
            placed.most * 10 * placed.among <= placed.all * 11 + 10 * placed.among,
            "{placed:?}"
        );
    }

    #[test]
    fn a_row_of_the_table_takes_its_names_and_little_more() {
        let cluster = Cluster::begin(&SMALL);
        let name = node(0).0.len() + "\"\",".len();
        let row = SMALL.replicas * (name + 1) + "[],".len();
        let claimed = "4095,".len();
        let known = SMALL.nodes * 150;
        let most = cluster.shards() * (row + claimed) + known + 200;
        assert!(
            cluster.bytes() <= most,
            "{} bytes, at most {most}",
            cluster.bytes()
        );
    }

    #[test]
    fn the_shards_of_a_node_that_dies_go_to_many_and_a_row_that_lost_a_node_gets_one() {
        let mut cluster = Cluster::begin(&SMALL);
        let before = cluster.holds(&node(3));
        let lost = cluster.lose(&node(3));
        assert_eq!(lost.moved, before.owned);
        assert!(
            lost.versions * 2 > before.owned,
            "{lost:?}: most went to another one each"
        );
        let refilled = cluster.refill();
        assert_eq!(
            (refilled.placed, refilled.versions),
            (before.owned + before.stood_by, 1)
        );
        assert_eq!(cluster.refill().versions, 0, "it stands");
        assert!(within(&cluster.placed(), 5), "{:?}", cluster.placed());
    }

    #[test]
    fn a_node_that_joins_or_comes_back_takes_about_its_share_and_few_places_move_between_others() {
        for comes_back in [false, true] {
            let mut cluster = Cluster::begin(&SMALL);
            let newcomer = if comes_back { node(3) } else { node(99) };
            if comes_back {
                cluster.lose(&newcomer);
                cluster.refill();
            }
            let before = cluster.rows();
            let joined = cluster.join(&newcomer);
            let least = least_places(&SMALL, cluster.living());
            assert!(
                joined.placed <= least * 6 / 5 + 1,
                "{joined:?}, at least {least}"
            );
            // A shard goes over more than one node where the two share no row.
            assert!(
                joined.moved <= least * 2,
                "{joined:?}, at least {}",
                least / SMALL.replicas
            );
            // Those that had the least before take some too.
            let came = before
                .iter()
                .zip(cluster.rows())
                .flat_map(|(before, after)| {
                    after
                        .into_iter()
                        .filter(|of| !before.contains(of))
                        .collect::<Vec<_>>()
                });
            let elsewhere = came.filter(|of| *of != newcomer).count();
            assert!(elsewhere * 4 <= joined.placed, "{elsewhere} of {joined:?}");
            assert!(within(&cluster.owned(), 5), "{:?}", cluster.owned());
        }
    }

    #[test]
    fn what_is_done_by_the_clock_grows_with_shards_and_with_nodes_not_with_both() {
        let per_second = |size: &Size| {
            steady::rates(size)
                .iter()
                .map(|rate| rate.per_second)
                .collect::<Vec<_>>()
        };

        let twice_the_shards = per_second(&Size {
            shards: 1024,
            ..SMALL
        });
        let twice_of_all = per_second(&Size {
            shards: 1024,
            nodes: 48,
            routers: 8,
            ..SMALL
        });

        for ((once, shards), all) in per_second(&SMALL)
            .iter()
            .zip(twice_the_shards)
            .zip(twice_of_all)
        {
            assert!(
                *once <= shards && shards <= all && all <= once * 2.0,
                "{once} {shards} {all}"
            );
        }
    }

    #[test]
    fn the_report_is_whole() {
        let report = report::of(&Size {
            shards: 64,
            nodes: 5,
            ..SMALL
        });
        for part in [
            "| bytes of the table |",
            "| a node joins |",
            "| renewals |",
            "| links between nodes |",
        ] {
            assert!(report.contains(part), "{part} in\n{report}");
        }
    }
}
