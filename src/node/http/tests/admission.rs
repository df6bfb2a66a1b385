//! What is checked before a shard is asked, and what every answer says.

use super::*;
use crate::protocol::Page;

#[tokio::test]
async fn without_a_token_nothing_reaches_a_shard() {
    let face = Fixture::new();
    let unauthorized = face.bare("POST", MESSAGES).raw("x").answer().await;
    assert_eq!(
        (
            unauthorized.status.as_u16(),
            unauthorized.header("www-authenticate")
        ),
        (401, "Bearer")
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn no_other_place_than_the_header_gives_a_token() {
    let face = Fixture::new();
    let token =
        auth::issue(SECRET, &user("bob"), Duration::from_secs(60), &face.clock).expect("a token");
    let path = format!("/v1/conversations?token={token}&access_token={token}");
    assert_eq!(face.bare("GET", &path).code().await, Code::Unauthorized);
    assert_eq!(
        face.bare("GET", "/v1/conversations")
            .header("x-user", "bob")
            .code()
            .await,
        Code::Unauthorized
    );
    let expired = face.request("GET", "/v1/conversations");
    face.clock.set(NOW_MS + 90_000);
    assert_eq!(expired.code().await, Code::Unauthorized);
}

#[tokio::test]
async fn the_body_is_checked_in_the_order_of_the_contract() {
    let face = Fixture::new();
    let send = || face.request("POST", "/v1/conversations/no%20name/messages?x=1");
    let large = vec![b'x'; 128 * 1024 + 1];

    assert_eq!(send().raw(large.clone()).code().await, Code::TooLarge);
    assert_eq!(
        face.bare("POST", MESSAGES).raw(large).code().await,
        Code::Unauthorized
    );
    assert_eq!(send().code().await, Code::UnsupportedMediaType);
    assert_eq!(send().raw("{}").code().await, Code::UnsupportedMediaType);
    assert_eq!(
        send()
            .raw("{}")
            .header("content-type", "text/json")
            .code()
            .await,
        Code::UnsupportedMediaType
    );

    let long_and_wrong = json!({"text": "x".repeat(16_385), "reply_to": "x"});
    assert_eq!(
        face.request("POST", MESSAGES)
            .json(&long_and_wrong)
            .code()
            .await,
        Code::Invalid,
        "400 before 413 of the text"
    );

    let long = json!({"text": "x".repeat(16_385)});
    assert_eq!(
        send().json(&long).code().await,
        Code::Invalid,
        "an unknown query parameter"
    );
    assert_eq!(
        face.request("POST", MESSAGES).json(&long).code().await,
        Code::TextTooLong
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn malformed_json_is_answered_with_its_position() {
    let face = Fixture::new();
    for (body, place) in [
        ("{\n \"text\": }", "line 2 column 10"),
        ("{}", "line 1 column 2"),
        ("[\"x\"]", "line 1 column 1"),
    ] {
        let answered = face.request("POST", MESSAGES).text(body).answer().await;
        assert_eq!(
            (answered.status.as_u16(), answered.json["code"].as_str()),
            (400, Some("invalid")),
            "{body}"
        );
        assert!(
            answered.json["detail"]
                .as_str()
                .expect("a detail")
                .contains(place),
            "{body}: {}",
            answered.json
        );
    }

    let deep = format!("{{\"text\":\"x\",\"more\":{}}}", "[".repeat(10_000));
    let quoting = format!("{{\"text\":\"x\",\"reply_to\":{}}}", "9".repeat(10_000));

    for body in [
        deep.as_str(),
        &quoting,
        "nul",
        "{\"text\":\"\\ud800\"}",
        "{\"text\":null}",
        "{\"text\":1}",
        "\u{feff}{}",
    ] {
        let answered = face.request("POST", MESSAGES).text(body).answer().await;
        assert_eq!(answered.status, 400);
        assert!(answered.bytes.len() < 1_000);
    }

    assert_eq!(
        face.request("POST", MESSAGES)
            .header("content-type", "application/json")
            .raw(vec![0xff, 0xfe])
            .code()
            .await,
        Code::Invalid
    );
}

#[tokio::test]
async fn what_another_node_owns_is_sent_elsewhere_with_a_hint() {
    let face = Fixture::with(false, |_| {});
    let id = MessageId::new(1, Slot(9), 1);
    let create = json!({"participants": ["x"]});
    let asking = [
        face.request("POST", MESSAGES).json(&json!({"text": "x"})),
        face.request("GET", MESSAGES),
        face.request("GET", "/v1/conversations"),
        face.request("POST", "/v1/conversations").json(&create),
        face.request("GET", &format!("/v1/messages/{id}")),
        face.request("POST", &format!("/v1/messages/{id}/read")),
    ];

    for request in asking {
        assert_eq!(request.elsewhere().await, (Some(NodeId::from("n2")), 7));
    }

    assert_eq!(
        face.request("POST", "/v1/conversations")
            .json(&json!({}))
            .code()
            .await,
        Code::Invalid,
        "checks first"
    );

    let ourselves = Fixture::with(false, |config| config.node = NodeId::from("n2"));
    assert_eq!(
        ourselves.request("GET", MESSAGES).elsewhere().await,
        (None, 7),
        "never sent in a circle"
    );
}

#[tokio::test]
async fn a_user_beyond_the_rate_is_told_when_to_come_back() {
    let face = Fixture::with(true, |config| {
        (config.requests_per_second, config.burst) = (1, 1)
    });
    let page = || {
        Found::Participants(Page {
            items: vec![],
            next: None,
            partial: false,
        })
    };
    let face = (0..20).fold(face, |face, _| face.reads(page()));

    for _ in 0..20 {
        let answered = face
            .request("GET", "/v1/conversations/team/participants")
            .answer()
            .await;
        if answered.status == 429 {
            assert!(
                answered
                    .header("retry-after")
                    .parse::<u64>()
                    .expect("seconds")
                    >= 1
            );
            return;
        }
    }

    panic!("twenty requests in a row passed at one per second");
}

#[tokio::test]
async fn a_bug_below_is_answered_as_unavailable() {
    let face = Fixture::new().reads(Found::CreateKey(None));
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable,
        "another answer than was asked for"
    );

    // The script has run out, so these panic below.
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable
    );
    assert_eq!(
        face.request("POST", MESSAGES)
            .json(&json!({"text": "x"}))
            .code()
            .await,
        Code::OutcomeUnknown
    );
}

#[tokio::test]
async fn the_request_id_of_the_client_comes_back() {
    let face = Fixture::new();
    let answered = face
        .bare("GET", "/v1/conversations")
        .header("x-request-id", "abc-1")
        .answer()
        .await;
    assert_eq!(
        (
            answered.header("x-request-id"),
            answered.json["request_id"].as_str()
        ),
        ("abc-1", Some("abc-1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_does_not_answer_is_given_up_after_the_budget() {
    let face = Fixture::new();
    face.script.close_gate();
    let begun = tokio::time::Instant::now();
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable
    );
    assert!(begun.elapsed() < Duration::from_secs(6));
    let create = face
        .request("POST", "/v1/conversations")
        .header("idempotency-key", "k");
    assert_eq!(
        create.json(&json!({"participants": ["x"]})).code().await,
        Code::OutcomeUnknown
    );
}
