//! `/shards/{shard}/digest`: what a replica of this process holds, in one number that others can be
//! compared with. Reads a whole file, so one is made at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::Semaphore;

use crate::ids::{NodeId, ShardId};
use crate::node::Node;
use crate::operations::asked::{parameter, shard_in};
use crate::operations::responses::{TEXT, json, refused, response};
use crate::operations::setup::Setup;
use crate::operations::shard_digest::{Digesting, ShardDigest};

/// The digest of a node's replica. SQLite reads on threads of its own: the thread of the port only
/// waits.
#[must_use]
pub(crate) fn digest_of(node: Option<Arc<Node>>, shard: ShardId) -> Digesting {
    let Some(node) = node else {
        return std::future::ready(Ok(None)).boxed();
    };
    let digesting = async move {
        let made = node.digest(shard).await?;
        Ok(made.map(|(role, digest)| ShardDigest::of(shard, node.id().clone(), role, &digest)))
    };
    digesting.boxed()
}

/// Longest wait for the digest of another node's replica: less than a connection to the port lives.
const ANOTHER_WITHIN: Duration = Duration::from_secs(50);

/// The same of the replica of any node of the cluster, by way of this one.
#[must_use]
pub(crate) fn digest_at(node: Option<Arc<Node>>, shard: ShardId, of: NodeId) -> Digesting {
    let Some(node) = node else {
        return std::future::ready(Ok(None)).boxed();
    };
    let digesting = async move {
        let made = node
            .digest_at(shard, &of, Instant::now() + ANOTHER_WITHIN)
            .await?;
        Ok(made.map(|(role, digest)| ShardDigest::of(shard, of, role, &digest)))
    };
    digesting.boxed()
}

/// Of which shard, and on which node if that is said, a digest is asked for.
pub(super) fn digest_asked(path: &str, query: Option<&str>) -> Option<(ShardId, Option<NodeId>)> {
    let shard = shard_in(path, "digest")?;
    let node = query.and_then(|query| parameter(query, "node"));
    Some((shard, node.map(NodeId::from)))
}

pub(super) async fn with_digest(
    setup: &Setup,
    method: &Method,
    (shard, node): (ShardId, Option<NodeId>),
    digests: &Semaphore,
) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return refused("GET");
    }
    let Ok(_permit) = digests.try_acquire() else {
        return response(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            "another digest is being made; ask again\n".to_owned(),
        );
    };

    match setup.subject.digest(shard, node).await {
        Ok(Some(digest)) => json(&digest),
        Ok(None) => response(
            StatusCode::NOT_FOUND,
            TEXT,
            format!("there is no replica of shard {shard} here\n"),
        ),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}
