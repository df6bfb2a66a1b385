//! Newcomers at a full port, over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::connections::{Connections, Entrant};

const DEADLINE: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::ZERO;

/// A port with few places, and what its requests wait for.
struct Port {
    address: SocketAddr,
    connections: Connections,
    begun: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

/// `/slow` is answered later; the answer to `/half` begins at once and ends later.
async fn respond(
    request: Request<Incoming>,
    begun: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
) -> Response<BoxBody<Bytes, Infallible>> {
    begun.fetch_add(1, Ordering::SeqCst);
    match request.uri().path() {
        "/slow" => go_on.notified().await,
        "/half" => {
            let halves = stream::unfold((0, go_on), |(at, go_on)| async move {
                if at == 1 {
                    go_on.notified().await;
                }
                (at < 2).then(|| (Ok(Frame::data(Bytes::from_static(b"ok"))), (at + 1, go_on)))
            });
            return Response::new(StreamBody::new(halves).boxed());
        }
        _ => {}
    }
    Response::new(Full::new(Bytes::from_static(b"ok")).boxed())
}

impl Port {
    async fn open(max: usize, idle_at_least: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Connections::giving_way_after("test", max, idle_at_least);
        let port = Self {
            address,
            connections,
            begun: Arc::default(),
            go_on: Arc::new(Notify::new()),
        };
        tokio::spawn(port.serving(listener));
        port
    }

    /// Serves newcomers for ever.
    fn serving(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let (connections, begun, go_on) = (
            self.connections.clone(),
            Arc::clone(&self.begun),
            Arc::clone(&self.go_on),
        );
        async move {
            while let Ok((stream, entrant)) = connections.accept(&listener).await {
                tokio::spawn(enter(
                    stream,
                    entrant,
                    Arc::clone(&begun),
                    Arc::clone(&go_on),
                ));
            }
        }
    }

    async fn client(&self) -> Client {
        Client(
            TcpStream::connect(self.address)
                .await
                .expect("a connection"),
        )
    }

    /// The whole answer to a newcomer's one request.
    async fn newcomer(&self) -> String {
        let mut client = self.client().await;
        client
            .write("GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        client.rest().await
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !reached(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn idle(&self) -> usize {
        self.connections.0.idle().len()
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

async fn enter(stream: TcpStream, entrant: Entrant, begun: Arc<AtomicUsize>, go_on: Arc<Notify>) {
    let place = match entrant.admitted().await {
        Ok(place) => place,
        Err(refused) => {
            let full = |_head: &http::request::Parts| {
                let mut response = Response::new(Full::new(Bytes::from_static(b"full")));
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                response
            };
            return refused.refuse(stream, full).await;
        }
    };

    let turns = place.turns();
    let service = service_fn(move |request| {
        let (turn, responding) = (
            turns.begin(),
            respond(request, Arc::clone(&begun), Arc::clone(&go_on)),
        );
        async move { Ok::<_, Infallible>(turn.over(responding.await)) }
    });

    let mut serving = std::pin::pin!(
        http1::Builder::new().serve_connection(TokioIo::new(place.noted(stream)), service)
    );
    tokio::select! {
        _ended = serving.as_mut() => return,
        () = place.evicted() => serving.as_mut().graceful_shutdown(),
    }
    drop(serving.await);
}

struct Client(TcpStream);

impl Client {
    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("written");
    }

    async fn ask(&mut self, path: &str) {
        self.write(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
    }

    /// Everything until `end` was read.
    async fn until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        let reading = async {
            while !seen.ends_with(end.as_bytes()) {
                assert_ne!(
                    self.0.read_buf(&mut seen).await.expect("read"),
                    0,
                    "ended early"
                );
            }
        };
        timeout(DEADLINE, reading).await.expect("in time");
        String::from_utf8(seen).expect("text")
    }

    /// Everything until the connection ends.
    async fn rest(&mut self) -> String {
        let mut seen = Vec::new();
        timeout(DEADLINE, self.0.read_to_end(&mut seen))
            .await
            .expect("an end")
            .expect("read to the end");
        String::from_utf8(seen).expect("text")
    }

    async fn answered(&mut self) {
        self.ask("/x").await;
        assert!(self.until("ok").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn the_connection_that_has_been_idle_longest_gives_way_and_no_other() {
    let port = Port::open(2, AT_ONCE).await;
    let (mut first, mut second) = (port.client().await, port.client().await);
    first.answered().await;
    second.answered().await;
    first.answered().await;
    port.until("both are idle", |port| port.idle() == 2).await;
    assert!(port.newcomer().await.ends_with("ok"));
    assert_eq!(second.rest().await, "", "closed without a word");
    first.answered().await;
}

#[tokio::test]
async fn a_connection_that_nothing_ever_came_on_gives_way_too() {
    let port = Port::open(1, AT_ONCE).await;
    let mut silent = port.client().await;
    port.until("it is idle", |port| port.idle() == 1).await;
    assert!(port.newcomer().await.ends_with("ok"));
    assert_eq!(silent.rest().await, "");
}

#[tokio::test]
async fn no_connection_gives_way_whose_request_is_under_way_in_whatever_part() {
    let port = Port::open(3, AT_ONCE).await;
    let (mut heading, mut waiting, mut reading) = (
        port.client().await,
        port.client().await,
        port.client().await,
    );
    heading.write("GET /x HTTP/1.1\r\nho").await;
    waiting.ask("/slow").await;
    reading.ask("/half").await;
    assert!(
        reading
            .until("\r\nok\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    port.until("all are busy", |port| port.idle() == 0 && port.begun() == 2)
        .await;

    let refused = port.newcomer().await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.ends_with("full"),
        "{refused}"
    );
    heading.write("st: x\r\n\r\n").await;
    assert!(heading.until("ok").await.starts_with("HTTP/1.1 200"));
    port.go_on.notify_waiters();
    assert!(waiting.until("ok").await.starts_with("HTTP/1.1 200"));
    assert!(
        reading.until("0\r\n\r\n").await.contains("ok"),
        "the other half"
    );
    port.until("all are idle", |port| port.idle() == 3).await;
}

#[tokio::test]
async fn a_connection_that_has_just_come_is_spared() {
    let port = Port::open(1, Duration::from_secs(3600)).await;
    let mut fresh = port.client().await;
    port.until("it is idle", |port| port.idle() == 1).await;
    assert!(port.newcomer().await.starts_with("HTTP/1.1 503"));
    fresh.answered().await;
    assert!(
        port.newcomer().await.starts_with("HTTP/1.1 503"),
        "nor one that was just answered"
    );
    fresh.answered().await;
}

#[tokio::test]
async fn a_refused_client_that_writes_its_whole_body_first_is_told_so() {
    let port = Port::open(1, AT_ONCE).await;
    let mut busy = port.client().await;
    busy.ask("/slow").await;
    port.until("it is busy", |port| port.begun() == 1).await;

    let mut newcomer = port.client().await;
    let body = "x".repeat(512 * 1024);
    newcomer
        .write(&format!(
            "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    let refused = newcomer.rest().await;

    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("connection: close\r\n"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_place_of_a_connection_that_ended_is_free() {
    let port = Port::open(1, Duration::from_secs(3600)).await;
    for _ in 0..3 {
        let mut client = port.client().await;
        client.answered().await;
        drop(client);
        port.until("it is gone", |port| {
            port.connections.0.places.available_permits() == 1
        })
        .await;
        assert_eq!(port.idle(), 0, "nothing of it stays");
    }
}
