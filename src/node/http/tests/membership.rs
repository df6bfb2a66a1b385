//! Conversations that are created, and participants that come and go.

use super::*;
use crate::shard::command::CreateKeyUse;

#[tokio::test]
async fn participants_are_added_and_removed() {
    let face = Fixture::new()
        .writes(Done::Added(conversation()))
        .writes(Done::Removed);
    let path = "/v1/conversations/team/participants";
    let added = face
        .request("POST", path)
        .json(&json!({"participants": ["x", "y", "x"]}))
        .answer()
        .await;
    assert_eq!(
        (added.status.as_u16(), &added.json["name"]),
        (200, &json!("team"))
    );

    assert!(face.script.asked()[0].contains(r#"users: ["x", "y"]"#));
    assert_eq!(
        face.request("DELETE", &format!("{path}/x%40y"))
            .answer()
            .await
            .status,
        204
    );
    assert!(face.script.asked()[0].contains(r#"user: "x@y""#));
    assert_eq!(
        face.request("DELETE", &format!("{path}/x%20y"))
            .code()
            .await,
        Code::InvalidName
    );

    assert_eq!(
        face.request("POST", path)
            .json(&json!({"participants": []}))
            .code()
            .await,
        Code::Invalid
    );
    assert_eq!(
        face.request("POST", path)
            .json(&json!({"participants": ["a b"]}))
            .code()
            .await,
        Code::InvalidName
    );
}

#[tokio::test]
async fn a_conversation_is_created_with_the_caller_first() {
    let done = || Done::Created {
        conversation: conversation(),
        replayed: false,
    };
    let face = Fixture::new().writes(done()).writes(done());
    let create = || {
        face.request("POST", "/v1/conversations")
            .json(&json!({"participants": ["x", "bob", "x"]}))
    };
    let answered = create().answer().await;

    assert_eq!(
        (answered.status.as_u16(), answered.header("location")),
        (201, "/v1/conversations/team")
    );
    assert_eq!(create().answer().await.status, 201);

    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"participants: ["bob", "x"]"#),
        "{}",
        asked[0]
    );

    let made = |text: &str| text.split('"').nth(1).expect("a name").to_owned();
    assert!(
        made(&asked[0]).starts_with("c-") && made(&asked[0]) != made(&asked[1]),
        "without a key each is another"
    );
}

#[tokio::test]
async fn a_key_that_created_before_gives_the_same_or_a_conflict() {
    let done = Done::Created {
        conversation: conversation(),
        replayed: false,
    };
    let face = Fixture::new().reads(Found::CreateKey(None)).writes(done);
    let create = |on: &Fixture, body: Value| {
        let asking = on
            .request("POST", "/v1/conversations")
            .header("idempotency-key", "k1")
            .json(&body);
        asking.builder.body(asking.body).expect("a request")
    };
    let body = json!({"participants": ["x"], "name": "team", "title": "T"});
    let first = face.answer(create(&face, body.clone())).await;
    assert_eq!(first.status, 201);
    let asked = face.script.asked();
    let (_, fingerprint) = asked[1].split_once("fingerprint: [").expect("there");
    let (fingerprint, _) = fingerprint.split_once(']').expect("whole");
    let bytes: Vec<u8> = fingerprint
        .split(", ")
        .map(|byte| byte.parse().expect("a byte"))
        .collect();
    let known = CreateKeyUse {
        name: name("team"),
        fingerprint: bytes.try_into().expect("16 bytes"),
    };

    let face = face
        .reads(Found::CreateKey(Some(known.clone())))
        .reads(Found::Conversation(conversation()));
    let again = face.answer(create(&face, body)).await;
    assert_eq!((again.status.as_u16(), again.bytes), (200, first.bytes));

    let face = face.reads(Found::CreateKey(Some(known)));
    let other = json!({"participants": ["y"], "name": "team", "title": "T"});
    let conflict = face.answer(create(&face, other)).await;
    assert_eq!(
        (conflict.status.as_u16(), conflict.json["code"].as_str()),
        (422, Some("idempotency_conflict"))
    );
}

#[tokio::test]
async fn a_stale_look_at_the_key_creates_nothing() {
    let face = Fixture::new().reads_as(Ok((Found::CreateKey(None), Freshness::Stale { ms: 1 })));
    let create = face
        .request("POST", "/v1/conversations")
        .header("idempotency-key", "k");
    assert_eq!(
        create.json(&json!({"participants": ["x"]})).code().await,
        Code::Unavailable
    );
    assert_eq!(face.script.asked().len(), 1, "nothing but the look");
}

#[tokio::test]
async fn what_a_create_names_is_checked() {
    let face = Fixture::new();
    let code = |body: Value| face.request("POST", "/v1/conversations").json(&body).code();
    assert_eq!(code(json!({"participants": []})).await, Code::Invalid);
    assert_eq!(
        code(json!({"participants": vec!["x"; 1_001]})).await,
        Code::Invalid
    );
    assert_eq!(
        code(json!({"participants": ["a/b"]})).await,
        Code::InvalidName
    );

    assert_eq!(
        code(json!({"participants": ["x"], "name": ".."})).await,
        Code::InvalidName
    );
    assert_eq!(
        code(json!({"participants": ["x"], "title": ""})).await,
        Code::Invalid
    );
    assert_eq!(
        code(json!({"participants": ["x"], "title": "x".repeat(257)})).await,
        Code::Invalid
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn of_two_creates_under_one_key_the_second_waits_for_the_first() {
    let done = |replayed| Done::Created {
        conversation: conversation(),
        replayed,
    };
    let face = Fixture::new()
        .reads(Found::CreateKey(None))
        .reads(Found::CreateKey(None));
    let face = face.writes(done(false)).writes(done(true));
    face.script.close_gate();

    let create = || {
        let asking = face
            .request("POST", "/v1/conversations")
            .header("idempotency-key", "k");
        asking.json(&json!({"participants": ["x"]})).answer()
    };

    let looks = || face.script.asked.lock().expect("a lock").len();
    let control = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let looked = looks();
        face.script.gate.add_permits(1);
        looked
    };
    let (first, second, looked) = tokio::join!(create(), create(), control);
    assert_eq!(looked, 1, "the second has not even looked");
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 200));

    let asked = face.script.asked();
    assert!(
        asked[1].starts_with("Create(") && asked[2].starts_with("CreateKey"),
        "{asked:?}"
    );
}
