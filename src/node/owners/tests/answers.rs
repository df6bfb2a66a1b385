//! Answers of owners: in whatever order, whichever shard, near or far, and how old.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_are_served_in_the_order_in_which_they_were_made() {
    let fake = Fake::new(marked);
    // Every other answer is late, which must not hold up the requests behind it.
    *fake.delay.lock().expect("not poisoned") =
        Box::new(|body| Duration::from_millis(20 * (text(body).parse::<u64>().unwrap_or(0) % 2)));
    let pair = Pair::new(&fake, config()).await;

    // The first are made before the link is open.
    let answers: Vec<_> = (0..500)
        .map(|n| {
            pair.owners
                .execute(ShardId(1), send(&n.to_string(), false), soon())
        })
        .collect();
    for answer in answers {
        assert!(matches!(answer.await, Ok(Done::Marked)));
    }
    let served: Vec<_> = fake.bodies().iter().map(text).collect();
    assert_eq!(served, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn answers_in_another_order_find_their_requests() {
    let fake = Fake::new(echo);
    *fake.delay.lock().expect("not poisoned") = Box::new(|body| match body {
        Body::Query {
            query: Query::Participants { reader, .. },
            ..
        } if reader.as_str() == "slow" => Duration::from_millis(200),
        _ => Duration::ZERO,
    });

    let pair = Pair::new(&fake, config()).await;
    let ask = |reader: &'static str| {
        let owners = pair.owners.clone();
        async move {
            match owners
                .query(ShardId(1), participants(reader), soon())
                .await
                .expect("an answer")
                .0
            {
                Found::Participants(page) => assert_eq!(page.next.as_deref(), Some(reader)),
                other => panic!("{other:?}"),
            }
        }
    };

    let slow = tokio::spawn(ask("slow"));
    eventually(|| fake.bodies().len() == 1).await;
    ask("quick").await;
    assert!(!slow.is_finished());
    slow.await.expect("its own answer");
}

#[tokio::test]
async fn one_failing_shard_spoils_nothing_but_its_own_summaries() {
    let bad = conversation(0);
    let fake = Fake::new(move |body| {
        let Body::Summaries { parts, .. } = body else {
            return marked(body);
        };
        let problem = || ShardError::Problem(Problem::new(Code::Lagging, "behind"));
        let answer = |names: &Vec<ConversationName>| {
            if names.contains(&bad) {
                Err(problem())
            } else {
                Ok(names.iter().map(|_| None).collect())
            }
        };
        Ok(Outcome::Summaries(
            parts.iter().map(|(_, names)| answer(names)).collect(),
        ))
    });

    let pair = Pair::new(&fake, config()).await;
    let names: Vec<_> = (0..600).map(conversation).collect();
    let (answers, freshness) = pair
        .owners
        .summaries(&user("a"), (&names, SummaryLength::Whole), soon())
        .await;
    assert_eq!(freshness, Freshness::Strict);
    assert_eq!(answers.len(), names.len());

    let shard = |name: &ConversationName| pair.owners.map().shard_of(name.slot());
    assert!(answers[0].is_err());

    for (name, answer) in names.iter().zip(&answers) {
        assert!(
            answer.is_ok() || shard(name) == shard(&names[0]),
            "{name}: {answer:?}"
        );
    }

    assert_eq!(
        fake.bodies().len(),
        3,
        "600 names of one node are three requests"
    );
}

