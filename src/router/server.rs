//! Client connections: accepting them, serving them one after the other's request, and letting go
//! of them at a drain.
//!
//! **Invariants.** No connection is served without a place for it ([`Connections`]). Every
//! connection task ends: with its peer, by a timeout, when it gives way, or at a drain.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::connections::{Answer, Connections, Entrant, Place};
use crate::router::explained::Explained;
use crate::router::forward::AnswerBody;
use crate::router::paced::{HeadAwaited, Paced};
use crate::router::requests::Inner;
use crate::router::stream::Stream;
use crate::telemetry::ROUTER_CONNECTIONS;

/// Largest head of a request; a larger one is answered 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers of a request; more are answered 431. Nodes take some more, for those that are added
/// on the way.
const HEADERS_MAX: usize = 64;
/// Most bytes buffered for one connection in each direction, beside the body that is held.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Pause after a failed accept: it mostly means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// See [`crate::router::Router::serve`].
pub(super) async fn run(router: &Arc<Inner>, listener: TcpListener, drain: CancellationToken) {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    tokio::select! {
        () = drain.cancelled() => {}
        () = accept_all(router, &listener, &tasks, (&drain, &cut)) => {}
    }
    drop(listener);
    router.draining.store(true, Ordering::Release);
    info!(connections = tasks.len(), "the router drains");
    tasks.close();

    let finish = async {
        if timeout(router.config.finish_timeout, tasks.wait())
            .await
            .is_err()
        {
            cut.cancel();
            tasks.wait().await;
        }
    };
    tokio::join!(finish, router.opener.sockets.drain());
    info!("the router has drained");
}

async fn accept_all(
    router: &Arc<Inner>,
    listener: &TcpListener,
    tasks: &TaskTracker,
    (drain, cut): (&CancellationToken, &CancellationToken),
) {
    let connections = Connections::new("router", router.config.connections_max);
    loop {
        match connections.accept(listener).await {
            Ok((stream, entrant)) => {
                let (drain, cut) = (drain.clone(), cut.clone());
                tasks.spawn(enter(Arc::clone(router), stream, entrant, (drain, cut)));
            }
            Err(error) => refused_by_system(&error).await,
        }
    }
}

/// Serves a newcomer, or tells it that there is no place for it.
async fn enter(
    router: Arc<Inner>,
    stream: TcpStream,
    entrant: Entrant,
    (drain, cut): (CancellationToken, CancellationToken),
) {
    match entrant.admitted().await {
        Ok(place) => Connection { drain, cut, place }.serve(router, stream).await,
        Err(refused) => {
            refused
                .refuse(stream, |head| router.refuse_newcomer(head))
                .await
        }
    }
}

async fn refused_by_system(error: &io::Error) {
    warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}

struct Connection {
    drain: CancellationToken,
    cut: CancellationToken,
    place: Place,
}

impl Connection {
    async fn serve(self, router: Arc<Inner>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no nodelay towards a client");
        }
        let gauge = ROUTER_CONNECTIONS.bind(&[]);
        gauge.increment(1.0);

        let awaited = HeadAwaited::default();
        let paced = Paced::new(
            self.place.noted(stream),
            router.config.head_timeout,
            awaited.clone(),
        );
        let io = TokioIo::new(Explained::new(paced));
        let idle_timeout = router.config.idle_timeout;
        let turns = self.place.turns();
        let service = service_fn(move |request| {
            let (router, awaited, turn) = (Arc::clone(&router), awaited.clone(), turns.begin());
            async move {
                answer(router, awaited, request)
                    .await
                    .map(|response| turn.over(response))
            }
        });

        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle_timeout)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .half_close(true)
            .serve_connection(io, service)
            .with_upgrades();
        self.until_done(std::pin::pin!(connection)).await;
        gauge.decrement(1.0);
    }

    async fn until_done<S>(&self, mut connection: Pin<&mut Upgradeable<S>>)
    where
        S: HttpService<Incoming, ResBody = Answer<AnswerBody>, Error = Infallible>,
    {
        let leave = async {
            tokio::select! {
                () = self.drain.cancelled() => {}
                () = self.place.evicted() => {}
            }
        };
        let (mut leave, mut leaving) = (std::pin::pin!(leave), false);

        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = &mut leave, if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => break Ok(()),
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a client connection ended early");
        }
    }
}

type Upgradeable<S> = http1::UpgradeableConnection<Stream, S>;

async fn answer(
    router: Arc<Inner>,
    awaited: HeadAwaited,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    awaited.arrived();
    let response = router.handle(request).await;
    // After a switch of protocols no head follows, however long the client is silent.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        awaited.again();
    }
    Ok(response)
}
