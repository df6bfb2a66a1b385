//! WebSockets: who is asked for a session, and what the client is told. What is said on them:
//! `router/sessions/tests.rs`.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

fn upgrade(with: &str) -> String {
    format!(
        "GET /v1/ws?resume=wait\nconnection: keep-alive, Upgrade\nupgrade: websocket\nsec-websocket-version: 13\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n{with}"
    )
}

pub(super) fn authorized() -> String {
    upgrade(&format!("authorization: Bearer {}", token("alice")))
}

/// A client's open socket.
pub(super) async fn open(stand: &Stand) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/v1/ws", stand.address)
        .into_client_request()
        .unwrap();
    let offer = format!("rookery.v1, rookery.bearer.{}", token("alice"));
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offer.parse().unwrap());
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let (socket, response) = timeout(PATIENCE, client_async(request, stream))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "rookery.v1");
    assert!(response.headers().contains_key("x-request-id"));
    socket
}

/// What is said comes back.
pub(super) async fn echoes(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let heard = async {
        loop {
            let message = socket.next().await.unwrap().unwrap();
            if message.is_text() {
                return message.into_text().unwrap();
            }
        }
    };
    assert_eq!(
        timeout(PATIENCE, heard).await.expect("in time").as_str(),
        text
    );
}

#[tokio::test]
async fn what_is_said_reaches_the_node_and_what_it_says_the_client() {
    let node = Node::scripted(|_, _| Reply::Echo).await;
    let stand = Stand::new(&[node.address]).await;
    let mut socket = open(&stand).await;
    for text in ["hello".to_owned(), "z".repeat(100_000)] {
        echoes(&mut socket, &text).await;
    }
    socket.close(None).await.unwrap();
    timeout(PATIENCE, async { while socket.next().await.is_some() {} })
        .await
        .expect("the close comes back");
}

#[tokio::test]
async fn a_refused_upgrade_is_told_and_the_connection_goes_on() {
    let node = Node::scripted(|_, _| answer("401 Unauthorized", &[], "{}")).await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    for _ in 0..2 {
        let got = client.ask(&authorized(), "").await;
        assert_eq!(
            (got.status(), got.header("www-authenticate")),
            (401, Some("Bearer"))
        );
        assert_eq!(got.code(), "unauthorized");
    }
    assert_eq!(node.seen()[0].line, "GET /v1/ws?resume=wait HTTP/1.1");
}

#[tokio::test]
async fn a_bad_token_in_the_subprotocols_reaches_a_node_and_one_in_the_header_does_not() {
    let node = Node::scripted(|_, _| Reply::Echo).await;
    let stand = Stand::new(&[node.address]).await;
    let header = upgrade(
        "authorization: Bearer rubbish\nsec-websocket-protocol: rookery.v1, rookery.bearer.x",
    );
    assert_eq!(stand.ask(&header, "").await.code(), "unauthorized");
    assert!(node.seen().is_empty());

    let offered = upgrade("sec-websocket-protocol: rookery.v1, rookery.bearer.rubbish");
    let got = stand.ask(&offered, "").await;
    assert_eq!(
        (got.status(), got.header("sec-websocket-protocol")),
        (101, Some("rookery.v1"))
    );
    assert_eq!(
        got.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );

    let seen = node.seen().remove(0);
    assert_eq!(
        seen.header("sec-websocket-protocol"),
        Some("rookery.v1, rookery.bearer.rubbish")
    );
}

#[tokio::test]
async fn an_upgrade_follows_hints_and_waits_for_its_node() {
    let owner = Node::scripted(|at, _| if at == 0 { declined() } else { Reply::Echo }).await;
    let hint = format!("rookery-owner: {}", owner.address);
    let old = Node::scripted(move |_, _| answer("421 Misdirected Request", &[&hint], "")).await;
    let stand = Stand::new(&[old.address, owner.address]).await;
    let mut socket = open(&stand).await;
    echoes(&mut socket, "through").await;
    assert_eq!(owner.seen().len(), 2);
}

#[tokio::test]
async fn an_upgrade_without_a_node_is_a_503() {
    let quick = Config {
        budget: Duration::from_millis(100),
        ..config()
    };
    let stand = Stand::with(quick, table(1, &[nowhere().await])).await;
    assert_eq!(stand.ask(&authorized(), "").await.code(), "unavailable");
}

#[tokio::test]
async fn one_socket_too_many_is_refused_until_one_ends() {
    let node = Node::scripted(|_, _| Reply::Echo).await;
    let stand = Stand::with(
        Config {
            sockets_max: 1,
            ..config()
        },
        table(1, &[node.address]),
    )
    .await;
    let mut first = open(&stand).await;
    echoes(&mut first, "there").await;
    assert_eq!(stand.ask(&authorized(), "").await.code(), "unavailable");

    first.close(None).await.unwrap();
    timeout(PATIENCE, async { while first.next().await.is_some() {} })
        .await
        .expect("an end");
    drop(first);

    timeout(PATIENCE, async {
        while stand.ask(&authorized(), "").await.status() != 101 {}
    })
    .await
    .expect("the place is free again");
}
