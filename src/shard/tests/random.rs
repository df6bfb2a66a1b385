//! Random commands, faults and crashes against a model: dense seqs (I6), one key one message (I13),
//! acknowledged means there exactly once (I3), indexes equal memberships (I11).

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const NAMES: [&str; 3] = ["c-0", "c-1", "c-2"];

#[derive(Debug)]
struct Sending {
    name: &'static str,
    source: &'static str,
    key: String,
    acknowledged: Option<MessageId>,
}

/// One step's commands, all at once; then their answers.
async fn storm(bench: &Bench, rng: &mut StdRng, sendings: &mut Vec<Sending>) {
    let mut flying = Vec::new();
    let mut others = Vec::new();

    for _ in 0..rng.random_range(1..12) {
        let name = NAMES[rng.random_range(0..NAMES.len())];
        let by = USERS[rng.random_range(0..USERS.len())];
        let whom = USERS[rng.random_range(1..USERS.len())];
        match rng.random_range(0..10) {
            0 => others.push(bench.execute(add(name, "alice", &[whom]))),
            1 => others.push(bench.execute(remove(name, "alice", whom))),
            2 if !sendings.is_empty() => {
                // An earlier one again, whatever became of it.
                let at = rng.random_range(0..sendings.len());
                let again = &sendings[at];
                flying.push((
                    at,
                    bench.execute(send_key(again.name, again.source, &again.key, &again.key)),
                ));
            }
            _ => {
                let key = format!("key-{}", sendings.len());
                flying.push((
                    sendings.len(),
                    bench.execute(send_key(name, by, &key, &key)),
                ));
                sendings.push(Sending {
                    name,
                    source: by,
                    key,
                    acknowledged: None,
                });
            }
        }
    }

    for (at, answer) in flying {
        if let Ok(done) = in_time(answer).await {
            let Done::Sent { message, .. } = done else {
                panic!("{done:?}")
            };
            let known = *sendings[at].acknowledged.get_or_insert(message.core.id);
            assert_eq!(known, message.core.id, "one key, one message");
        }
    }

    for other in others {
        let _refused_or_not = in_time(other).await;
    }
}

async fn check(bench: &Bench, sendings: &[Sending]) {
    for name in NAMES {
        let events = bench.events(name, "alice").await;
        let mut keys: BTreeMap<&str, MessageId> = BTreeMap::new();
        let mut members: BTreeSet<&UserId> = BTreeSet::new();
        for event in &events {
            match &event.kind {
                EventKind::Created {
                    participants: joined,
                    ..
                } => members.extend(joined),
                EventKind::Joined { users, .. } => {
                    assert!(
                        users.iter().all(|user| members.insert(user)),
                        "joined twice"
                    );
                }
                EventKind::Left { user, .. } => assert!(members.remove(user), "left twice"),
                EventKind::Edited { .. }
                | EventKind::Deleted { .. }
                | EventKind::Role { .. }
                | EventKind::Updated { .. }
                | EventKind::Closed { .. } => {}
                EventKind::Message {
                    id, source, text, ..
                } => {
                    assert!(
                        members.contains(source),
                        "sent by one who was not in: {event:?}"
                    );
                    assert!(
                        keys.insert(text, *id).is_none(),
                        "one key made two messages: {text}"
                    );
                }
            }
        }
        for sending in sendings.iter().filter(|sending| sending.name == name) {
            if let Some(id) = sending.acknowledged {
                assert_eq!(
                    keys.get(sending.key.as_str()),
                    Some(&id),
                    "acknowledged and not there"
                );
            }
        }
        let view = bench.view(name, "alice").await.expect("in");
        assert_eq!(view.participants_count, members.len() as u64);
        for who in USERS.map(user) {
            in_time(index_equals(bench, name, &who, members.contains(&who))).await;
        }
    }
}

async fn index_equals(bench: &Bench, name: &str, who: &UserId, is_in: bool) {
    loop {
        let query = Query::Index {
            user: who.clone(),
            after: None,
            archived: None,
            limit: 100,
        };
        let Ok(Found::Index(items)) = bench.query(query).await else {
            panic!("no index")
        };
        if items
            .iter()
            .any(|listed| listed.item.conversation == conversation(name))
            == is_in
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[expect(clippy::too_many_lines, reason = "one story by chance")]
async fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let heads_max = [1, 2, 1000][rng.random_range(0..3)];
    let mut bench = Bench::with(Config {
        heads_max,
        ..config()
    })
    .await;

    for name in NAMES {
        bench.create(name, &USERS).await;
    }

    let mut sendings = Vec::new();
    for _ in 0..25 {
        for stream in Stream::BOTH {
            if rng.random_bool(0.3) {
                let faults = [
                    Fault::NotWritten,
                    Fault::DoubtWritten,
                    Fault::DoubtNotWritten,
                ];
                bench
                    .log
                    .fault(stream, &[faults[rng.random_range(0..faults.len())]]);
            }
        }
        storm(&bench, &mut rng, &mut sendings).await;
        match rng.random_range(0..12) {
            0 => {
                // In the middle of it: what flies is lost with the process.
                let (name, source) = (NAMES[0], "alice");
                for _ in 0..5 {
                    let key = format!("key-{}", sendings.len());
                    drop(bench.execute(send_key(name, source, &key, &key)));
                    sendings.push(Sending {
                        name,
                        source,
                        key,
                        acknowledged: None,
                    });
                }
                bench.log.no_faults();
                bench.crash().await;
            }
            1 => {
                bench.log.no_faults();
                bench.restart().await;
            }
            _ => {}
        }
    }

    bench.log.no_faults();
    check(&bench, &sendings).await;
    bench.crash().await;
    check(&bench, &sendings).await;

    // Every key again: none makes a second message.
    for sending in &sendings {
        let outcome = in_time(bench.execute(send_key(
            sending.name,
            sending.source,
            &sending.key,
            &sending.key,
        )))
        .await;
        if let (Some(id), Ok(Done::Sent { message, replayed })) = (sending.acknowledged, &outcome) {
            assert!(*replayed && message.core.id == id);
        }
    }
    check(&bench, &sendings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_commands_with_faults_and_crashes_keep_every_promise() {
    for seed in 0..4 {
        run(seed).await;
    }
}
