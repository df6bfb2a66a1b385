//! A node behind a link, and a port that opens sessions at it as a router does.

use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::{Identity, Refused};
use crate::clock::Clock;
use crate::connections::{Connections, Noted};
use crate::ids::{Epoch, NodeId};
use crate::link::front::Call;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::client::{NodeLink, Setup, Way};
use crate::link::front::server::{Answering, Answers, FrontServer};
use crate::node::session::Hub;
use crate::router::explained::Explained;
use crate::router::headers;
use crate::router::paced::{HeadAwaited, Paced};
use crate::router::sessions::{Consumes, Sockets, Unopened};

/// A node without a REST face.
#[derive(Debug)]
pub(crate) struct NoRest;

impl Answers for NoRest {
    fn answer(&self, call: Call, _: Instant) -> Answering {
        let told = self.refuse(&call);
        Box::pin(async move { Answer::Told(told) })
    }

    fn refuse(&self, _: &Call) -> Told {
        Told {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn table(&self) -> (u64, Option<u64>) {
        (1, None)
    }
}

pub(crate) struct Node {
    pub(crate) hub: Arc<Hub>,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) front: Arc<FrontServer>,
    pub(crate) link: NodeLink,
    pub(crate) fake: Arc<Fake>,
    pub(crate) pushes: mpsc::Sender<Push>,
    pub(crate) clock: Clock,
    pub(super) at: String,
}

pub(crate) fn config() -> Config {
    Config {
        delivered_every: Duration::from_millis(20),
        ..Config::small()
    }
}

impl Node {
    /// A node whose owners already have that many events.
    pub(crate) async fn start(config: Config, events: u64) -> Self {
        let fake = Arc::new(Fake::default());
        fake.events
            .lock()
            .expect("lock")
            .extend((1..=events).map(|seq| event(seq, "old")));
        let sockets = Sockets::new(1_000, Duration::from_millis(300));
        Self::of(config, "node", fake, sockets).await
    }

    /// A node of the same owners and the same router as others.
    pub(crate) async fn of(
        config: Config,
        id: &str,
        fake: Arc<Fake>,
        sockets: Arc<Sockets>,
    ) -> Self {
        let (pushes, receiver) = mpsc::channel(64);
        let clock = Clock::manual(1_000_000);

        // `bob` is the token of bob until 2,000 s; `bob.3000` until 3,000 s.
        let verify = Box::new(|token: &str| {
            let (user, expires) = token.split_once('.').unwrap_or((token, "2000"));
            let expires = expires.parse().map_err(|_bad| Refused("bad".to_owned()))?;
            let user = UserId::parse(user).map_err(|_bad| Refused("bad".to_owned()))?;
            if user.as_str() == "bad" {
                Err(Refused("bad".to_owned()))
            } else {
                Ok(Identity { user, expires })
            }
        });

        let upstream: Arc<dyn Upstream> = Arc::<Fake>::clone(&fake);
        let hub = Hub::start(upstream, verify, clock.clone(), config, receiver);
        let front = FrontServer::new(
            Arc::new(NoRest),
            Arc::<Hub>::clone(&hub),
            crate::link::Config::front(),
        );

        let link = NodeLink::spawn(Setup {
            node: NodeId::from(id),
            way: Way::Memory {
                id: NodeId::from("router"),
                server: Arc::clone(&front),
            },
            consumer: Arc::new(Consumes(Arc::clone(&sockets))),
            config: crate::link::Config::front(),
            stop: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("address").to_string();
        tokio::spawn(serve(listener, Arc::clone(&sockets), link.clone()));

        Self {
            hub,
            sockets,
            front,
            link,
            fake,
            pushes,
            clock,
            at,
        }
    }

    pub(super) async fn connect_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, u16> {
        let mut request = format!("ws://{}{path}", self.at)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().expect("text").to_owned());
                Ok(Client {
                    socket,
                    protocol,
                    pings: 0,
                })
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                Err(response.status().as_u16())
            }
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn connect(&self, path: &str, token: &str) -> Client {
        self.connect_with(path, &[("authorization", &format!("Bearer {token}"))])
            .await
            .expect("connected")
    }

    /// Commits and pushes one message.
    pub(super) async fn say(&self, text: &str) {
        let event = self.fake.commit(text);
        self.pushes
            .send(Push::Event {
                epoch: Epoch(1),
                event,
            })
            .await
            .expect("the hub follows");
    }

    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !reached(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Takes connections as a router does, and asks the node for a session for whatever is requested.
pub(crate) async fn serve(listener: TcpListener, sockets: Arc<Sockets>, link: NodeLink) {
    let connections = Connections::new("router", 100);
    while let Ok((stream, entrant)) = connections.accept(&listener).await {
        let place = entrant.admitted().await.expect("a place");
        let (sockets, link) = (Arc::clone(&sockets), link.clone());
        let service = service_fn(move |request| {
            let (sockets, link) = (Arc::clone(&sockets), link.clone());
            async move { Ok::<_, std::convert::Infallible>(open(&sockets, &link, request).await) }
        });
        let noted: Noted<TcpStream> = place.noted(stream);
        let io = Explained::new(Paced::new(noted, WAIT, HeadAwaited::default()));
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(
            server
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades(),
        );
    }
}

async fn open(
    sockets: &Arc<Sockets>,
    link: &NodeLink,
    mut request: http::Request<hyper::body::Incoming>,
) -> http::Response<Full<Bytes>> {
    let client = hyper::upgrade::on(&mut request);
    let asked = handshake::open(
        request.uri().query().unwrap_or_default(),
        request.headers(),
        "request-1",
    );

    match sockets.ask(link, asked, who(request.headers())).await {
        Ok(opened) => {
            let answer =
                handshake::switching(request.headers(), opened.protocol).expect("a good handshake");
            sockets.serve(opened, client, sockets.place().expect("a place"));
            answer
        }
        Err(Unopened::Refused(problem)) => problem.response("request-1"),
        Err(other) => Problem::unavailable(format!("{other:?}")).response("request-1"),
    }
}

/// Who asks, as the router keeps it.
pub(super) fn who(sent: &http::HeaderMap) -> Who {
    let token = headers::bearer(sent).unwrap_or_default();
    Who {
        slot: Slot(0),
        request_id: Arc::from("request-1"),
        token: Arc::from(token),
    }
}
