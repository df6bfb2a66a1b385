//! Bodies that cannot be read.

use super::*;

#[tokio::test]
async fn malformed_json_is_told_with_its_position() {
    let server = shared();
    let group = Group::create(&server, 1).await;

    for (body, position) in [
        ("{\n\"text\": x}", "line 2"),
        ("{\"text\":\"x\"", "column 11"),
        ("{\"text\":\"\\ud800\"}", ""),
    ] {
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body.into())
            .await;
        let problem = answer.refused(400, "invalid");
        assert!(problem.text("detail").contains(position), "{problem}");
    }

    for body in [
        &b"\xff\xfe"[..],
        b"{\"text\":\"\xff\"}",
        b"{\"text\":\"x\"}{\"text\":\"y\"}",
        b"{\"text\":\"x\"},",
        b"null",
    ] {
        let body = Bytes::from_static(body);
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body)
            .await;
        answer.refused(400, "invalid");
    }

    let deep = "[".repeat(60_000);
    let answer = group
        .admin
        .call(Method::POST, &group.path("/messages"), &[JSON], deep.into())
        .await;
    answer.refused(400, "invalid");

    assert_eq!(
        group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("last_seq"),
        1
    );
}

#[tokio::test]
async fn the_content_type_may_have_parameters_and_any_case() {
    let server = shared();
    let group = Group::create(&server, 1).await;

    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;x=y",
    ] {
        let body = json!({"text": kind}).to_string();
        let headers = [("content-type", kind)];
        group
            .admin
            .call(
                Method::POST,
                &group.path("/messages"),
                &headers,
                body.into(),
            )
            .await
            .expect(201);
    }

    for kind in [
        "application/jsonx",
        "text/json",
        "application/x-www-form-urlencoded",
        "json",
        "",
    ] {
        let body = json!({"text": kind}).to_string();
        let headers = [("content-type", kind)];
        let answer = group
            .admin
            .call(
                Method::POST,
                &group.path("/messages"),
                &headers,
                body.into(),
            )
            .await;
        answer.refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_body_far_too_large_still_gets_its_413() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for bytes in [128 * 1024 + 1, 1 << 20, 15 << 20] {
        let body = Bytes::from(vec![b' '; bytes]);
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body)
            .await;
        answer.refused(413, "too_large");
    }

    // Just within the limit of a body, and too long only as a text.
    let body = json!({"text": "x".repeat(128 * 1024 - 11)}).to_string();
    assert_eq!(body.len(), 128 * 1024);

    let answer = group
        .admin
        .call(Method::POST, &group.path("/messages"), &[JSON], body.into())
        .await;
    answer.refused(413, "text_too_long");
}
