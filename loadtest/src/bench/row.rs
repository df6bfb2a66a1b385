//! What one run of the closed loop came to, as a line of its table; and ours beside a peer's.

use crate::report::figures::float;

/// The figures of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Row {
    pub(super) senders: usize,
    pub(super) recipients: usize,
    pub(super) sends_per_second: f64,
    pub(super) deliveries_per_second: f64,
    pub(super) persisted_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    /// CPU a message, in microseconds.
    pub(super) router_us: f64,
    pub(super) node_us: f64,
    pub(super) redis_us: f64,
    pub(super) client_us: f64,
    pub(super) redis_commands: f64,
    pub(super) redis_highest_bytes: u64,
    pub(super) lag_s: f64,
}

/// The line above the rows.
pub(super) const HEAD: &str = "senders recipients  sends/s  deliveries/s  persisted/s  p50-ms  p99-ms  refused  lost | us/message: router   node  redis  client | redis: commands/message  MiB-highest | lag-s";

impl Row {
    /// CPU of all servers and Redis a message.
    pub(super) fn cpu_us(&self) -> f64 {
        self.router_us + self.node_us + self.redis_us
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        format!(
            "{:>7} {:>10} {:>8.0} {:>13.0} {:>12.0} {:>7.2} {:>7.2} {:>8} {:>5} | {:>18.0} {:>6.0} \
             {:>6.0} {:>7.0} | {:>23.2} {:>12} | {:>5.1}",
            self.senders,
            self.recipients,
            self.sends_per_second,
            self.deliveries_per_second,
            self.persisted_per_second,
            self.p50_ms,
            self.p99_ms,
            self.refused,
            self.lost,
            self.router_us,
            self.node_us,
            self.redis_us,
            self.client_us,
            self.redis_commands,
            self.redis_highest_bytes / (1 << 20),
            self.lag_s,
        )
    }
}

/// A figure of both, and the ratio of each pair.
struct Beside {
    ours: f64,
    theirs: f64,
    ratio: f64,
}

/// Compares runs that were made in turn: medians of ours, of theirs, and of the ratios within the
/// pairs.
pub(super) fn beside(ours: &[Row], theirs: &[Row]) -> String {
    let of = |figure: fn(&Row) -> f64| Beside {
        ours: median(ours.iter().map(figure)),
        theirs: median(theirs.iter().map(figure)),
        ratio: median(
            ours.iter()
                .zip(theirs)
                .map(|(one, other)| figure(one) / figure(other)),
        ),
    };

    let told = [
        ("us/message of servers and redis", of(Row::cpu_us)),
        ("sends/s", of(|row| row.sends_per_second)),
        ("p50-ms", of(|row| row.p50_ms)),
        ("p99-ms", of(|row| row.p99_ms)),
    ];

    let words = told.iter().map(|(what, medians)| {
        let digits = if medians.ours < 100.0 { 2 } else { 0 };
        format!(
            "{what} {:.digits$} / {:.digits$} = {:.2}",
            medians.ours, medians.theirs, medians.ratio
        )
    });
    let runs = if ours.len() > 1 {
        format!(", medians of {} pairs", ours.len())
    } else {
        String::new()
    };

    format!(
        "   ours / theirs{runs}: {}",
        words.collect::<Vec<_>>().join(", ")
    )
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}

/// What a count is for each message.
pub(super) fn each(of: f64, messages: u64) -> f64 {
    of / float(messages.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node_us: f64, sends_per_second: f64) -> Row {
        Row {
            router_us: 10.0,
            node_us,
            redis_us: 5.0,
            sends_per_second,
            ..Row::default()
        }
    }

    #[test]
    fn the_middle_run_counts() {
        assert_eq!(
            [
                median([3.0, 1.0, 2.0].into_iter()),
                median([4.0, 1.0].into_iter())
            ],
            [2.0, 2.5]
        );
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn ratios_are_taken_within_each_pair() {
        // The second pair was made on a machine that was twice as slow for both.
        let ours = [row(85.0, 1_000.0), row(185.0, 500.0), row(85.0, 1_000.0)];
        let theirs = [row(185.0, 500.0), row(385.0, 250.0), row(185.0, 500.0)];
        let told = beside(&ours, &theirs);
        assert!(
            told.contains("medians of 3 pairs: us/message of servers and redis 100 / 200 = 0.50"),
            "{told}"
        );
        assert!(told.contains("sends/s 1000 / 500 = 2.00"), "{told}");
        assert!(!beside(&ours[..1], &theirs[..1]).contains("medians"));
    }
}
