//! WebSocket connections through the router.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

use super::*;

pub(super) const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: x\r\nsec-websocket-protocol: rookery.v1\r\nrookery-owner: n:1\r\n\r\n";

/// The one of RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn upgrade(with: &str) -> String {
    format!(
        "GET /v1/ws?resume=wait\nconnection: keep-alive, Upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: {KEY}\n{with}"
    )
}

pub(super) fn authorized() -> String {
    upgrade(&format!("authorization: Bearer {}", token("alice")))
}

pub(super) async fn expect(client: &mut Client, bytes: &[u8]) {
    let mut got = std::mem::take(&mut client.buffer);
    while got.len() < bytes.len() {
        let read = timeout(PATIENCE, client.stream.read_buf(&mut got)).await.expect("in time").unwrap();
        assert!(read > 0, "ended after {}", String::from_utf8_lossy(&got));
    }
    assert_eq!(got, bytes);
}

#[tokio::test]
async fn frames_pass_in_both_directions_and_so_does_the_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand = Stand::new(&[listener.local_addr().unwrap()]).await;
    let node = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the type is the library's")]
        let check = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().query(), Some("resume=wait"));
            assert!(request.headers().contains_key("rookery-deadline-ms"));
            response.headers_mut().insert("sec-websocket-protocol", "rookery.v1".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, check).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let mut request = format!("ws://{}/v1/ws?resume=wait", stand.address).into_client_request().unwrap();
    let offer = format!("rookery.v1, rookery.bearer.{}", token("alice"));
    request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let (mut socket, response) = timeout(PATIENCE, client_async(request, stream)).await.unwrap().unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "rookery.v1");
    assert!(response.headers().contains_key("x-request-id"));
    for text in ["hello".to_owned(), "z".repeat(100_000)] {
        socket.send(Message::text(text.clone())).await.unwrap();
        let echoed = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
    timeout(PATIENCE, async { while socket.next().await.is_some() {} }).await.expect("the close comes back");
    timeout(PATIENCE, node).await.expect("the node sees the end").unwrap();
}

#[tokio::test]
async fn a_refused_upgrade_is_relayed_and_the_connection_goes_on() {
    let node = Node::scripted(|_, _| answer("401 Unauthorized", &["www-authenticate: Bearer"], "{}")).await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    for _ in 0..2 {
        let got = client.ask(&authorized(), "").await;
        assert_eq!((got.status(), got.header("www-authenticate")), (401, Some("Bearer")));
    }
}

#[tokio::test]
async fn a_bad_token_in_the_subprotocols_reaches_a_node_and_one_in_the_header_does_not() {
    let node = Node::scripted(|_, _| Reply::Echo(SWITCH.to_owned())).await;
    let stand = Stand::new(&[node.address]).await;
    let header = upgrade("authorization: Bearer rubbish\nsec-websocket-protocol: rookery.v1, rookery.bearer.x");
    assert_eq!(stand.ask(&header, "").await.code(), "unauthorized");
    assert!(node.seen().is_empty());
    let offered = upgrade("sec-websocket-protocol: rookery.v1, rookery.bearer.rubbish");
    let got = stand.ask(&offered, "").await;
    assert_eq!((got.status(), got.header("sec-websocket-protocol")), (101, Some("rookery.v1")));
    assert_eq!(got.header("rookery-owner"), None);
    let seen = node.seen().remove(0);
    assert_eq!(seen.header("sec-websocket-protocol"), Some("rookery.v1, rookery.bearer.rubbish"));
    assert_eq!((seen.header("upgrade"), seen.header("sec-websocket-key")), (Some("websocket"), Some(KEY)));
}

#[tokio::test]
async fn an_upgrade_follows_hints_and_waits_for_its_node() {
    let owner = Node::scripted(|at, _| if at == 0 { declined() } else { Reply::Echo(SWITCH.to_owned()) }).await;
    let hint = format!("rookery-owner: {}", owner.address);
    let old = Node::scripted(move |_, _| answer("421 Misdirected Request", &[&hint], "")).await;
    let stand = Stand::new(&[old.address]).await;
    stand.shelf.put(table(2, &[owner.address]));
    stand.router.0.directory.hint(2);
    let mut client = stand.client().await;
    assert_eq!(client.ask(&authorized(), "").await.status(), 101);
    client.stream.write_all(b"through").await.unwrap();
    expect(&mut client, b"through").await;
}

/// A node that echoes on sockets and does with a probe as told.
async fn probed(answer_to_probe: fn() -> Reply) -> Node {
    let reply = move |_, seen: &Seen| match seen.line.starts_with("HEAD /probe") {
        true => answer_to_probe(),
        false => Reply::Echo(SWITCH.to_owned()),
    };
    Node::scripted(reply).await
}

