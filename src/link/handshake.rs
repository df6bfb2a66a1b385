//! How a TCP connection becomes a link: an HTTP/1.1 upgrade that tells who asks, the owner's nonce
//! as the first frame, then the proof of each end. Until then nothing but these is read, and no
//! frame over 256 bytes.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::Role as SocketRole;
use fastwebsockets::handshake::generate_key;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::ids::{ClusterId, NodeId};
use crate::link::proof::{End, Nonce, PROOF_BYTES, Terms};
use crate::link::socket::{Socket, open};
use crate::link::{Config, Credentials, LinkError, Role};

/// Path of the upgrade request on the peer port; every other path is answered 404.
const PATH: &str = "/link";
/// Header of the upgrade request: id of the node or router that opens the link.
const NODE_HEADER: &str = "rookery-node";
/// Header of the upgrade request: what opens the link; missing, it is a node.
const ROLE_HEADER: &str = "rookery-role";
/// Header of the upgrade request: the cluster that it belongs to.
const CLUSTER_HEADER: &str = "rookery-cluster";
/// Header of the upgrade request: the oldest version of the peer contract that the requester
/// speaks. Of the answer: the one that both speak from now on; an owner of version 1 does not say
/// it.
const VERSION_HEADER: &str = "rookery-peer-version";
/// Header of the upgrade request: the newest version that the requester speaks; missing, it is the
/// oldest.
const NEWEST_HEADER: &str = "rookery-peer-version-newest";
/// Header of the upgrade request: its nonce, base64.
const NONCE_HEADER: &str = "rookery-nonce";

/// The requester's side: the socket, and the version that both ends speak. The caller bounds its
/// time.
pub(crate) async fn request_link(
    us: &Credentials,
    owner: &NodeId,
    config: &Config,
    stream: TcpStream,
) -> Result<(Socket, u16), LinkError> {
    stream.set_nodelay(true)?;
    let requester_nonce: Nonce = rand::random();
    let request = upgrade_request(us, owner, config, &requester_nonce)?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let mut response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(match (us.role, response.status()) {
                (Role::Router, StatusCode::NOT_FOUND) => LinkError::TooOld,
                (_, status) => LinkError::Refused(status.as_u16()),
            });
        }
        let version = number(response.headers(), VERSION_HEADER).unwrap_or(1);
        Ok((hyper::upgrade::on(&mut response).await?, version))
    };

    let driving = async { connection.with_upgrades().await.map_err(LinkError::Http) };
    let ((upgraded, version), ()) = tokio::try_join!(asking, driving)?;
    if !(us.role.oldest()..=config.newest).contains(&version) {
        return Err(LinkError::Protocol(format!(
            "the owner speaks version {version} of the peer contract"
        )));
    }

    let mut socket = open(upgraded, SocketRole::Client, config)?;
    let challenge = socket.reader.read().await?;
    let terms = Terms {
        version,
        role: us.role,
        cluster: us.cluster,
        requester: us.id.clone(),
        owner: owner.clone(),
        requester_nonce,
        owner_nonce: <[u8; PROOF_BYTES]>::try_from(&*challenge)
            .map_err(|_length| LinkError::NotProven)?,
    };
    socket.writer.add(
        terms
            .prove(&us.key, End::Requester)
            .ok_or(LinkError::NotProven)?
            .to_vec(),
        0,
    );

    socket.writer.flush().await?;
    let proof = socket.reader.read().await?;
    if !terms.holds(&us.key, End::Owner, &proof) {
        return Err(LinkError::NotProven);
    }
    socket.reader.proven();
    Ok((socket, version))
}

/// The request that asks for a link: who asks, what for, and the nonce for the owner's proof.
fn upgrade_request(
    us: &Credentials,
    owner: &NodeId,
    config: &Config,
    nonce: &Nonce,
) -> Result<Request<Empty<Bytes>>, LinkError> {
    let request = Request::get(PATH)
        .header(header::HOST, owner.0.as_ref())
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(NODE_HEADER, us.id.0.as_ref())
        .header(ROLE_HEADER, us.role.word())
        .header(CLUSTER_HEADER, us.cluster.to_string())
        .header(VERSION_HEADER, us.role.oldest())
        .header(NEWEST_HEADER, config.newest)
        .header(NONCE_HEADER, STANDARD.encode(nonce))
        .body(Empty::<Bytes>::new())?;
    Ok(request)
}

