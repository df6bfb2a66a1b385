//! What is not where it is asked for: methods, parameters, versions, ports.

use super::*;

#[tokio::test]
async fn what_is_not_allowed_tells_what_is() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let message = group.admin.say(&group.name, "x").await;
    let of_message = |rest: &str| format!("/v1/messages/{}{rest}", message.text("id"));

    for (path, allowed) in [
        ("/v1/conversations".to_owned(), &["GET", "HEAD", "POST"][..]),
        (group.path(""), &["DELETE", "GET", "HEAD", "PATCH"]),
        (group.path("/participants"), &["GET", "HEAD", "POST"]),
        (group.path("/participants/bob"), &["DELETE", "PUT"]),
        (group.path("/messages"), &["GET", "HEAD", "POST"]),
        (group.path("/events"), &["GET", "HEAD"]),
        (group.path("/watermarks"), &["GET", "HEAD"]),
        (of_message(""), &["DELETE", "GET", "HEAD", "PATCH"]),
        (of_message("/receipts"), &["GET", "HEAD"]),
        (of_message("/reactions"), &["GET", "HEAD"]),
        (of_message("/reaction"), &["DELETE", "PUT"]),
        (of_message("/read"), &["POST"]),
    ] {
        let answer = group
            .admin
            .call(Method::OPTIONS, &path, &[], Bytes::new())
            .await;
        answer.refused(405, "method_not_allowed");
        let mut allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{path}");
        let trace = group.admin.call(Method::TRACE, &path, &[], "".into());
        assert_eq!(trace.await.header("allow"), answer.header("allow"));
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = shared();
    let group = Group::create(&server, 1).await;

    for (path, status) in [
        (group.path("/messages"), 200),
        ("/v1/conversations".to_owned(), 200),
    ] {
        let answer = group
            .admin
            .call(Method::HEAD, &path, &[], Bytes::new())
            .await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{answer:?}"
        );
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }

    let refused = server
        .client(&unique("mallory"))
        .call(Method::HEAD, &group.path(""), &[], Bytes::new())
        .await;
    assert_eq!((refused.status, refused.body.len()), (403, 0));
}

#[tokio::test]
async fn unknown_query_parameters_are_400_everywhere() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let message = group.admin.say(&group.name, "x").await;
    let message_path = format!("/v1/messages/{}", message.text("id"));

    for path in [
        "/v1/conversations".to_owned(),
        group.path(""),
        group.path("/participants"),
        group.path("/messages"),
        group.path("/events"),
        group.path("/watermarks"),
        message_path.clone(),
        format!("{message_path}/receipts"),
        format!("{message_path}/reactions"),
    ] {
        group.admin.get(&path).await.expect(200);
        group
            .admin
            .get(&format!("{path}?colour=blue"))
            .await
            .refused(400, "invalid");
    }

    group
        .admin
        .post(&group.path("/messages?x=1"), &json!({"text": "x"}))
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn everything_is_also_served_without_the_version() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let made = alice
        .post("/conversations", &json!({"participants": ["bob"]}))
        .await
        .expect(201);
    let name = made.text("name");
    let path = format!("/conversations/{name}/messages");
    let sent = alice.post(&path, &json!({"text": "x"})).await.expect(201);

    assert_eq!(
        alice.get(&path).await.expect(200).list("items"),
        std::slice::from_ref(&sent)
    );
    assert_eq!(
        alice
            .get(&format!("/messages/{}", sent.text("id")))
            .await
            .expect(200),
        sent
    );

    assert_eq!(
        alice
            .get(&format!("/v1/conversations/{name}"))
            .await
            .expect(200)
            .number("last_seq"),
        2
    );
}

#[tokio::test]
async fn the_operations_port_is_not_reachable_through_the_client_port() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/cluster",
        "/v1/metrics",
        "/v1/cluster",
    ] {
        alice.get(path).await.refused(404, "not_found");
    }
}
