//! One request to an operations port.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::link::proof::ClusterKey;
use crate::operations::control::PROOF_HEADER;
use crate::process::files;

/// Longest wait for a connection, and for an answer: a shard may be on its way for seconds.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// An operations port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl Place {
    /// Where the cluster may be asked, in the order in which to try.
    ///
    /// # Errors
    /// One clear line: the folder is none of `scripts/cluster`.
    pub(in crate::process) fn all(
        folder: Option<&Path>,
        operations: &[String],
    ) -> Result<Vec<Self>, String> {
        let Some(folder) = folder else {
            return Ok(operations.iter().cloned().map(Self).collect());
        };
        let path = folder.join("ports");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!(
                "{}: {error}; give the folder that scripts/cluster was given by --folder",
                path.display()
            )
        })?;
        let places = places_in(&text);

        if places.is_empty() {
            Err(format!(
                "{}: no node has an operations port",
                path.display()
            ))
        } else {
            Ok(places)
        }
    }
}

/// The operations ports of nodes, of lines such as `node-1.operations 7082`.
fn places_in(text: &str) -> Vec<Place> {
    let of_node = |line: &str| {
        let (name, port) = line.split_once(' ')?;
        let port: u16 = port.trim().parse().ok()?;
        (name.starts_with("node-") && name.ends_with(".operations"))
            .then(|| Place(format!("127.0.0.1:{port}")))
    };
    text.lines().filter_map(of_node).collect()
}

/// The cluster key of a folder of `scripts/cluster`.
///
/// # Errors
/// One clear line.
pub(in crate::process) fn key_in(folder: &Path) -> Result<ClusterKey, String> {
    let path = folder.join(files::CLUSTER_KEY);
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    ClusterKey::new(text.trim().as_bytes()).map_err(|why| format!("{}: {why}", path.display()))
}

/// Asks. The status and the body.
///
/// # Errors
/// One sentence: it cannot be reached, or gives no answer in time.
pub(in crate::process) async fn call(
    place: &Place,
    method: &Method,
    path: &str,
    proof: Option<&str>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let connected = timeout(CONNECTED_WITHIN, TcpStream::connect(&place.0)).await;
    let socket = connected
        .map_err(|_late| "no connection in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let answered = timeout(ANSWERED_WITHIN, asked(place, method, path, (proof, socket))).await;
    answered.map_err(|_late| "no answer in time; whether it was done is not known".to_owned())?
}

async fn asked(
    place: &Place,
    method: &Method,
    path: &str,
    (proof, socket): (Option<&str>, TcpStream),
) -> Result<(StatusCode, Vec<u8>), String> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(words)?;
    // Ends with the answer, for nothing else is asked over it.
    drop(tokio::spawn(connection));

    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &place.0);
    if let Some(proof) = proof {
        request = request.header(PROOF_HEADER, proof);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;

    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    Ok((
        status,
        body.map_err(|error| error.to_string())?.to_bytes().to_vec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_folder_are_asked_in_order_and_nobody_else() {
        let text = "redis-1 7001\nnode-1.peer 7081\nnode-1.operations 7082\nrouter-1.operations 9082\nnode-2.operations 7084\n";
        assert_eq!(
            places_in(text),
            [
                Place("127.0.0.1:7082".to_owned()),
                Place("127.0.0.1:7084".to_owned())
            ]
        );
    }
}