/// The owner's side: the proven node or router and its socket. Whatever is no upgrade is answered
/// 404 and closed. The caller bounds its time.
pub(crate) async fn accept_link(
    us: &Credentials,
    config: &Config,
    stream: TcpStream,
) -> Result<(Proven, Socket), LinkError> {
    stream.set_nodelay(true)?;
    let (hello, upgrading) = take_upgrade(config, stream).await?;
    let upgraded = upgrading
        .await
        .map_err(|error| LinkError::Protocol(error.to_string()))?;
    let mut socket = open(
        upgraded.into_inner().into_inner(),
        SocketRole::Server,
        config,
    )?;

    let terms = Terms {
        version: hello.version,
        role: hello.role,
        cluster: us.cluster,
        requester: hello.id,
        owner: us.id.clone(),
        requester_nonce: hello.nonce,
        owner_nonce: rand::random(),
    };
    socket.writer.add(terms.owner_nonce.to_vec(), 0);
    socket.writer.flush().await?;
    let proof = socket.reader.read().await?;
    if hello.cluster != us.cluster || !terms.holds(&us.key, End::Requester, &proof) {
        return Err(LinkError::NotProven);
    }

    socket.writer.add(
        terms
            .prove(&us.key, End::Owner)
            .ok_or(LinkError::NotProven)?
            .to_vec(),
        0,
    );

    socket.writer.flush().await?;
    socket.reader.proven();
    Ok((
        Proven {
            id: terms.requester,
            role: terms.role,
            version: terms.version,
        },
        socket,
    ))
}

/// Who opened a link, and has proven it.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    /// Its name.
    pub(crate) id: NodeId,
    /// What it is.
    pub(crate) role: Role,
    /// The version that both ends speak.
    pub(crate) version: u16,
}

/// Serves HTTP until the connection is upgraded.
async fn take_upgrade(
    config: &Config,
    stream: TcpStream,
) -> Result<(Hello, UpgradeFut), LinkError> {
    let taken = Mutex::new(None);
    let service = service_fn(|request| {
        let (response, accepted) = answer_upgrade(request, config.newest);
        if accepted.is_some() {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = accepted;
        }
        async move { Ok::<_, Infallible>(response) }
    });

    server::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.handshake_timeout)
        .keep_alive(false)
        .max_headers(32)
        .max_buf_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    let accepted = taken.lock().unwrap_or_else(PoisonError::into_inner).take();

    accepted.ok_or_else(|| LinkError::Protocol("not an upgrade to a link".to_owned()))
}

/// What the upgrade request told.
struct Hello {
    /// The newest that both speak.
    version: u16,
    role: Role,
    cluster: ClusterId,
    id: NodeId,
    nonce: Nonce,
}

