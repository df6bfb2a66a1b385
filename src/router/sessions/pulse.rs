//! Pure: when a session is pinged, and what a pong proves. One ping serves the heartbeat and the
//! delivered marks: the frames written before it have been read when its pong comes back.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::Seq;
use crate::router::sessions::names::Name;

/// How far a client has come: the highest seq of each conversation.
pub(super) type Marks = BTreeMap<Name, Seq>;

/// Unanswered pings after which the session is dropped.
const UNANSWERED_MAX: usize = 2;
/// Conversations with marks that wait for a ping; marks of more are shed.
const MARKS_MAX: usize = 10_000;

/// A session's heartbeats come up to this part of the period early, by chance: sessions that began
/// together, or got the same message, are not pinged together.
const EARLY_MAX: f64 = 0.2;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this instant.
    Nothing(Instant),
    /// Send a ping with this payload.
    Ping([u8; 8]),
    /// The peer answers no more: drop the session.
    Dead,
}

/// Pings of one session.
#[derive(Debug)]
pub(super) struct Pulse {
    heartbeat: Duration,
    marks_every: Duration,
    last: Instant,
    count: u64,
    written: Marks,
    in_flight: VecDeque<(u64, Marks)>,
}

impl Pulse {
    /// A pulse whose first heartbeat is due about one period from `now`. `chance`, from 0 to 1,
    /// decides how much earlier.
    pub(super) fn new(
        heartbeat: Duration,
        marks_every: Duration,
        chance: f64,
        now: Instant,
    ) -> Self {
        let heartbeat = heartbeat.mul_f64(1.0 - EARLY_MAX * chance);
        Self {
            heartbeat,
            marks_every,
            last: now,
            count: 0,
            written: Marks::new(),
            in_flight: VecDeque::new(),
        }
    }

    /// A frame with this event is written before whatever is written from now on.
    pub(super) fn wrote(&mut self, name: &Name, seq: Seq) {
        if let Some(highest) = self.written.get_mut(name) {
            *highest = (*highest).max(seq);
        } else if self.written.len() < MARKS_MAX {
            self.written.insert(name.clone(), seq);
        }
    }

    /// What to do now. After [`Due::Ping`] the ping must be written before any later frame.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let beat = self.last + self.heartbeat;
        if now >= beat && self.in_flight.len() >= UNANSWERED_MAX {
            return Due::Dead;
        }

        // While a ping is out, marks wait for its pong: a client that reads slowly is not pinged
        // more for it.
        let marks = (!self.written.is_empty() && self.in_flight.is_empty())
            .then(|| self.last + self.marks_every);
        let next = marks.map_or(beat, |marks| marks.min(beat));

        if now < next {
            return Due::Nothing(next);
        }
        self.last = now;
        self.count += 1;
        self.in_flight
            .push_back((self.count, std::mem::take(&mut self.written)));
        Due::Ping(self.count.to_be_bytes())
    }

    /// A pong came; returns what it proves to have been read. A pong that answers no ping of ours
    /// proves nothing.
    pub(super) fn pong(&mut self, payload: &[u8]) -> Marks {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else {
            return Marks::new();
        };
        let mut proven = Marks::new();
        while let Some((_, marks)) = self
            .in_flight
            .pop_front_if(|(ping, _)| *ping <= number && number <= self.count)
        {
            gather(&mut proven, marks);
        }
        proven
    }
}

/// Adds marks to others: the highest of each stands.
pub(super) fn gather(all: &mut Marks, more: Marks) {
    for (name, seq) in more {
        let highest = all.entry(name).or_default();
        *highest = (*highest).max(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConversationName;
    use crate::router::sessions::names::Names;

    const BEAT: Duration = Duration::from_secs(25);
    const MARKS: Duration = Duration::from_millis(250);

    fn name() -> Name {
        Names::default().of(&ConversationName::parse("c").expect("a name"))
    }

    #[test]
    fn a_pong_proves_what_was_written_before_its_ping_and_no_more() {
        let start = Instant::now();
        let (mut pulse, name) = (Pulse::new(BEAT, MARKS, 0.5, start), name());
        assert_eq!(
            pulse.due(start + MARKS),
            Due::Nothing(start + BEAT * 9 / 10),
            "nothing to prove"
        );

        pulse.wrote(&name, Seq(4));
        pulse.wrote(&name, Seq(5));

        let Due::Ping(payload) = pulse.due(start + MARKS) else {
            panic!("a ping is due")
        };
        pulse.wrote(&name, Seq(6));

        assert!(
            matches!(pulse.due(start + MARKS * 8), Due::Nothing(_)),
            "one ping at a time"
        );
        assert!(pulse.pong(b"nonsense").is_empty());
        assert!(
            pulse.pong(&9_u64.to_be_bytes()).is_empty(),
            "a pong to a ping never sent"
        );
        assert_eq!(pulse.pong(&payload).get(&name), Some(&Seq(5)));

        let Due::Ping(next) = pulse.due(start + MARKS * 9) else {
            panic!("the rest is due")
        };
        assert_eq!(pulse.pong(&next).get(&name), Some(&Seq(6)));
        assert!(pulse.pong(&next).is_empty(), "once");
    }

    #[test]
    fn two_unanswered_pings_are_the_end() {
        let start = Instant::now();
        let mut pulse = Pulse::new(BEAT, MARKS, 0.5, start);
        assert!(matches!(pulse.due(start + BEAT), Due::Ping(_)));
        assert!(matches!(pulse.due(start + BEAT * 2), Due::Ping(_)));
        assert!(matches!(pulse.due(start + BEAT * 2), Due::Nothing(_)));
        assert_eq!(pulse.due(start + BEAT * 3), Due::Dead);
    }

    #[test]
    fn sessions_that_begin_together_are_pinged_over_a_fifth_of_the_period() {
        let start = Instant::now();
        let due: Vec<f64> = (0..1_000)
            .map(|thousandth| {
                let mut pulse = Pulse::new(BEAT, MARKS, f64::from(thousandth) / 1_000.0, start);
                let Due::Nothing(first) = pulse.due(start) else {
                    panic!("nothing is due at once")
                };
                assert!(matches!(pulse.due(first), Due::Ping(_)));
                let Due::Nothing(second) = pulse.due(first) else {
                    panic!("one ping at a time")
                };
                assert!(second <= first + BEAT && second >= first + BEAT * 4 / 5);
                (first - start).as_secs_f64() / BEAT.as_secs_f64()
            })
            .collect();
        assert!(due.iter().all(|part| (0.8..=1.0).contains(part)));

        for tenth in 0..10 {
            let from = 0.8 + 0.02 * f64::from(tenth);
            let within = due
                .iter()
                .filter(|part| (from..from + 0.02).contains(*part))
                .count();
            assert!(
                (60..=140).contains(&within),
                "{within} of 1,000 in a tenth of the time"
            );
        }
    }

    #[test]
    fn an_answered_heartbeat_keeps_the_session() {
        let start = Instant::now();
        let mut pulse = Pulse::new(BEAT, MARKS, 0.5, start);
        for beat in 1..10 {
            let Due::Ping(payload) = pulse.due(start + BEAT * beat) else {
                panic!("a heartbeat is due")
            };
            pulse.pong(&payload);
        }
    }
}
