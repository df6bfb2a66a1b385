//! What a link carries: frames in their order, answers whole, and frames of other versions.

use super::*;
use crate::link::front::weight::PART_BYTES_MAX;

over_both! {
    frames_arrive_in_their_order_in_both_directions
    an_answer_comes_whole_in_however_many_parts
    a_node_that_does_not_own_the_shard_says_who_does
}

async fn frames_arrive_in_their_order_in_both_directions(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    for number in 0..2_000 {
        assert_eq!(bench.say(Some(connection), number), Ok(connection));
        assert!(bench.noted.router().offer(deliver(number)));
    }
    bench
        .noted
        .until(|noted| noted.ups() == 2_000 && noted.downs() == 2_000)
        .await;
    assert!(said(&bench.noted).into_iter().eq(0..2_000));
    assert!(delivered(&bench.noted).into_iter().eq(0..2_000));
    let down = bench.noted.down.lock().expect("a lock");
    assert!(down.iter().all(|(of, _)| *of == connection));
}

async fn an_answer_comes_whole_in_however_many_parts(by: By) {
    let bench = Bench::over(by).await;
    for size in [
        0,
        1,
        PART_BYTES_MAX,
        PART_BYTES_MAX + 1,
        5 * PART_BYTES_MAX + 7,
    ] {
        let body: Bytes = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap_or_default())
            .collect();
        let answer = bench
            .link
            .call(call("", body.clone()), soon())
            .await
            .expect("an answer");
        let Answer::Told(told) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (told.status, told.headers.len(), told.body.concat()),
            (200, 1, body.to_vec())
        );
    }

    let called = bench.noted.called.lock().expect("a lock");
    let budget = u64::try_from(PATIENCE.as_millis()).expect("it fits");
    assert!(
        called.iter().all(|call| call.deadline_ms < budget),
        "the node is to answer before the router gives up"
    );
}

async fn a_node_that_does_not_own_the_shard_says_who_does(by: By) {
    let bench = Bench::over(by).await;
    let answer = bench
        .link
        .call(call("elsewhere", ""), soon())
        .await
        .expect("an answer");
    let Answer::Elsewhere { owner, version } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (owner, version),
        (Some(NodeId::from("other")), 9),
        "by the table of the reply"
    );
}

#[tokio::test]
async fn a_node_of_the_version_before_is_not_asked_for_reactions_and_its_link_lives() {
    let old = Config {
        newest: 8,
        ..Config::front()
    };
    let bench = Bench::with(By::Socket, Config::front(), old).await;
    let connection = bench.open().await;
    let reactions = Call {
        operation: Operation::ListReactions,
        ..call("", "")
    };
    let refused = bench.link.call(reactions, soon()).await;
    assert!(matches!(refused, Err(Failure::NotSent(_))), "{refused:?}");

    let known = bench.link.call(call("", ""), soon()).await;
    assert!(matches!(known, Ok(Answer::Told(_))), "{known:?}");
    assert_eq!(bench.say(Some(connection), 1), Ok(connection));
    assert_eq!(bench.noted.calls(), 1);
}

#[test]
fn a_frame_of_the_first_version_with_routers_is_read_as_ever_and_unknown_fields_are_skipped() {
    let later = serde_json::json!([
        {"Open": {"session": 7, "deadline_ms": 5, "request_id": "r", "query": "q", "cursors": [[1, 2]]}},
        {"Gone": 7},
    ]);
    let frames: Vec<Up> =
        crate::link::codec::decode(&crate::link::codec::encode(&later).expect("bytes"))
            .expect("read");
    let [Up::Open(open), Up::Gone(7)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!((open.session, open.query.as_str()), (7, "q"));

    let bytes = crate::link::codec::encode(&vec![deliver(5)]).expect("bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex, "9181a744656c6976657283a2746f9101a474657874c40135a56576656e74c0",
        "older routers read this"
    );
}
