//! The operations port: `/metrics`, `/livez`, `/readyz`, `/cluster`, `/cluster?whole`,
//! `/shards/{shard}/digest`, `/shards/{shard}/owner`, `/nodes/{node}/drain`, `/balance`,
//! `/shards/{shard}/backup`. A server of its own on a thread of its own, so that it answers also
//! when the loops that it tells about stand still; never reachable through the client port.
//!
//! Invariants: `/livez` asks only whether the process's loops move, never the log; at most
//! [`CONNECTIONS_MAX`] sockets are served at once (an idle one gives way to one more; when none is
//! idle, that is refused), each for at most [`CONNECTION_MAX`]. Digests, which read a whole file,
//! are made one at a time.

use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Entrant, Place};
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::log::Identity;
use crate::node::link::handing::BalancePlan;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::operations::control::Change;
use crate::telemetry;
use crate::watchdog::Watchdog;

pub mod backup;

pub mod control;

pub mod health;

mod digest;

mod told;

pub use digest::{AppliedTail, Digesting, ShardDigest, digest_at, digest_of};
pub use told::{Cluster, ClusterLeft, ClusterNode, ClusterShard, ClusterStandby, Offsets};

/// Sockets served at once.
pub const CONNECTIONS_MAX: usize = 64;

/// What errors and verdicts are written in.
const TEXT: &str = "text/plain; charset=utf-8";

/// What a process says that takes no part in a cluster of several.
const NO_NODE: &str =
    "this process changes no cluster: ask the operations port of a node of a cluster";

/// Longest life of one socket.
pub const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// An answer to a backup on its way, or one sentence why there is none.
pub type Backing = BoxFuture<'static, Result<(Identity, ReplicaAnswer), String>>;

/// The process as its operations port tells it. Called on the thread of the port: must not wait.
pub trait Subject: fmt::Debug + Send + Sync + 'static {
    /// Ready for traffic, or one sentence why not.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), String>;

    /// One sentence for each shard that is refused here, though the process is ready.
    fn refused(&self) -> Vec<String> {
        Vec::new()
    }

    /// What `/cluster` shows.
    fn cluster(&self) -> Cluster;

    /// The whole cluster, as far as its nodes answer: each tells of what it owns. Else as
    /// [`Subject::cluster`].
    fn whole(&self) -> BoxFuture<'static, Cluster> {
        std::future::ready(self.cluster()).boxed()
    }

    /// Changes the cluster, and says in one sentence what is so now; else one sentence why not.
    fn change(&self, _change: Change) -> BoxFuture<'static, Result<String, String>> {
        std::future::ready(Err(NO_NODE.to_owned())).boxed()
    }

    /// What would be moved now; with a name, that one wants it looked at now. Else one sentence why
    /// it cannot be told.
    fn balance(&self, _by: Option<String>) -> BoxFuture<'static, Result<BalancePlan, String>> {
        std::future::ready(Err(NO_NODE.to_owned())).boxed()
    }

    /// What the owner of a shard answers to what a backup asks, and of which cluster it is; else
    /// one sentence why there is no answer.
    fn backup(&self, _shard: ShardId, _ask: ReplicaAsk) -> Backing {
        let why =
            "this process has no node: ask the operations port of a node, or of `rookery dev`";
        std::future::ready(Err(why.to_owned())).boxed()
    }

    /// What whoever changes something, or reads messages, has to prove; without one nobody may.
    fn key(&self) -> Option<ClusterKey> {
        None
    }

    /// Digest of the replica of a shard in this process, on the node of that name if one is given:
    /// `None` when there is none. The future reads the whole file, on threads of its own.
    fn digest(&self, _shard: ShardId, _node: Option<NodeId>) -> Digesting {
        std::future::ready(Ok(None)).boxed()
    }
}

