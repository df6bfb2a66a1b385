//! How a device opens its socket.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{DEADLINE, token};

/// How to open a socket.
pub(crate) struct Opening {
    /// Path and query.
    pub(crate) path: String,
    /// Token in the `Authorization` header.
    pub(crate) header_token: Option<String>,
    /// Token in the list of subprotocols, as a browser sends it.
    pub(crate) subprotocol_token: Option<String>,
    /// A receive buffer this small, so that a reader that stops is felt soon.
    pub(crate) receive_buffer: Option<u32>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            path: "/v1/ws".to_owned(),
            header_token: None,
            subprotocol_token: None,
            receive_buffer: None,
        }
    }
}

impl Socket {
    /// Opens a socket of this user, without reading anything.
    pub(crate) async fn open(server: &Server, user: &str) -> Self {
        Self::open_at(server, user, "/v1/ws").await
    }

    /// The same with a path and query of one's own.
    pub(crate) async fn open_at(server: &Server, user: &str, path: &str) -> Self {
        let opening = Opening {
            path: path.to_owned(),
            header_token: Some(token(user)),
            ..Opening::default()
        };
        Self::try_open(server, opening)
            .await
            .unwrap_or_else(|status| panic!("the upgrade was refused: {status}"))
    }

    /// Opens a socket and waits until it is subscribed to everything.
    pub(crate) async fn ready(server: &Server, user: &str) -> Self {
        let mut socket = Self::open(server, user).await;
        socket.until_t("ready").await;
        socket
    }

    /// Opens a socket, or tells the status with which the upgrade was refused.
    pub(crate) async fn try_open(server: &Server, opening: Opening) -> Result<Self, u16> {
        let address = server.address();
        let mut request = format!("ws://{address}{}", opening.path)
            .into_client_request()
            .unwrap();
        if let Some(token) = opening.header_token {
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
        }

        if let Some(token) = opening.subprotocol_token {
            let list = format!("rookery.v1, rookery.bearer.{token}");
            request
                .headers_mut()
                .insert("sec-websocket-protocol", list.parse().unwrap());
        }

        let tcp = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = opening.receive_buffer {
            tcp.set_recv_buffer_size(bytes).unwrap();
        }

        let tcp = timeout(DEADLINE, tcp.connect(address))
            .await
            .expect("a connection in time")
            .unwrap();
        let upgrade = timeout(DEADLINE, tokio_tungstenite::client_async(request, tcp)).await;

        match upgrade.expect("an answer to the upgrade in time") {
            Ok((stream, _)) => Ok(Self::over(stream)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the upgrade broke: {error:?}"),
        }
    }

    /// Opens a socket of this user at one address, or tells why not: for tests in which things
    /// break.
    #[allow(dead_code, reason = "of those tests only")]
    pub(crate) async fn attempt(
        address: SocketAddr,
        user: &str,
        path: &str,
    ) -> Result<Self, String> {
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .unwrap();
        request.headers_mut().insert(
            "authorization",
            format!("Bearer {}", token(user)).parse().unwrap(),
        );

        let whole = async {
            let tcp = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            tokio_tungstenite::client_async(request, tcp)
                .await
                .map_err(|error| error.to_string())
        };
        let (stream, _) = timeout(DEADLINE, whole)
            .await
            .map_err(|elapsed| elapsed.to_string())??;
        Ok(Self::over(stream))
    }
}
