//! What finds no space, and calls beyond the bound.

use super::*;

over_both! {
    what_finds_no_space_at_the_node_is_told_and_what_says_how_things_stand_has_a_reserve
    what_finds_no_space_at_the_router_is_refused
    calls_beyond_the_bound_are_refused_at_once_at_either_end
}

async fn what_finds_no_space_at_the_node_is_told_and_what_says_how_things_stand_has_a_reserve(
    by: By,
) {
    let small = Config {
        queued_bytes_max: 4_096,
        ..Config::front()
    };
    let bench = Bench::with(by, Config::front(), small).await;
    bench.open().await;

    let router = bench.noted.router();
    // Nothing is carried meanwhile: this task does not wait.
    let fitted = (0..1_000)
        .take_while(|number| router.offer(deliver(*number)))
        .count();
    assert!((10..1_000).contains(&fitted), "{fitted}");
    assert!(!router.has_room() || !router.offer(deliver(fitted)));
    assert!(router.offer(Down::Forgotten(1)), "the reserve");

    timeout(PATIENCE, router.until_room())
        .await
        .expect("space again");
    assert!(router.offer(deliver(fitted)));

    bench.noted.until(|noted| noted.downs() == fitted + 2).await;
    assert!(
        delivered(&bench.noted).into_iter().eq(0..=fitted),
        "nothing was lost, and nothing overtook"
    );
}

async fn what_finds_no_space_at_the_router_is_refused(by: By) {
    let small = Config {
        queued_bytes_max: 4_096,
        ..Config::front()
    };
    let bench = Bench::with(by, small, Config::front()).await;
    let connection = bench.open().await;
    let fitted = (0..1_000)
        .take_while(|number| bench.say(Some(connection), *number).is_ok())
        .count();
    assert!((10..1_000).contains(&fitted), "{fitted}");
    assert_eq!(bench.say(Some(connection), fitted), Err(Failure::Full));

    let refused = bench.link.call(call("", ""), soon()).await;
    assert_eq!(refused.expect_err("no space"), Failure::Full);
    assert_eq!(
        bench.link.send(Some(connection), Up::Gone(1)),
        Ok(connection),
        "the reserve"
    );

    timeout(PATIENCE, bench.link.until_space(connection))
        .await
        .expect("space again");
    bench.noted.until(|noted| noted.ups() == fitted + 1).await;
    assert!(said(&bench.noted).into_iter().eq(0..fitted));
}

async fn calls_beyond_the_bound_are_refused_at_once_at_either_end(by: By) {
    let few = |in_flight_max| Config {
        in_flight_max,
        ..Config::front()
    };
    let bench = Bench::with(by, few(3), few(2)).await;
    let hanging: Vec<_> = (0..2)
        .map(|_| tokio::spawn(bench.link.call(call("hang", ""), soon())))
        .collect();
    bench.noted.until(|noted| noted.calls() == 2).await;
    let answer = bench
        .link
        .call(call("", ""), soon())
        .await
        .expect("an answer");
    assert!(
        matches!(answer, Answer::Told(Told { status: 503, .. })),
        "the node has two: {answer:?}"
    );

    let third = bench.link.call(call("hang", ""), soon());
    let fourth = bench.link.call(call("", ""), soon()).await;
    assert_eq!(fourth.expect_err("the router has three"), Failure::Full);
    drop(third);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(bench.noted.calls(), 2);
}
