//! The listening socket: connections in, requests to [`Http::handle`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::{Connections, Entrant, Place};
use crate::node::http::{Config, Http, observe};
use crate::problem::Problem;
use crate::protocol::headers;
use crate::protocol::routes::{self, NO_ROUTE};

/// Headers of one request; more are answered 431.
const HEADERS_MAX: usize = 80;

/// Read buffer of a connection, in bytes: a longer request head is answered 431.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Pause after a failed accept (too many open files): trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`; then takes no new connections, lets begun requests end within
/// [`Config::shutdown_timeout`], and returns. Sessions live on: they are the
/// hub's.
pub async fn serve(listener: TcpListener, http: Arc<Http>, shutdown: CancellationToken) {
    let config = http.rest.config.clone();
    let respond = move |request| {
        let http = Arc::clone(&http);
        async move { http.handle(request).await }
    };
    accept_all(listener, &config, shutdown, respond).await;
}

/// Serves with whatever answers requests.
async fn accept_all<R, F>(listener: TcpListener, config: &Config, shutdown: CancellationToken, respond: R)
where
    R: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let places = Connections::new("node", config.connections_max);
    let head_timeout = config.head_timeout;
    let connections = TaskTracker::new();
    // Fires when waiting for begun requests has lasted long enough.
    let abandon = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next(&listener, &places) => accepted,
        };
        let Some((stream, entrant)) = accepted else { continue };
        let (respond, shutdown, abandon) = (respond.clone(), shutdown.clone(), abandon.clone());
        connections.spawn(async move {
            tokio::select! {
                () = enter(stream, entrant, head_timeout, shutdown, respond) => {}
                () = abandon.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(config.shutdown_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections closed with requests unanswered");
        abandon.cancel();
        connections.wait().await;
    }
}

/// The next newcomer. Cancel safe.
async fn next(listener: &TcpListener, places: &Connections) -> Option<(TcpStream, Entrant)> {
    match places.accept(listener).await {
        Ok(newcomer) => Some(newcomer),
        Err(error) => {
            tracing::warn!(%error, "connection not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Serves a newcomer, or tells it that there is no place for it.
async fn enter<R, F>(
    stream: TcpStream,
    entrant: Entrant,
    head_timeout: Duration,
    shutdown: CancellationToken,
    respond: R,
) where
    R: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    match entrant.admitted().await {
        Ok(place) => connection(stream, &place, head_timeout, shutdown, respond).await,
        Err(refused) => refused.refuse(stream, refuse_newcomer).await,
    }
}

/// Answers a request that came on a connection for which there is no place.
fn refuse_newcomer(head: &Parts) -> Response<Full<Bytes>> {
    let problem = Problem::unavailable("this node has as many connections as it may have, and none of them is idle");
    let route = routes::match_path(head.uri.path()).map_or(NO_ROUTE, |matched| matched.endpoint.template());
    observe(route, problem.code.status(), Duration::ZERO);
    problem.response(&headers::request_id(&head.headers))
}

async fn connection<R, F>(
    stream: TcpStream,
    place: &Place,
    head_timeout: Duration,
    shutdown: CancellationToken,
    respond: R,
) where
    R: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without nodelay");
    }
    let turns = place.turns();
    let service = service_fn(move |request| {
        let (turn, responding) = (turns.begin(), respond(request));
        async move { Ok::<_, Infallible>(turn.over(responding.await)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(place.noted(stream)), service)
        .with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return log_end(ended),
        () = shutdown.cancelled() => {}
        () = place.evicted() => {}
    }
    serving.as_mut().graceful_shutdown();
    log_end(serving.await);
}

/// A peer that goes away or stays silent is its own business.
fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::ids::NodeId;
    use crate::node::http::{answer, body};

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A served listener, and what its requests wait for.
    struct Served {
        address: SocketAddr,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
        begun: Arc<AtomicUsize>,
        go_on: Arc<Notify>,
    }

    /// Reads the body, waits on `/slow`, answers `ok`, or 413.
    async fn respond(request: Request<Incoming>, begun: Arc<AtomicUsize>, go_on: Arc<Notify>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let received = body::read(body, DEADLINE).await;
        begun.fetch_add(1, Ordering::SeqCst);
        if head.uri.path() == "/slow" {
            go_on.notified().await;
        }
        let mut response = match received.bytes {
            Ok(_) => Response::new(Full::new(Bytes::from("ok"))),
            Err(problem) => problem.response("r"),
        };
        if !received.ended {
            response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        }
        if head.method == http::Method::HEAD { answer::without_body(response) } else { response }
    }

    impl Served {
        async fn start(change: impl FnOnce(&mut Config)) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let mut config = Config::new(NodeId::from("n1"));
            change(&mut config);
            let (shutdown, begun, go_on) = (CancellationToken::new(), Arc::default(), Arc::new(Notify::new()));
            let (ending, counted, waited) = (shutdown.clone(), Arc::clone(&begun), Arc::clone(&go_on));
            let task = tokio::spawn(async move {
                let answering = move |request| respond(request, Arc::clone(&counted), Arc::clone(&waited));
                accept_all(listener, &config, ending, answering).await;
            });
            Self { address, shutdown, task, begun, go_on }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("a connection")
        }

        async fn begun(&self, count: usize) {
            let all = async {
                while self.begun.load(Ordering::SeqCst) < count {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, all).await.expect("requests begin");
        }

        async fn ended(self) {
            tokio::time::timeout(DEADLINE, self.task).await.expect("an end in time").expect("no panic");
        }
    }

    async fn write(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.expect("written");
    }

    /// Everything until `end` was read, or until the connection ends.
    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut seen = Vec::new();
        let all = async {
            let mut chunk = [0; 4096];
            while !String::from_utf8_lossy(&seen).ends_with(end) || end.is_empty() {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => seen.extend_from_slice(&chunk[..count]),
                }
            }
        };
        tokio::time::timeout(DEADLINE, all).await.expect("an answer in time");
        String::from_utf8(seen).expect("text")
    }

    #[tokio::test]
    async fn a_head_request_gets_the_length_and_no_body_and_the_connection_goes_on() {
        let served = Served::start(|_| {}).await;
        let mut stream = served.connect().await;
        write(&mut stream, "HEAD /x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 2\r\n"), "{head}");
        write(&mut stream, "GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let whole = read_until(&mut stream, "ok").await;
        assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_read_so_that_the_answer_arrives() {
        let served = Served::start(|_| {}).await;
        let mut stream = served.connect().await;
        let size = 4 * 1024 * 1024;
        write(&mut stream, &format!("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")).await;
        // Written whole before anything is read, as many clients do.
        write(&mut stream, &"x".repeat(size)).await;
        assert!(read_until(&mut stream, "}").await.starts_with("HTTP/1.1 413"));
        write(&mut stream, "GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(read_until(&mut stream, "ok").await.starts_with("HTTP/1.1 200"), "the connection goes on");
    }

    #[tokio::test]
    async fn an_endless_body_is_refused_and_the_connection_closed() {
        let served = Served::start(|_| {}).await;
        let mut stream = served.connect().await;
        write(&mut stream, "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 17000000\r\n\r\n").await;
        let answer = read_until(&mut stream, "").await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn a_shutdown_ends_idle_connections_and_lets_begun_requests_finish() {
        let served = Served::start(|_| {}).await;
        let (mut idle, mut busy) = (served.connect().await, served.connect().await);
        write(&mut idle, "GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        read_until(&mut idle, "ok").await;
        write(&mut busy, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.begun(2).await;
        served.shutdown.cancel();
        assert_eq!(read_until(&mut idle, "").await, "", "closed without a word");
        assert!(!served.task.is_finished(), "a request is open");
        served.go_on.notify_one();
        assert!(read_until(&mut busy, "").await.ends_with("ok"));
        let address = served.address;
        served.ended().await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn a_shutdown_waits_no_longer_than_it_may() {
        let served = Served::start(|config| config.shutdown_timeout = Duration::from_millis(1)).await;
        let mut busy = served.connect().await;
        write(&mut busy, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.begun(1).await;
        served.shutdown.cancel();
        served.ended().await;
    }

    #[tokio::test]
    async fn one_connection_too_many_is_refused_while_all_are_busy_and_then_takes_the_place_of_an_idle_one() {
        let served = Served::start(|config| config.connections_max = 1).await;
        let mut first = served.connect().await;
        write(&mut first, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.begun(1).await;
        let ask = async || {
            let mut newcomer = served.connect().await;
            write(&mut newcomer, "GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            read_until(&mut newcomer, "").await
        };
        let refused = ask().await;
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1\r\n"), "{refused}");
        assert!(refused.contains(r#""code":"unavailable""#) && !first_is_over(&mut first).await, "{refused}");

        served.go_on.notify_one();
        assert!(read_until(&mut first, "ok").await.ends_with("ok"));
        let served_at_last = async { while !ask().await.ends_with("ok") {} };
        tokio::time::timeout(DEADLINE, served_at_last).await.expect("the first gives way");
        assert_eq!(read_until(&mut first, "").await, "", "closed without a word");
    }

    async fn first_is_over(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::ZERO, stream.readable()).await.is_ok()
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_closed_in_time() {
        let served = Served::start(|config| config.head_timeout = Duration::from_millis(20)).await;
        let mut stream = served.connect().await;
        write(&mut stream, "GET /x HTTP/1.1\r\nhos").await;
        read_until(&mut stream, "").await;
        assert_eq!(served.begun.load(Ordering::SeqCst), 0);
    }
}
