//! Where clients connect to, and the connecting: TCP, TLS for `https`, and a choice of source
//! addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::either::Either;

use crate::client::failure::{Failure, Fault};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `http://host[:port]` or `https://host[:port]`.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let told =
            |what: &str| format!("{url}: {what}; a URL here is http://host:port or https://host");
        let uri: http::Uri = url.parse().map_err(|error| told(&format!("{error}")))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(told("neither http nor https")),
        };

        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(told("it has a path, and the API stands at the root"));
        }

        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| told("no host"))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });

        Ok(Self {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }

    /// `host:port` without encryption.
    pub(crate) fn plain(address: &str) -> Result<Self, String> {
        Self::parse(&format!("http://{address}"))
    }

    /// What stands in `Host`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL of a WebSocket here.
    pub(crate) fn socket_url(&self, path: &str) -> String {
        format!(
            "{}://{}{path}",
            if self.tls { "wss" } else { "ws" },
            self.authority()
        )
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.authority()
        )
    }
}

/// Connects; the source addresses, if any, are taken in turn.
pub(crate) struct Dialer {
    tls: TlsConnector,
    sources: Vec<IpAddr>,
    turn: AtomicUsize,
}

impl Dialer {
    /// Connects from any address of this machine, or from these. Each address has some 28,000 ports
    /// towards one server.
    pub(crate) fn new(sources: Vec<IpAddr>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // What this machine trusts; certificates that cannot be read are none that it trusts.
        for certificate in rustls_native_certs::load_native_certs().certs {
            roots.add(certificate).ok();
        }

        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            sources,
            turn: AtomicUsize::new(0),
        })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Stream, Failure> {
        match tokio::time::timeout(CONNECT_MAX, self.connect_without_end(endpoint)).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::transport(
                Fault::Connect,
                format!("{endpoint}: no connection in {CONNECT_MAX:?}"),
            )),
        }
    }

    async fn connect_without_end(&self, endpoint: &Endpoint) -> Result<Stream, Failure> {
        let told = |error: std::io::Error| {
            Failure::transport(Fault::Connect, format!("{endpoint}: {}", explain(&error)))
        };
        let tcp = self.connect_tcp(endpoint).await.map_err(told)?;
        tcp.set_nodelay(true).ok();
        if !endpoint.tls {
            return Ok(Either::Left(tcp));
        }
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|error| Failure::transport(Fault::Connect, format!("{endpoint}: {error}")))?;
        Ok(Either::Right(Box::new(
            self.tls.connect(name, tcp).await.map_err(told)?,
        )))
    }

    async fn connect_tcp(&self, endpoint: &Endpoint) -> std::io::Result<TcpStream> {
        let to = (endpoint.host.as_str(), endpoint.port);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(source) = self.sources.get(turn % self.sources.len().max(1)) else {
            return TcpStream::connect(to).await;
        };
        let same_kind = |address: &SocketAddr| address.is_ipv4() == source.is_ipv4();
        let target = tokio::net::lookup_host(to).await?.find(same_kind);
        let target = target
            .ok_or_else(|| std::io::Error::other(format!("no address that {source} can reach")))?;
        let socket = if source.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };

        socket.bind(SocketAddr::new(*source, 0))?;
        socket.connect(target).await
    }
}

/// The two limits of a machine that a load test meets, in words.
fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::EMFILE) => {
            "no more files can be opened by this process (`ulimit -n`): fewer sockets, or several processes".to_owned()
        }
        Some(nix::errno::Errno::EADDRNOTAVAIL | nix::errno::Errno::EADDRINUSE) => {
            "no port is left at this source address: give more with --source-addresses".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_scheme_host_and_port() {
        assert_eq!(
            Endpoint::parse("https://chat.example.org")
                .unwrap()
                .to_string(),
            "https://chat.example.org:443"
        );
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:8082/")
                .unwrap()
                .to_string(),
            "http://127.0.0.1:8082"
        );

        assert_eq!(
            Endpoint::parse("http://[::1]:8082").unwrap().authority(),
            "[::1]:8082"
        );
        assert_eq!(
            Endpoint::parse("https://a.b").unwrap().socket_url("/v1/ws"),
            "wss://a.b:443/v1/ws"
        );
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_form_that_is_wanted() {
        for url in [
            "chat.example.org",
            "ftp://a",
            "http://a/v1",
            "http://a/?b",
            "http://",
        ] {
            assert!(
                Endpoint::parse(url)
                    .unwrap_err()
                    .contains("http://host:port"),
                "{url}"
            );
        }
    }
}
