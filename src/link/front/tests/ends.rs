//! Calls that are dropped or late, and links that end.

use super::*;

over_both! {
    when_the_connection_ends_calls_are_lost_and_its_number_is_of_no_use
    a_call_that_is_dropped_before_it_was_sent_never_is
    a_call_without_an_answer_is_lost_at_its_deadline
    a_link_that_is_stopped_sends_nothing_more
}

async fn when_the_connection_ends_calls_are_lost_and_its_number_is_of_no_use(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    let hanging = tokio::spawn(bench.link.call(call("hang", ""), soon()));
    bench.noted.until(|noted| noted.calls() == 1).await;
    let router = bench.noted.router();
    assert!(router.offer(deliver(1)));
    router.end();
    assert!(!router.offer(deliver(2)), "nothing after the end");
    bench
        .noted
        .until(|noted| !noted.ended.lock().expect("a lock").is_empty())
        .await;
    assert_eq!(*bench.noted.ended.lock().expect("a lock"), [connection]);
    assert_eq!(
        delivered(&bench.noted),
        [1],
        "what was queued before came first"
    );
    assert_eq!(
        hanging.await.expect("no panic").expect_err("no answer"),
        Failure::Lost
    );
    assert!(matches!(
        bench.say(Some(connection), 1),
        Err(Failure::NotSent(_))
    ));

    let again = async {
        loop {
            match bench.say(None, 2) {
                Ok(next) => return next,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    let next = timeout(PATIENCE, again).await.expect("another connection");
    assert!(next > connection);
    bench.noted.until(|noted| said(noted) == [2]).await;
}

async fn a_call_that_is_dropped_before_it_was_sent_never_is(by: By) {
    let bench = Bench::over(by).await;
    bench.open().await;
    drop(bench.link.call(call("dropped", ""), soon()));
    bench
        .link
        .call(call("kept", ""), soon())
        .await
        .expect("an answer");
    let called = bench.noted.called.lock().expect("a lock");

    assert_eq!(
        called
            .iter()
            .map(|call| call.query.as_str())
            .collect::<Vec<_>>(),
        ["kept"]
    );
}

async fn a_call_without_an_answer_is_lost_at_its_deadline(by: By) {
    let bench = Bench::over(by).await;
    bench.open().await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let lost = bench.link.call(call("hang", ""), deadline).await;
    assert_eq!(lost.expect_err("no answer"), Failure::Lost);
    bench
        .link
        .call(call("", ""), soon())
        .await
        .expect("the link lives on");
}

async fn a_link_that_is_stopped_sends_nothing_more(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    bench.stop.cancel();
    bench
        .noted
        .until(|noted| !noted.ended.lock().expect("a lock").is_empty())
        .await;
    assert!(matches!(
        bench.say(Some(connection), 1),
        Err(Failure::NotSent(_))
    ));

    assert!(matches!(
        bench.link.call(call("", ""), soon()).await,
        Err(Failure::NotSent(_))
    ));

    bench
        .noted
        .until(|noted| noted.router.lock().expect("a lock").is_none())
        .await;
}

#[tokio::test]
async fn a_node_that_says_nothing_any_more_is_given_up() {
    let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let address = Box::new(move || Some(address.clone()));
    let way = Way::Socket {
        credentials: credentials("router", Role::Router),
        address,
    };

    let config = Config {
        heartbeat: Duration::from_millis(10),
        ..Config::front()
    };
    let setup = Setup {
        node: NodeId::from("node"),
        way,
        consumer: Arc::<Noted>::clone(&noted),
        config,
        stop: stop.clone(),
    };

    let link = NodeLink::spawn(setup);
    let connection = link.send(None, Up::Gone(1)).expect("it is sent");
    let (stream, _) = listener.accept().await.expect("a connection");
    let silent = accept_link(&credentials("node", Role::Node), &Config::front(), stream)
        .await
        .expect("a router");
    noted
        .until(|noted| *noted.ended.lock().expect("a lock") == [connection])
        .await;
    drop(silent);
    stop.cancel();
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_fails_at_once_what_waited_for_it() {
    let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
    let way = Way::Socket {
        credentials: credentials("router", Role::Router),
        address: Box::new(|| None),
    };
    let node = NodeId::from("node");
    let consumer = Arc::<Noted>::clone(&noted);
    let link = NodeLink::spawn(Setup {
        node,
        way,
        consumer,
        config: Config::front(),
        stop: stop.clone(),
    });

    let connection = link
        .send(None, Up::Gone(1))
        .expect("it waits for the connection");
    let failed = link.call(call("", ""), soon()).await;
    assert!(matches!(failed, Err(Failure::NotSent(_))), "{failed:?}");

    noted
        .until(|noted| noted.ended.lock().expect("a lock").contains(&connection))
        .await;
    stop.cancel();
}