#[tokio::test]
async fn how_stale_an_answer_is_travels_over_a_link() {
    let stale_shard = Arc::new(Mutex::new(None));
    let stale = Arc::clone(&stale_shard);
    let fake = Fake::new(move |body| match body {
        Body::Query { .. } => match echo(body)? {
            Outcome::Found(found, _) => Ok(Outcome::Found(found, Freshness::Stale { ms: 2_800 })),
            other => Ok(other),
        },
        Body::Summaries { parts, .. } => {
            let has_stale = parts
                .iter()
                .any(|(shard, _)| Some(*shard) == *stale.lock().expect("whole"));
            let parts = parts
                .iter()
                .map(|(_, names)| Ok(names.iter().map(|_| None).collect()))
                .collect();
            Ok(if has_stale {
                Outcome::StaleSummaries { parts, ms: 3_100 }
            } else {
                Outcome::Summaries(parts)
            })
        }
        _ => marked(body),
    });

    let pair = Pair::new(&fake, config()).await;
    let shard = |name: &ConversationName| pair.owners.map().shard_of(name.slot());
    let read = pair
        .owners
        .query(shard(&conversation(1)), participants("bob"), soon())
        .await;
    assert!(
        matches!(read, Ok((_, Freshness::Stale { ms: 2_800 }))),
        "{read:?}"
    );
    let names: Vec<_> = (0..4).map(conversation).collect();
    let (_, of_strict) = pair
        .owners
        .summaries(&user("a"), (&names, SummaryLength::Whole), soon())
        .await;
    assert_eq!(of_strict, Freshness::Strict);
    *stale_shard.lock().expect("whole") = Some(shard(&names[2]));

    let (items, freshness) = pair
        .owners
        .summaries(&user("a"), (&names, SummaryLength::Whole), soon())
        .await;
    assert!(items.iter().all(Result::is_ok));
    assert_eq!(freshness, Freshness::Stale { ms: 3_100 });
}

#[tokio::test]
async fn local_and_remote_shards_are_reached_the_same_way() {
    let fake = Fake::new(live);
    fake.owned
        .lock()
        .expect("not poisoned")
        .extend((0..16).map(ShardId));
    let (_table, table) = watch::channel(table(1, &[("a", String::new())]));

    let (owners, _pushed) = node("a", &fake, table, config());
    assert!(fake.owns(ShardId(3)));

    let answers = owners.subscribe(interests(40), soon()).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Subscribed::Live { .. }))
    );

    owners.unsubscribe(vec![(conversation(1), user("a"))]);
    assert!(matches!(fake.bodies().last(), Some(Body::Unsubscribe { parts }) if parts.len() == 1));
    assert_eq!(owners.map().shards(), SHARDS);
}

#[tokio::test]
async fn nodes_of_one_process_ask_each_other_without_a_link_until_one_ends() {
    let fake = Fake::new(echo);
    fake.owned
        .lock()
        .expect("not poisoned")
        .extend((0..16).map(ShardId));
    // There is nobody at the owner's address.
    let (_told, table) = watch::channel(table(
        1,
        &[("b", "127.0.0.1:1".to_owned()), ("a", String::new())],
    ));
    let beside = Beside::default();
    let (owner, _) = node_beside(beside.clone(), ("b", &fake), table.clone(), config());
    let nothing = Fake::new(|_| Err(ShardError::NotOwner));
    let (asker, mut pushed) = node_beside(beside, ("a", &nothing), table, config());

    let found = asker
        .query(ShardId(3), participants("alice"), soon())
        .await
        .expect("answered");
    assert!(matches!(found.0, Found::Participants(page) if page.next.as_deref() == Some("alice")));
    assert_eq!(
        *fake.askers.lock().expect("not poisoned"),
        [NodeId::from("a")]
    );
    let subscriber = fake.subscribers.lock().expect("not poisoned")[0].clone();
    subscriber.push(Push::Typing {
        conversation: conversation(1),
        user: user("bob"),
        until: 1,
    });
    subscriber.push(Push::Presence {
        shard: ShardId(3),
        epoch: Epoch(1),
        changes: Vec::new(),
    });
    assert!(matches!(pushed.recv().await, Some(Push::Typing { .. })));
    assert!(matches!(pushed.recv().await, Some(Push::Presence { .. })));

    owner.shutdown().await;
    let late = Instant::now() + Duration::from_millis(200);
    let refused = asker
        .query(ShardId(3), participants("alice"), late)
        .await
        .expect_err("nobody answers");
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(fake.bodies().len(), 1, "what has ended is not asked");
    let forgotten = nothing.forgotten.lock().expect("not poisoned").len();
    assert_eq!(
        forgotten, 1,
        "nor is it told anything any more, as when a link ends"
    );
}
