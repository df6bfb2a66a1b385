//! Nodes of several versions.

use super::*;

#[tokio::test]
async fn no_node_is_asked_for_what_one_of_an_older_version_could_not_read() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let id = "0199a3b2-1c00-8000-8000-000000000001";

    for asked in [
        format!("PATCH /v1/messages/{id}\ncontent-type: application/json"),
        format!("DELETE /v1/messages/{id}"),
        "PATCH /v1/conversations/c\ncontent-type: application/json".to_owned(),
        "PUT /v1/conversations/c/participants/bob\ncontent-type: application/json".to_owned(),
        "PUT /v1/conversations/c/bans/bob".to_owned(),
        "DELETE /v1/conversations/c/bans/bob".to_owned(),
        "GET /v1/conversations/c/bans".to_owned(),
        "DELETE /v1/conversations/c".to_owned(),
    ] {
        let got = stand.ask(&asked, "{}").await;
        assert_eq!(
            (got.status(), got.header("retry-after")),
            (503, Some("5")),
            "{asked}"
        );
    }

    assert_eq!(
        stand
            .ask(&format!("GET /v1/messages/{id}"), "")
            .await
            .status(),
        200
    );
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn what_the_owner_is_too_old_for_is_503_and_the_link_to_it_lives() {
    let node = Node::of_version(8, |_, _| answer("200 OK", &[], "{}")).await;
    let stand = Stand::with(short(2_000), table(1, &[node.address])).await;
    let message = "GET /v1/messages/0199a3b2-1c00-8000-8000-000000000001";

    // The first opens the link, and does not know yet how old the node is.
    for round in 1..=2 {
        let got = stand.ask(&format!("{message}/reactions"), "").await;
        assert_eq!((got.status(), &*got.code()), (503, "unavailable"));
        assert!(got.header("retry-after").is_some());
        assert_eq!(stand.ask(message, "").await.status(), 200);
        assert_eq!(node.seen().len(), round);
    }
}
