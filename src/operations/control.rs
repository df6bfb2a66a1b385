//! What the operations port changes, for whoever proves to hold the cluster key: `POST /shards/{shard}/owner?node=NAME` has a
//! shard handed over.
//!
//! The key itself is never sent. A request carries an HMAC over its method, its path with the query, and a time that must be
//! now; one that is seen on the wire and sent again within a minute asks for what was asked for already.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::clock::Clock;
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::operations::{Subject, TEXT, hex, refused, response};

/// The header of the proof: milliseconds since 1970, a colon, the HMAC in hexadecimal digits.
pub const PROOF_HEADER: &str = "rookery-proof";

/// How far apart the clocks of both ends may be.
const FRESH: Duration = Duration::from_secs(60);

/// What the proofs of this port are made for, and no others.
const PURPOSE: &[u8] = b"rookery operations...";

/// The value of [`PROOF_HEADER`] for a request that is made at `now_ms`.
#[must_use]
pub fn proof_of(key: &ClusterKey, method: &Method, path_and_query: &str, now_ms: u64) -> String {
    let tag = key.tag(PURPOSE, &told(method, path_and_query, now_ms));
    format!("{now_ms}:{}", hex(&tag))
}

/// Whether a request proves the key, now.
fn is_proven(key: &ClusterKey, method: &Method, path_and_query: &str, proof: &str, now_ms: u64) -> bool {
    let Some((at, digits)) = proof.split_once(':') else { return false };
    let Ok(at) = at.parse::<u64>() else { return false };
    let bytes = |place: usize| digits.get(place..place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let Some(tag) = (0..digits.len()).step_by(2).map(bytes).collect::<Option<Vec<u8>>>() else { return false };
    let is_fresh = u128::from(at.abs_diff(now_ms)) <= FRESH.as_millis();
    is_fresh && key.is_tag(PURPOSE, &told(method, path_and_query, at), &tag)
}

fn told(method: &Method, path_and_query: &str, at_ms: u64) -> Vec<u8> {
    format!("{method}\n{path_and_query}\n{at_ms}").into_bytes()
}

/// The shard that a request is about, if it asks to change who owns it.
pub(super) fn shard_asked(path: &str) -> Option<ShardId> {
    path.strip_prefix("/shards/")?.strip_suffix("/owner")?.parse().ok().map(ShardId)
}

/// Has a shard handed over, if the request proves the key.
pub(super) async fn move_shard<B>(
    subject: &Arc<dyn Subject>,
    request: &Request<B>,
    shard: ShardId,
) -> Response<Full<Bytes>> {
    let line = |status, why: String| response(status, TEXT, format!("{why}\n"));
    if request.method() != Method::POST {
        return refused("POST");
    }
    let path = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let proof = request.headers().get(PROOF_HEADER).and_then(|proof| proof.to_str().ok()).unwrap_or_default();
    let proven =
        subject.key().is_some_and(|key| is_proven(&key, request.method(), path, proof, Clock::system().now_ms()));
    if !proven {
        let why = "this changes the cluster: the request must prove the cluster key, as `rookery cluster` does; the clocks \
                   of both machines must agree to a minute";
        return line(StatusCode::UNAUTHORIZED, why.to_owned());
    }
    let Some(to) = request.uri().query().and_then(|query| query.strip_prefix("node=")).map(NodeId::from) else {
        return line(StatusCode::BAD_REQUEST, "say to which node: ?node=NAME".to_owned());
    };
    let moved = subject.move_shard(shard, to.clone()).await;
    tracing::info!(%shard, %to, ?moved, "somebody with the cluster key asked for a shard to be moved");
    match moved {
        Ok(()) => line(StatusCode::OK, format!("{to} owns shard {shard}")),
        Err(why) => line(StatusCode::CONFLICT, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_request_its_key_and_a_minute() {
        let [key, other] = [b'k', b'o'].map(|byte| ClusterKey::new(&[byte; 32]).expect("long enough"));
        let (now, path) = (1_700_000_000_000, "/shards/3/owner?node=node-2");
        let proof = proof_of(&key, &Method::POST, path, now);
        assert!(is_proven(&key, &Method::POST, path, &proof, now + 59_000));
        assert!(!is_proven(&key, &Method::POST, path, &proof, now + 61_000), "it is old");
        assert!(!is_proven(&other, &Method::POST, path, &proof, now));
        assert!(!is_proven(&key, &Method::POST, "/shards/3/owner?node=node-1", &proof, now));
        assert!(!is_proven(&key, &Method::DELETE, path, &proof, now));
        let later = proof.replacen("1700000000000", "1700000000001", 1);
        assert!(!is_proven(&key, &Method::POST, path, &later, now), "its time is proven too");
        for malformed in ["", ":", "1700000000000:", "1700000000000:zz", "1700000000000:ä", "x:00"] {
            assert!(!is_proven(&key, &Method::POST, path, malformed, now), "{malformed}");
        }
        assert_eq!(shard_asked("/shards/12/owner"), Some(ShardId(12)));
        assert_eq!(shard_asked("/shards/x/owner"), None);
    }
}
