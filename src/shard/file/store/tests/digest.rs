//! The same log gives the same file, however it is cut and wherever it is taken up.

use super::*;

struct Author {
    dice: StdRng,
    now: u64,
    seqs: [u64; 3],
    number: u64,
    outbox: OutboxPosition,
}

impl Author {
    fn new(seed: u64) -> Self {
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

        let record = match self.dice.random_range(0..28) {
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
        match self.dice.random_range(0..10) {
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
            2 => unreadable(),
            3 => advance(name, at, who, near(self), 0),
            4 => advance(name, at, who, 0, near(self)),
            _ => advance(name, at, who, near(self), near(self)),
        }
    }

    fn streams(&mut self, records: usize) -> PerStream<Written> {
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

async fn digest_of(
    folder: &Path,
    name: &str,
    streams: &PerStream<Written>,
    batch: &mut dyn FnMut() -> usize,
) -> [u8; 32] {
    let mut store = open(folder, name).await;
    let mut rest = streams.clone().map(|stream| stream.entries);

    while !rest.each_ref().all(Vec::is_empty) {
        for (stream, entries) in rest.iter_mut() {
            let size = batch().min(entries.len());
            let chunk: Vec<_> = entries.drain(..size).collect();
            store.apply(stream, chunk).await.expect("applies");
        }
        if batch() == 2 {
            store.close().await;
            store = open(folder, name).await;
        }
    }

    let digest = store.digest().await.expect("reads");
    store.close().await;
    digest
}

/// The same, but the rest is applied to a copy of what a part of it made.
async fn digest_from_copy(
    folder: &Path,
    streams: &PerStream<Written>,
    dice: &mut StdRng,
) -> [u8; 32] {
    let first = open(folder, "first.db").await;
    let mut rest = streams.clone().map(|stream| stream.entries);
    for (stream, entries) in rest.iter_mut() {
        let size = dice.random_range(0..=entries.len());
        let chunk: Vec<_> = entries.drain(..size).collect();
        first.apply(stream, chunk).await.expect("applies");
    }

    first
        .copy_to(&folder.join("copy.db"))
        .await
        .expect("copies");
    first.close().await;

    let copy = open(folder, "copy.db").await;
    for (stream, entries) in rest {
        copy.apply(stream, entries).await.expect("applies");
    }

    let digest = copy.replica_digest().await.expect("reads");
    assert_eq!(digest.applied, streams.each_ref().map(|stream| stream.tail));

    copy.close().await;
    digest.sha256
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batching_of_the_same_log_gives_the_same_file(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = folder();
        let streams = Author::new(seed).streams(160);
        runtime.block_on(async {
            let single = digest_of(folder.path(), "single.db", &streams, &mut || 1).await;
            let whole = digest_of(folder.path(), "whole.db", &streams, &mut || usize::MAX).await;
            prop_assert_eq!(single, whole, "all at once");
            let mut dice = StdRng::seed_from_u64(!seed);
            let cut = digest_of(folder.path(), "cut.db", &streams, &mut || dice.random_range(0..9)).await;
            prop_assert_eq!(single, cut, "in random cuts, opened again now and then");
            let copied = digest_from_copy(folder.path(), &streams, &mut dice).await;
            prop_assert_eq!(single, copied, "from a copy on");
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn the_digest_tells_files_apart() {
    let (one_folder, other_folder) = (folder(), folder());
    let common = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "alice", 1, START),
    ];
    let one = one(
        one_folder.path(),
        &common,
        &[advance("c", START, "bob", 2, 0)],
    )
    .await;

    let other = tests::one(
        other_folder.path(),
        &common,
        &[advance("c", START + 1, "bob", 2, 0)],
    )
    .await;

    assert_ne!(
        one.digest().await.expect("reads"),
        other.digest().await.expect("reads")
    );
}

#[tokio::test]
async fn when_users_were_seen_is_no_part_of_a_digest_and_of_two_times_the_later_stands() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let before = store.digest().await.expect("reads");
    let rows = |minutes: [u64; 2]| {
        ["alice", "bob"]
            .map(user)
            .into_iter()
            .zip(minutes.map(|one| START + one))
            .collect()
    };

    store
        .write_seen(rows([60_000, 120_000]))
        .await
        .expect("writes");
    store.write_seen(rows([180_000, 0])).await.expect("writes");

    let asked = ["alice", "bob", "carol"].map(user);
    let mut seen = store.seen(&asked).await.expect("reads");
    seen.sort();

    assert_eq!(
        seen,
        rows([180_000, 120_000]),
        "and of one who was never seen nothing is known"
    );
    assert_eq!(store.digest().await.expect("reads"), before);
    store.close().await;
}
