//! Attempts at a request to an owner, until when, and what is said at the end.

use super::*;

#[tokio::test]
async fn a_deadline_ends_the_wait_and_tells_whether_something_may_have_been_written() {
    let fake = Fake::new(marked);
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| PATIENCE);
    let pair = Pair::new(&fake, config()).await;
    let moment = || Instant::now() + Duration::from_millis(300);
    let (write, keyed, read) = tokio::join!(
        pair.owners.execute(ShardId(1), send("x", false), moment()),
        pair.owners.execute(ShardId(1), send("x", true), moment()),
        pair.owners.query(ShardId(1), participants("a"), moment()),
    );
    assert_eq!(write.expect_err("no answer").code, Code::OutcomeUnknown);
    assert_eq!(keyed.expect_err("no answer").code, Code::OutcomeUnknown);
    assert_eq!(read.expect_err("no answer").code, Code::Unavailable);
}

#[tokio::test]
async fn nothing_was_written_when_the_owner_could_not_be_reached() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    pair.server.shutdown().await;
    let deadline = Instant::now() + Duration::from_millis(300);
    let refused = pair
        .owners
        .execute(ShardId(1), send("x", false), deadline)
        .await
        .expect_err("nobody there");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(fake.bodies().is_empty());
}

#[tokio::test]
async fn a_broken_link_repeats_what_may_be_repeated_and_admits_doubt_about_the_rest() {
    let fake = Fake::new(marked);
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    *fake.delay.lock().expect("not poisoned") = Box::new(move |_| {
        if is_slow.load(Ordering::SeqCst) {
            PATIENCE
        } else {
            Duration::ZERO
        }
    });

    let (pair, between) = pair_through(&fake, config()).await;
    let plain = tokio::spawn(
        pair.owners
            .execute(ShardId(1), send("plain", false), soon()),
    );
    let keyed = tokio::spawn(pair.owners.execute(ShardId(1), send("keyed", true), soon()));
    eventually(|| fake.bodies().len() == 2).await;
    slow.store(false, Ordering::SeqCst);
    between.cut.notify_waiters();

    assert_eq!(
        plain.await.expect("no panic").expect_err("in doubt").code,
        Code::OutcomeUnknown
    );
    assert!(matches!(keyed.await.expect("no panic"), Ok(Done::Marked)));

    let served: Vec<_> = fake.bodies().iter().map(text).collect();
    assert_eq!(served, ["plain", "keyed", "keyed"]);
}

#[tokio::test]
async fn a_node_that_does_not_own_the_shard_sends_us_to_the_one_that_does() {
    let elsewhere = Fake::new(|_| Err(ShardError::NotOwner));
    let pair = Pair::new(&elsewhere, config()).await;
    let owner = Fake::new(marked);
    owner.owned.lock().expect("not poisoned").insert(ShardId(1));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (third, _pushes) = node("c", &owner, pair.table.subscribe(), config());
    let _server = third.serve_peers(listener, None);
    let sent = tokio::spawn(pair.owners.execute(ShardId(1), send("x", false), soon()));
    eventually(|| elsewhere.bodies().len() > 1).await;
    pair.table.send_replace(table(2, &[("c", address)]));
    assert!(matches!(sent.await.expect("no panic"), Ok(Done::Marked)));
    assert_eq!(owner.bodies().len(), 1);
}

#[tokio::test]
async fn what_an_owner_says_at_its_deadline_still_arrives() {
    let refusal = || ShardError::Problem(Problem::new(Code::NotReplicated, "nothing was written"));
    let fake = Fake::new(move |_| Err(refusal()));
    fake.at_deadline.store(true, Ordering::SeqCst);

    let pair = Pair::new(&fake, config()).await;
    for key in [true, false] {
        let deadline = Instant::now() + Duration::from_secs(1);
        let shard = pair.owners.map().shard_of(conversation(1).slot());
        let refused = pair
            .owners
            .execute(shard, send("x", key), deadline)
            .await
            .expect_err("refused");
        assert_eq!(
            refused.code,
            Code::NotReplicated,
            "not an outcome that is unknown: {refused}"
        );
    }
}

#[tokio::test]
async fn what_waited_past_its_deadline_is_never_sent() {
    let fake = Fake::new(marked);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let pair = Pair::through(&fake, config(), listener, address.clone());

    // The table does not say yet where the owner is, so requests wait.
    pair.table.send_replace(table(2, &[("b", String::new())]));

    let short = Instant::now() + Duration::from_millis(200);
    let (late, patient) = (
        pair.owners.execute(ShardId(1), send("late", true), short),
        tokio::spawn(
            pair.owners
                .execute(ShardId(1), send("patient", true), soon()),
        ),
    );

    assert_eq!(
        late.await.expect_err("nobody there").code,
        Code::Unavailable
    );

    pair.table.send_replace(table(3, &[("b", address)]));
    patient
        .await
        .expect("no panic")
        .expect("it is reached in time");
    assert_eq!(
        fake.bodies().iter().map(text).collect::<Vec<_>>(),
        ["patient"]
    );
}
