//! Paging through a conversation's messages.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::shared;
use crate::support::{Fields, Group};

/// Messages on the seqs 2 to `last`, in turn of two senders, some of them replies to the first.
async fn filled(group: &Group, last: u64) -> Vec<Value> {
    let mut sent: Vec<Value> = Vec::new();
    for seq in 2..=last {
        let sender = if seq % 3 == 0 {
            &group.members[0]
        } else {
            &group.admin
        };
        let reply_to = if seq % 4 == 0 {
            sent[0]["id"].clone()
        } else {
            Value::Null
        };
        let body = json!({"text": format!("m{seq}"), "reply_to": reply_to});
        let message = sender
            .post(&group.path("/messages"), &body)
            .await
            .expect(201);
        assert_eq!(message.number("seq"), seq);
        sent.push(message);
    }

    sent
}

/// What the contract says a page is: the seqs, and `before` and `after`.
fn expected(
    all: &[u64],
    cursor: Option<(&str, u64)>,
    limit: usize,
    asc: bool,
) -> (Vec<u64>, Option<u64>, Option<u64>) {
    let mut page: Vec<u64> = match cursor {
        Some(("before", at)) => all
            .iter()
            .rev()
            .filter(|&&seq| seq < at)
            .take(limit)
            .copied()
            .collect(),
        Some(("after", at)) => all
            .iter()
            .filter(|&&seq| seq > at)
            .take(limit)
            .copied()
            .collect(),
        _ if asc => all.iter().take(limit).copied().collect(),
        _ => all.iter().rev().take(limit).copied().collect(),
    };
    page.sort_unstable();

    let before = page
        .first()
        .filter(|&&low| all.iter().any(|&seq| seq < low))
        .copied();
    let after = page
        .last()
        .filter(|&&high| all.iter().any(|&seq| seq > high))
        .copied();
    if !asc {
        page.reverse();
    }
    (page, before, after)
}

async fn check(client: &Client, group: &Group, all: &[u64], filter: &str) {
    let mut cursors: Vec<Option<(&str, u64)>> = vec![None];
    for at in [1, 2, 3, 9, 14, 21, 22, 23, 1_000] {
        cursors.extend([Some(("before", at)), Some(("after", at))]);
    }
    for cursor in cursors {
        for limit in [1, 2, 7, 50] {
            for order in ["asc", "desc"] {
                let at = cursor.map_or(String::new(), |(name, at)| format!("&{name}={at}"));
                let query = format!("limit={limit}&order={order}{at}{filter}");
                let page = client.history(&group.name, &query).await;
                let got = (page.seqs(), page["before"].as_u64(), page["after"].as_u64());
                assert_eq!(got, expected(all, cursor, limit, order == "asc"), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn before_and_after_pick_the_nearest_page_and_order_only_sorts_it() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    filled(&group, 22).await;
    let all: Vec<u64> = (2..=22).collect();
    check(&group.members[0], &group, &all, "").await;
}

#[tokio::test]
async fn filters_keep_paging_exact() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let sent = filled(&group, 22).await;
    let of_bob: Vec<u64> = (2..=22).filter(|seq| seq % 3 == 0).collect();
    check(
        &group.admin,
        &group,
        &of_bob,
        &format!("&source={}", group.members[0].user()),
    )
    .await;

    let replies: Vec<u64> = (2..=22).filter(|seq| seq % 4 == 0).collect();
    check(
        &group.admin,
        &group,
        &replies,
        &format!("&reply_to={}", sent[0].text("id")),
    )
    .await;

    let both = format!(
        "source={}&reply_to={}&order=asc",
        group.members[0].user(),
        sent[0].text("id")
    );

    assert_eq!(group.admin.history(&group.name, &both).await.seqs(), [12]);
    assert!(
        group
            .admin
            .history(&group.name, "source=nobody")
            .await
            .seqs()
            .is_empty()
    );
}

#[tokio::test]
async fn around_gives_the_message_with_its_neighbours() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    filled(&group, 22).await;

    for at in 2..=22_u64 {
        for limit in [1_u64, 2, 5, 8, 21, 50] {
            let page = group
                .admin
                .history(&group.name, &format!("around={at}&limit={limit}&order=asc"))
                .await;
            let seqs = page.seqs();
            assert_eq!(
                seqs.len() as u64,
                limit.min(21),
                "around={at} limit={limit}: {seqs:?}"
            );
            assert!(seqs.contains(&at), "around={at} limit={limit}: {seqs:?}");
            assert!(
                seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "{seqs:?}"
            );
            let (low, high) = (seqs[0], seqs[seqs.len() - 1]);
            let (below, above) = (at - low, high - at);
            assert!(
                below.abs_diff(above) <= 1 || low == 2 || high == 22,
                "not the nearest: {at} in {seqs:?}"
            );
            assert_eq!(page["before"].as_u64(), (low > 2).then_some(low));
            assert_eq!(page["after"].as_u64(), (high < 22).then_some(high));
            let down = group
                .admin
                .history(&group.name, &format!("around={at}&limit={limit}"))
                .await;
            assert!(down.seqs().iter().rev().eq(seqs.iter()), "order only sorts");
        }
    }
}

#[tokio::test]
async fn following_the_answer_visits_every_message_once_in_both_directions() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    filled(&group, 30).await;

    for (order, cursor) in [("desc", "before"), ("asc", "after")] {
        let mut visited = Vec::new();
        let mut at = String::new();
        loop {
            let page = group
                .admin
                .history(&group.name, &format!("limit=4&order={order}{at}"))
                .await;
            visited.extend(page.seqs());
            assert!(
                visited.len() <= 29,
                "the cursor does not move on: {visited:?}"
            );
            let Some(next) = page[cursor].as_u64() else {
                break;
            };
            at = format!("&{cursor}={next}");
        }
        visited.sort_unstable();
        assert_eq!(visited, (2..=30).collect::<Vec<u64>>(), "{order}");
    }
}

// what must not happen: 28 — no limit means "everything", and the default page is a small one.
#[tokio::test]
async fn a_page_is_bounded_and_never_cut_silently() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    filled(&group, 62).await;

    let path = group.path("/messages");
    let default = group.admin.get(&path).await.expect(200);
    assert_eq!(default.seqs(), (13..=62).rev().collect::<Vec<u64>>());

    for query in [
        "limit=-1",
        "limit=0",
        "limit=201",
        "limit=1e3",
        "limit=1.5",
        "limit=",
        "limit=99999999999999999999",
        "limit=+5",
    ] {
        group
            .admin
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }

    assert_eq!(
        group
            .admin
            .history(&group.name, "limit=200")
            .await
            .list("items")
            .len(),
        61
    );
}

#[tokio::test]
async fn queries_that_make_no_sense_are_400() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let path = group.path("/messages");

    for query in [
        "before=3&after=1",
        "around=3&before=4",
        "around=3&after=4",
        "before=x",
        "after=-1",
        "order=up",
        "order=",
        "created=5",
        "offset=10",
        "reply_to=7",
        "limit=5&limit=6&limit=x",
    ] {
        group
            .admin
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }
}