impl Hello {
    fn read(headers: &HeaderMap, newest: u16) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let nonce = STANDARD.decode(text(NONCE_HEADER)?).ok()?;
        let role = headers
            .get(ROLE_HEADER)
            .map_or(Some(Role::Node), |word| Role::parse(word.to_str().ok()?))?;
        let oldest = number(headers, VERSION_HEADER)?.max(role.oldest());
        let version = number(headers, NEWEST_HEADER).unwrap_or(oldest).min(newest);
        (oldest <= version).then_some(())?;
        Some(Self {
            version,
            role,
            cluster: ClusterId(Uuid::try_parse(text(CLUSTER_HEADER)?).ok()?),
            id: NodeId::from(text(NODE_HEADER)?),
            nonce: nonce.try_into().ok()?,
        })
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u16> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn answer_upgrade(
    mut request: Request<Incoming>,
    newest: u16,
) -> (Response<Empty<Bytes>>, Option<(Hello, UpgradeFut)>) {
    let asked = request.method() == Method::GET
        && request.uri().path() == PATH
        && is_upgrade_request(&request);
    if asked
        && let Some(hello) = Hello::read(request.headers(), newest)
        && let Ok((mut response, upgrading)) = upgrade(&mut request)
    {
        response
            .headers_mut()
            .insert(VERSION_HEADER, hello.version.into());
        return (response, Some((hello, upgrading)));
    }
    let mut refusal = Response::new(Empty::new());
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    (refusal, None)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
    use tokio::net::TcpListener;

    use super::*;
    use crate::link::proof::ClusterKey;

    fn of(id: &str, role: Role) -> Credentials {
        let key = ClusterKey::new(&[7; 32]).expect("long enough");
        Credentials {
            id: NodeId::from(id),
            role,
            cluster: ClusterId(Uuid::nil()),
            key,
        }
    }

    fn up_to(newest: u16) -> Config {
        Config {
            newest,
            ..Config::default()
        }
    }

    /// What both ends make of a connection.
    async fn both(
        (role, requester): (Role, Config),
        owner: Config,
    ) -> (
        Result<(Socket, u16), LinkError>,
        Result<(Proven, Socket), LinkError>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address"))
            .await
            .expect("a connection");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let (us, them) = (of("a", role), of("b", Role::Node));
        let owning = accept_link(&them, &owner, accepted);
        tokio::join!(request_link(&us, &them.id, &requester, stream), owning)
    }

    #[tokio::test]
    async fn who_dials_is_taken_for_what_it_is() {
        for role in [Role::Node, Role::Router] {
            let (asked, taken) = both((role, Config::front()), Config::default()).await;
            let (_, version) = asked.expect("a link");
            let (proven, _) = taken.expect("a link");
            let newest = crate::link::PEER_VERSION;
            assert_eq!(
                (&*proven.id.0, proven.role, proven.version, version),
                ("a", role, newest, newest)
            );
        }
    }

    #[tokio::test]
    async fn nodes_of_the_version_before_routers_link_with_newer_ones_either_way() {
        for (requester, owner) in [(3, 4), (4, 3), (3, 3)] {
            let (asked, taken) = both((Role::Node, up_to(requester)), up_to(owner)).await;
            assert_eq!(asked.map(|(_, version)| version).expect("a link"), 3);
            assert_eq!(
                taken.map(|(proven, _)| proven.role).expect("a link"),
                Role::Node
            );
        }
    }

    #[tokio::test]
    async fn a_router_is_told_in_one_line_that_a_node_is_too_old_for_it() {
        let (asked, taken) = both((Role::Router, Config::front()), up_to(3)).await;
        let refused = asked.map(|_| ()).expect_err("no link");
        assert!(matches!(refused, LinkError::TooOld), "{refused}");
        assert!(
            refused.to_string().contains("older version") && !refused.to_string().contains('\n'),
            "{refused}"
        );
        assert!(taken.is_err());
    }

    #[tokio::test]
    async fn a_node_that_is_made_out_to_be_a_router_on_the_way_is_not_believed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let between = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(between.local_addr().expect("an address"))
            .await
            .expect("a connection");
        let (mut from, _) = between.accept().await.expect("a connection");
        let mut to = TcpStream::connect(listener.local_addr().expect("an address"))
            .await
            .expect("a connection");
        let (accepted, _) = listener.accept().await.expect("a connection");

        let forging = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                from.read_buf(&mut head).await.expect("a head");
            }
            let head = String::from_utf8(head).expect("text");
            let forged = head.replace("rookery-role: node", "rookery-role: router");
            assert_ne!(forged, head);
            to.write_all(forged.as_bytes()).await.expect("written");
            let ((mut from_read, mut from_write), (mut to_read, mut to_write)) =
                (from.split(), to.split());
            tokio::select! {
                copied = copy(&mut from_read, &mut to_write) => drop(copied),
                copied = copy(&mut to_read, &mut from_write) => drop(copied),
            }
        };

        let (node, owner) = (of("a", Role::Node), of("b", Role::Node));
        let (config, peer) = (Config::default(), owner.id.clone());
        let asking = request_link(&node, &peer, &config, stream);
        let owning = accept_link(&owner, &config, accepted);
        let taken = tokio::select! {
            taken = owning => taken,
            (asked, ()) = async { tokio::join!(asking, forging) } => panic!("{:?}", asked.map(|_| ())),
        };
        assert!(matches!(taken.map(|_| ()), Err(LinkError::NotProven)));
    }
}
