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
