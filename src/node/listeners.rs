//! The port that a node is started with, and where others reach it.

use std::net::IpAddr;

use tokio::net::TcpListener;

use crate::cluster::table::NodeAddresses;

/// The bound port of a node.
#[derive(Debug)]
pub struct Listeners {
    /// Where the links of routers and of other nodes reach it.
    pub peer: TcpListener,
    /// What is told to others instead of where they listen, if anything.
    pub advertised: Option<NodeAddresses>,
}

impl Listeners {
    /// Binds a free port of an address.
    ///
    /// # Errors
    /// One clear line.
    pub async fn bind(host: IpAddr) -> Result<Self, String> {
        let bound = TcpListener::bind((host, 0)).await;
        let peer = bound.map_err(|error| format!("no free port on {host}: {error}"))?;
        Ok(Self {
            peer,
            advertised: None,
        })
    }

    /// Where others reach it.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn addresses(&self) -> std::io::Result<NodeAddresses> {
        if let Some(advertised) = &self.advertised {
            return Ok(advertised.clone());
        }
        Ok(NodeAddresses::of_peer(self.peer.local_addr()?.to_string()))
    }
}