#[tokio::test]
async fn sockets_of_a_node_that_lost_a_shard_and_gives_no_answer_are_cut() {
    let (silent, next) = (probed(|| Reply::Hang).await, Node::ok().await);
    let impatient = Config { node_patience: Duration::from_millis(20), ..config() };
    let stand = Stand::with(impatient, table(1, &[silent.address, next.address])).await;
    let mut client = stand.client().await;
    assert_eq!(client.ask(&authorized(), "").await.status(), 101);
    client.stream.write_all(b"through").await.unwrap();
    expect(&mut client, b"through").await;
    let mut taken = table(2, &[silent.address, next.address]).unwrap();
    taken.rows[0].reverse();
    stand.shelf.put(Some(taken));
    stand.router.0.directory.hint(2);
    assert_eq!(client.rest().await, b"", "no goodbye: it would have to come from the node");
    assert_eq!(silent.seen().iter().filter(|seen| seen.line.starts_with("HEAD /probe")).count(), 2);
}

#[tokio::test]
async fn a_node_that_lost_a_shard_and_answers_keeps_its_sockets() {
    let (lively, next) = (probed(|| answer("404 Not Found", &[], "")).await, Node::ok().await);
    let stand = Stand::new(&[lively.address, next.address]).await;
    let mut client = stand.client().await;
    assert_eq!(client.ask(&authorized(), "").await.status(), 101);
    let probes = || lively.seen().iter().filter(|seen| seen.line.starts_with("HEAD /probe")).count();
    // The second probe is begun only after the first was judged, or beside it: either way the socket outlives both.
    for version in [2, 4] {
        let mut taken = table(version, &[lively.address, next.address]).unwrap();
        taken.rows[0].reverse();
        stand.shelf.put(Some(taken));
        stand.router.0.directory.hint(version);
        timeout(PATIENCE, async {
            while probes() < usize::try_from(version / 2).unwrap() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it is asked");
        stand.shelf.put(table(version + 1, &[lively.address, next.address]));
        stand.router.0.directory.hint(version + 1);
        timeout(PATIENCE, async {
            while stand.router.0.directory.table().unwrap().version <= version {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it is followed");
        client.stream.write_all(b"through").await.unwrap();
        expect(&mut client, b"through").await;
    }
}

#[tokio::test]
async fn an_upgrade_without_a_node_is_a_503() {
    let quick = Config { budget: Duration::from_millis(100), ..config() };
    let stand = Stand::with(quick, table(1, &[nowhere().await])).await;
    assert_eq!(stand.ask(&authorized(), "").await.code(), "unavailable");
}

#[tokio::test]
async fn one_socket_too_many_is_refused_until_one_ends() {
    let node = Node::scripted(|_, _| Reply::Echo(SWITCH.to_owned())).await;
    let stand = Stand::with(Config { sockets_max: 1, ..config() }, table(1, &[node.address])).await;
    let mut first = stand.client().await;
    assert_eq!(first.ask(&authorized(), "").await.status(), 101);
    assert_eq!(stand.ask(&authorized(), "").await.code(), "unavailable");
    first.stream.shutdown().await.unwrap();
    assert_eq!(first.rest().await, b"goodbye");
    drop(first);
    timeout(PATIENCE, async { while stand.ask(&authorized(), "").await.status() != 101 {} })
        .await
        .expect("the place is free again");
}

#[tokio::test]
async fn a_drain_lets_nodes_say_goodbye_and_then_ends() {
    let node = Node::scripted(|_, _| Reply::Echo(SWITCH.to_owned())).await;
    let mut stand = Stand::new(&[node.address]).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = stand.client().await;
        assert_eq!(client.ask(&authorized(), "").await.status(), 101);
        client.stream.write_all(b"before").await.unwrap();
        expect(&mut client, b"before").await;
        clients.push(client);
    }
    stand.drain.cancel();
    for client in &mut clients {
        assert_eq!(client.rest().await, b"goodbye");
    }
    drop(clients);
    timeout(PATIENCE, &mut stand.served).await.expect("the router ends").unwrap();
}

#[tokio::test]
async fn a_client_that_sends_on_during_a_drain_gets_the_goodbye_all_the_same() {
    let node = Node::scripted(|_, _| Reply::Echo(SWITCH.to_owned())).await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    assert_eq!(client.ask(&authorized(), "").await.status(), 101);
    stand.drain.cancel();
    // It reads nothing until the node has long said goodbye; unread bytes at the router would make the end a reset.
    for _ in 0..100 {
        drop(client.stream.try_write(b"x"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(client.rest().await.ends_with(b"goodbye"));
}

#[tokio::test]
async fn a_node_that_dies_ends_its_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand = Stand::new(&[listener.local_addr().unwrap()]).await;
    let mut client = stand.client().await;
    client.send(&authorized(), "").await;
    let (mut at_node, _) = timeout(PATIENCE, listener.accept()).await.expect("the router connects").unwrap();
    read_message(&mut at_node, &mut Vec::new()).await.expect("the upgrade");
    at_node.write_all(SWITCH.as_bytes()).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status(), 101);
    drop(at_node);
    assert_eq!(client.rest().await, b"");
}
