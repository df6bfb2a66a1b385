//! The listening socket: connections in, requests to [`Http::handle`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::http::Http;

/// Headers of one request; more are answered 431.
const HEADERS_MAX: usize = 64;

/// Read buffer of a connection, in bytes: a longer request head is answered 431.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Pause after a failed accept (too many open files): trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`; then takes no new connections, lets begun requests end within
/// [`Config::shutdown_timeout`](crate::node::http::Config::shutdown_timeout), and returns. Sessions live on: they are the
/// hub's.
pub async fn serve(listener: TcpListener, http: Arc<Http>, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(http.rest.config.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    // Fires when waiting for begun requests has lasted long enough.
    let abandon = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (http, shutdown, abandon) = (Arc::clone(&http), shutdown.clone(), abandon.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, http, shutdown) => {}
                () = abandon.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(http.rest.config.shutdown_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections closed with requests unanswered");
        abandon.cancel();
        connections.wait().await;
    }
}

/// The next connection, once there is a place for it. Cancel safe.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _peer)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "connection not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, http: Arc<Http>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without nodelay");
    }
    let head_timeout = http.rest.config.head_timeout;
    let service = service_fn(move |request| {
        let http = Arc::clone(&http);
        async move { Ok::<_, Infallible>(http.handle(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // A peer that went away, or stayed silent; its business.
        tracing::debug!(%error, "connection ended");
    }
}
