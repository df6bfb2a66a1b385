//! The ports that a node is started with, and where others reach them.

use std::net::IpAddr;

use tokio::net::TcpListener;

use crate::node::table::NodeAddresses;

/// The bound ports of a node.
#[derive(Debug)]
pub struct Listeners {
    /// Where routers reach it.
    pub http: TcpListener,
    /// Where the links of other nodes reach it.
    pub peer: TcpListener,
    /// What is told to others instead of where they listen, if anything.
    pub advertised: Option<NodeAddresses>,
}

impl Listeners {
    /// Binds both to free ports of an address.
    ///
    /// # Errors
    /// One clear line.
    pub async fn bind(host: IpAddr) -> Result<Self, String> {
        let bind = async || {
            let bound = TcpListener::bind((host, 0)).await;
            bound.map_err(|error| format!("no free port on {host}: {error}"))
        };
        Ok(Self { http: bind().await?, peer: bind().await?, advertised: None })
    }

    /// Where others reach them.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn addresses(&self) -> std::io::Result<NodeAddresses> {
        if let Some(advertised) = &self.advertised {
            return Ok(advertised.clone());
        }
        Ok(NodeAddresses { http: self.http.local_addr()?.to_string(), peer: self.peer.local_addr()?.to_string() })
    }
}
