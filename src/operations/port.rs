//! The running port, and the sockets that it serves.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Entrant, Place};
use crate::operations::answers::answer_request;
use crate::operations::responses::{TEXT, verdict};
use crate::operations::setup::Setup;
use crate::telemetry;

/// Sockets served at once.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// Longest life of one socket.
pub(crate) const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// The running port. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Operations {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Operations {
    /// Starts serving on a bound listener.
    ///
    /// # Errors
    /// One clear line, when the thread or its loop cannot be started.
    pub(crate) fn serve(listener: TcpListener, setup: Setup) -> Result<Self, String> {
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
    pub(crate) fn address(&self) -> SocketAddr {
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
