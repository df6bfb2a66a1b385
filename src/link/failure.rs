//! Why a request has no answer, and why a link could not be opened, or ended.

/// Why a request over a link has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was never handed to the socket, so it was surely not served.
    #[error("not sent: {0}")]
    NotSent(&'static str),
    /// Too much waits for the link, so it was refused at once; surely not served.
    #[error("too much waits for the link to the owner")]
    Full,
    /// It was handed to the socket, and then the link broke or time was up: it may have been
    /// served.
    #[error("no answer came")]
    Lost,
    /// It does not fit a frame; it will not later either.
    #[error("the request does not fit a frame")]
    TooLarge,
}

/// Why a link could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The table does not tell how the node is reached.
    #[error("the table names no address")]
    NoAddress,
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The upgrade.
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    /// The upgrade request cannot be written.
    #[error("http: {0}")]
    Request(#[from] http::Error),
    /// The peer refused the upgrade.
    #[error("upgrade refused with status {0}")]
    Refused(u16),
    /// A node refused a router as only one does that knows of none.
    #[error(
        "the node does not take routers: it is of an older version, and nodes are upgraded \
         together with routers"
    )]
    TooOld,
    /// The peer broke the protocol.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The peer did not prove the cluster key, or is another node than expected.
    #[error("the peer did not prove the cluster key for this node, cluster and version")]
    NotProven,
    /// A step took too long.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// The peer said nothing for several heartbeats.
    #[error("heartbeats missed")]
    Dead,
    /// The peer ended the link.
    #[error("closed by the peer")]
    Closed,
    /// The peer said goodbye: its process stops.
    #[error("the peer stops")]
    Left,
    /// This process ends.
    #[error("this process ends")]
    Stopped,
}
