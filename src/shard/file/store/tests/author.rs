//! Writes any log that there may be, also what no owner would write.

use super::retained_for::pruned_beside;
use super::*;

pub(super) struct Author {
    dice: StdRng,
    now: u64,
    seqs: [u64; 3],
    number: u64,
    outbox: OutboxPosition,
}

impl Author {
    pub(super) fn new(seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self {
            dice,
            now: START,
            seqs: [0; 3],
            number: 0,
            outbox: OutboxPosition::default(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.now = match self.dice.random_range(0..20) {
            0 => self.now - DAY,
            1 => self.now + 12 * DAY,
            2..5 => self.now + DAY / 2,
            _ => self.now + self.dice.random_range(0..40_000),
        };
        self.now
    }

    /// A message by its number, and what is said to be its seq: mostly one of the last.
    fn target(&mut self, seq: u64) -> (u64, u64) {
        (
            self.number.saturating_sub(self.dice.random_range(0..6)),
            seq.saturating_sub(1),
        )
    }

    fn someone(&mut self) -> &'static str {
        ["alice", "bob", "carol", "dave"][self.dice.random_range(0..4)]
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of record")]
    fn message_record(&mut self, offset: u64) -> Record {
        let at = self.tick();
        let place = self.dice.random_range(0..3);
        let name = ["c", "d", "e"][place];
        let (who, other) = (self.someone(), self.someone());
        self.seqs[place] += 1;

        let seq = self.seqs[place];
        self.number += 1;

        let record = match self.dice.random_range(0..36) {
            _ if seq == 1 => created(name, &[who, "erin"], at),
            0 => joined(name, seq, who, &[other, "frank"]),
            1 | 2 => left(
                name,
                seq,
                who,
                other,
                Some(who).filter(|_| at.is_multiple_of(2)),
            ),
            3 => {
                self.seqs[place] -= 1;
                index(
                    who,
                    name,
                    self.dice.random_range(1..9),
                    at.is_multiple_of(2),
                    Some("k").filter(|_| at.is_multiple_of(3)),
                    at,
                )
            }
            4 => {
                self.seqs[place] -= 1;
                let upto = Offset(self.dice.random_range(0..=offset));
                self.outbox = self.outbox.max(OutboxPosition {
                    offset: upto,
                    index: self.dice.random_range(0..3),
                });
                Record::OutboxProgress { upto: self.outbox }
            }
            5 => {
                self.seqs[place] -= 1;
                [
                    unreadable(),
                    message("nowhere", 3, who, 0, at),
                    message(name, 1, who, 0, at),
                ][self.dice.random_range(0..3)]
                .clone()
            }
            // Several of one epoch: the time of the shard runs.
            6 | 8 | 9 => {
                self.seqs[place] -= 1;
                Record::EpochStart {
                    epoch: Epoch(self.number / 64 + 1),
                    node: NodeId::from("n"),
                    ts: at,
                }
            }
            // Of any message, be it there, deleted, or of another conversation.
            16 | 17 => edited(name, seq, who, self.target(seq), &format!("edit {seq}")),
            18 => deleted(name, seq, who, self.target(seq)),
            19 => {
                self.seqs[place] -= 1;
                key_used(
                    ["nowhere", name][self.dice.random_range(0..2)],
                    who,
                    seq,
                    "k2",
                    at.is_multiple_of(3),
                )
            }
            20 => role(
                name,
                seq,
                (who, other),
                crate::protocol::Role::ALL[self.dice.random_range(0..4)],
                Some(at),
            ),
            21 | 22 => updated(name, seq, who, some_change(at)),
            23 => banned(name, seq, who, other),
            24 => let_in(name, seq, who, &[other, "frank"], at),
            25 | 26 => {
                self.seqs[place] -= 1;
                ban(name, who, other, at.is_multiple_of(2))
            }
            // Seldom, for after it little is left to say.
            27 if self.dice.random_range(0..4) == 0 => closed(name, seq, who, at),
            28 | 29 => {
                self.seqs[place] -= 1;
                pruned(name, self.dice.random_range(0..=seq), at)
            }
            30 | 31 => {
                self.seqs[place] -= 1;
                erased(name, at.is_multiple_of(3), at)
            }
            32 | 33 => {
                self.seqs[place] -= 1;
                let revision = self.dice.random_range(1..5);
                viewed(name, other, self.dice.random_range(1..9), revision, at)
            }
            34 | 35 => {
                self.seqs[place] -= 1;
                let revision = self.dice.random_range(1..5);
                index_view(who, name, self.dice.random_range(1..9), revision, at)
            }
            // A number used before: the id is taken.
            7 => message(name, seq, who, self.number / 2, at),
            _ => message(name, seq, who, self.number, at),
        };
        let keyed = matches!(&record, Record::Event(_)) && self.dice.random_range(0..2) == 0;
        let key = ["k1", "k2", "k3"][self.dice.random_range(0..3)];

        if keyed {
            with_key(record, key, self.dice.random_range(0..4) == 0)
        } else {
            record
        }
    }

    fn receipt_record(&mut self) -> Record {
        let at = self.tick();
        let (name, who) = (["c", "d"][self.dice.random_range(0..2)], self.someone());
        self.number += 1;

        let near =
            |author: &mut Self| (author.number + author.dice.random_range(0..6)).saturating_sub(3);
        match self.dice.random_range(0..14) {
            11 if self.dice.random_range(0..2) == 0 => {
                let messages = [0, 1, 2, 3].map(|_| self.dice.random_range(0..5));
                let up_to = self.dice.random_range(0..=self.number);
                pruned_beside(name, up_to, &messages, at)
            }
            10 if self.dice.random_range(0..3) == 0 => erased(name, at.is_multiple_of(2), at),
            0 => react(
                name,
                self.dice.random_range(0..5),
                who,
                Some(self.dice.random_range(1..9)),
            ),
            8 | 9 => Record::EpochStart {
                epoch: Epoch(self.number / 64 + 1),
                node: NodeId::from("n"),
                ts: at,
            },
            1 => react(name, self.dice.random_range(0..5), who, None),
            12 | 13 => own_mark(name, who, near(self), at),
            2 => unreadable(),
            3 => advance(name, at, who, near(self), 0),
            4 => advance(name, at, who, 0, near(self)),
            _ => advance(name, at, who, near(self), near(self)),
        }
    }

    pub(super) fn streams(&mut self, records: usize) -> PerStream<Written> {
        let mut streams = PerStream::<Written>::default();
        let mut held = PerStream::<Vec<Record>>::default();

        for _ in 0..records {
            let stream = Stream::BOTH[self.dice.random_range(0..2)];
            let record = match stream {
                Stream::Messages => {
                    self.message_record(streams.messages.tail.offset.0 + held.messages.len() as u64)
                }
                Stream::Receipts => self.receipt_record(),
            };
            held[stream].push(record);
            if self.dice.random_range(0..3) == 0 {
                streams[stream].entry(&std::mem::take(&mut held[stream]));
            }
        }

        for (stream, held) in held {
            if !held.is_empty() {
                streams[stream].entry(&held);
            }
        }

        streams
    }
}