/// What the port serves from.
#[derive(Clone)]
pub struct Setup {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Knows whether the loops move.
    pub watchdog: Watchdog,
    /// The process.
    pub subject: Arc<dyn Subject>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// The running port. Dropping it ends it.
#[derive(Debug)]
pub struct Operations {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Operations {
    /// Starts serving on a bound listener.
    ///
    /// # Errors
    /// One clear line, when the thread or its loop cannot be started.
    pub fn serve(listener: TcpListener, setup: Setup) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("operations port: {error}");
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let run = move || runtime.block_on(accept(listener, setup, stopped));
        std::thread::Builder::new()
            .name("operations".to_owned())
            .spawn(run)
            .map_err(failed)?;
        Ok(Self { address, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Operations {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, setup: Setup, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the operations port cannot be served");
            return;
        }
    };
    let connections = Connections::new("operations", CONNECTIONS_MAX);
    let digests = Arc::new(Semaphore::new(1));
    let mut upkeep = tokio::time::interval(telemetry::UPKEEP_EVERY);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            _ = upkeep.tick() => {
                setup.metrics.run_upkeep();
                continue;
            }
            accepted = connections.accept(&listener) => accepted,
        };
        match accepted {
            Ok((socket, entrant)) => {
                drop(tokio::spawn(enter(
                    socket,
                    entrant,
                    setup.clone(),
                    Arc::clone(&digests),
                )));
            }
            // Out of files, most likely: wait until some are closed, instead of turning around at
            // once.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Serves a newcomer, or tells it that there is no place for it.
async fn enter(socket: TcpStream, entrant: Entrant, setup: Setup, digests: Arc<Semaphore>) {
    match entrant.admitted().await {
        Ok(place) => drop(
            tokio::time::timeout(CONNECTION_MAX, serve_socket(socket, &place, setup, digests))
                .await,
        ),
        Err(refused) => {
            let why = || {
                "this port has as many connections as it may have, and none of them is idle"
                    .to_owned()
            };
            refused
                .refuse(socket, |_head| verdict(Err(why()), TEXT))
                .await;
        }
    }
}

async fn serve_socket(socket: TcpStream, place: &Place, setup: Setup, digests: Arc<Semaphore>) {
    let turns = place.turns();
    let service = service_fn(move |request: Request<Incoming>| {
        let (setup, digests, turn) = (setup.clone(), Arc::clone(&digests), turns.begin());
        async move {
            let response = answer_request(&setup, &request, &digests).await;
            Ok::<_, Infallible>(turn.over(response))
        }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_headers(64);
    let mut serving =
        std::pin::pin!(server.serve_connection(TokioIo::new(place.noted(socket)), service));
    tokio::select! {
        // A scraper that hangs up early is its own affair.
        _ended = serving.as_mut() => return,
        () = place.evicted() => serving.as_mut().graceful_shutdown(),
    }
    drop(serving.await);
}

/// Answers what has to be waited for, and all else.
async fn answer_request(
    setup: &Setup,
    request: &Request<Incoming>,
    digests: &Semaphore,
) -> Response<Full<Bytes>> {
    let (method, path, query) = (
        request.method(),
        request.uri().path(),
        request.uri().query(),
    );
    if let Some((shard, node)) = digest::digest_asked(path, query) {
        return digest::with_digest(setup, method, (shard, node), digests).await;
    }
    if let Some(asked) = control::asked(path) {
        return control::answer(&setup.subject, request, asked).await;
    }
    if let Some(shard) = backup::shard_asked(path) {
        return backup::serve(&setup.subject, request, shard).await;
    }
    if path == "/cluster" && query == Some("whole") && method == Method::GET {
        return json(&setup.subject.whole().await);
    }
    answer(setup, method, path)
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut refused = response(
        StatusCode::METHOD_NOT_ALLOWED,
        TEXT,
        format!("only {}\n", allowed.replace(", ", " and ")),
    );
    refused
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    refused
}

fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(body) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => response(
            StatusCode::INTERNAL_SERVER_ERROR,
            TEXT,
            format!("{error}\n"),
        ),
    }
}

fn answer(setup: &Setup, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(path, "/metrics" | "/livez" | "/readyz" | "/cluster") {
        return response(
            StatusCode::NOT_FOUND,
            TEXT,
            "there is nothing at this path\n".to_owned(),
        );
    }
    if method != Method::GET && method != Method::HEAD {
        return refused("GET, HEAD");
    }
    match path {
        "/metrics" => {
            metrics_process::Collector::default().collect();
            response(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                setup.metrics.render(),
            )
        }
        "/livez" => verdict(setup.watchdog.check(), TEXT),
        "/readyz" => match setup.subject.ready() {
            Ok(()) => {
                let lines = std::iter::once("ok".to_owned()).chain(setup.subject.refused());
                response(
                    StatusCode::OK,
                    TEXT,
                    lines.map(|line| format!("{line}\n")).collect(),
                )
            }
            Err(why) => verdict(Err(why), TEXT),
        },
        _ => json(&setup.subject.cluster()),
    }
}

fn verdict(good: Result<(), String>, content_type: &'static str) -> Response<Full<Bytes>> {
    match good {
        Ok(()) => response(StatusCode::OK, content_type, "ok\n".to_owned()),
        Err(why) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            content_type,
            format!("{why}\n"),
        ),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
