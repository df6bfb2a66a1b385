//! `/shards/{shard}/backup`: a copy of a shard's file as its owner has it, for whoever proves to
//! hold the cluster key. `POST ?run=N` begins one, and is to be repeated until it is written;
//! `&known=…` says where the copy stands that is there already. `GET ?run=N&id=N&from=N` reads some
//! bytes of it, none at its end.
//!
//! Any process with a node in it can be asked: it asks the shard's owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::ids::ShardId;
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::node::Node;
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::operations::asked::{parameter, shard_in};
use crate::operations::control;
use crate::operations::responses::{TEXT, json, refused, response};
use crate::operations::shard_digest::AppliedTail;
use crate::operations::subject::{Backing, Subject};
use crate::shard::file::snapshot::Snapshot;

/// Longest wait for an answer of the owner.
const OWNER_WITHIN: Duration = Duration::from_secs(5);

/// What is answered where a copy is to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The cluster whose shard it is.
    pub identity: Identity,
    /// How the copy stands.
    pub stage: Stage,
}

/// How a copy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It is being written.
    Preparing,
    /// It is written.
    Ready {
        /// Names it.
        id: u64,
        /// What it is.
        said: Snapshot,
    },
    /// The one that is there already has all of it.
    Unchanged,
}

/// Asks the owner of a shard, by way of this node. An owner is given as long as a piece of a large
/// file, or the wait for its own file, may take.
#[must_use]
pub(crate) fn ask_of(node: Option<Arc<Node>>, shard: ShardId, ask: ReplicaAsk) -> Backing {
    let asked = async move {
        let node = node.ok_or("this node has not begun yet")?;
        let answer = node
            .backup(shard, ask, Instant::now() + OWNER_WITHIN)
            .await?;
        Ok::<_, String>((node.table().identity, answer))
    };
    asked.boxed()
}

/// The path and query by which a copy begins.
#[must_use]
pub(crate) fn begin_path(shard: ShardId, run: u64, known: Option<PerStream<Tail>>) -> String {
    let path = format!("/shards/{}/backup?run={run}", shard.0);
    let Some(known) = known else { return path };
    let [messages, receipts] = [known.messages, known.receipts].map(|tail| AppliedTail::of(&tail));
    format!(
        "{path}&known={}:{},{}:{}",
        messages.offset, messages.chain, receipts.offset, receipts.chain
    )
}

/// The path and query by which a copy is read.
#[must_use]
pub(crate) fn read_path(shard: ShardId, (run, id): (u64, u64), from: u64) -> String {
    format!("/shards/{}/backup?run={run}&id={id}&from={from}", shard.0)
}

/// The shard that a request is about, if it is about a copy of one.
pub(super) fn shard_asked(path: &str) -> Option<ShardId> {
    shard_in(path, "backup")
}

/// What a request asks of the owner.
fn asked(method: &Method, query: &str) -> Option<ReplicaAsk> {
    let number = |name: &str| parameter(query, name)?.parse::<u64>().ok();
    let run = number("run")?;
    if method != Method::POST {
        return Some(ReplicaAsk::BackupRead {
            run,
            id: number("id")?,
            from: number("from")?,
        });
    }

    let known = match parameter(query, "known") {
        Some(known) => {
            let (messages, receipts) = known.split_once(',')?;
            Some(PerStream {
                messages: tail(messages)?,
                receipts: tail(receipts)?,
            })
        }
        None => None,
    };
    Some(ReplicaAsk::BackupBegin { run, known })
}

fn tail(text: &str) -> Option<Tail> {
    let (offset, chain) = text.split_once(':')?;
    AppliedTail {
        offset: offset.parse().ok()?,
        chain: chain.to_owned(),
    }
    .tail()
}

/// Answers what concerns a copy, if the request proves the key.
pub(super) async fn serve<B>(
    subject: &Arc<dyn Subject>,
    request: &Request<B>,
    shard: ShardId,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return refused("GET, POST");
    }
    if subject.key().is_none() {
        let why = "this process has no node: ask the operations port of one, or of `rookery dev`\n";
        return response(StatusCode::NOT_FOUND, TEXT, why.to_owned());
    }
    if !control::proves(subject, request) {
        let why = "messages are read here: the request must prove the cluster key, as `rookery backup` does; the clocks of \
                   both machines must agree to a minute\n";
        return response(StatusCode::UNAUTHORIZED, TEXT, why.to_owned());
    }

    let Some(ask) = asked(request.method(), request.uri().query().unwrap_or_default()) else {
        return response(
            StatusCode::BAD_REQUEST,
            TEXT,
            "this is not how a copy is asked for\n".to_owned(),
        );
    };

    if matches!(ask, ReplicaAsk::BackupBegin { .. }) {
        tracing::debug!(%shard, ?ask, "somebody with the cluster key asked for a copy of a shard");
    }
    match subject.backup(shard, ask).await {
        Ok((identity, answer)) => told(identity, answer),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn told(identity: Identity, answer: ReplicaAnswer) -> Response<Full<Bytes>> {
    let stage = match answer {
        ReplicaAnswer::Preparing => Stage::Preparing,
        ReplicaAnswer::Ready { id, said } => Stage::Ready { id, said },
        ReplicaAnswer::Unchanged => Stage::Unchanged,
        ReplicaAnswer::Piece(bytes) => {
            let mut piece = Response::new(Full::new(Bytes::from(bytes)));
            piece.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
            piece
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return piece;
        }
        ReplicaAnswer::Gone => {
            let why = "the shard has another owner, or its copy is not kept any more; begin anew\n";
            return response(StatusCode::GONE, TEXT, why.to_owned());
        }
        ReplicaAnswer::Failed(why) => {
            return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"));
        }
        other => {
            tracing::warn!(
                ?other,
                "the owner of a shard answered something else than was asked"
            );
            return response(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                "the owner answered something else\n".to_owned(),
            );
        }
    };
    json(&Begun { identity, stage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Offset;
    use crate::log::record::Chain;

    fn parts(path: &str) -> (Option<ShardId>, String) {
        let (path, query) = path.split_once('?').expect("a query");
        (shard_asked(path), query.to_owned())
    }

    #[test]
    fn what_is_asked_for_is_what_is_understood() {
        let tail = |offset, byte| Tail {
            offset: Offset(offset),
            chain: Chain([byte; 16]),
        };
        let stands = PerStream {
            messages: tail(7, 0xab),
            receipts: tail(0, 0),
        };

        for known in [None, Some(stands)] {
            let (shard, query) = parts(&begin_path(ShardId(12), u64::MAX, known));
            assert_eq!(shard, Some(ShardId(12)));
            assert_eq!(
                asked(&Method::POST, &query),
                Some(ReplicaAsk::BackupBegin {
                    run: u64::MAX,
                    known
                })
            );
        }

        let (shard, query) = parts(&read_path(ShardId(3), (1, 2), 4096));
        assert_eq!(shard, Some(ShardId(3)));
        assert_eq!(
            asked(&Method::GET, &query),
            Some(ReplicaAsk::BackupRead {
                run: 1,
                id: 2,
                from: 4096
            })
        );

        for malformed in [
            "",
            "run=x",
            "run=1&known=7",
            "run=1&known=7:ab,0:cd",
            "rune=1",
        ] {
            assert_eq!(asked(&Method::POST, malformed), None, "{malformed}");
        }

        assert_eq!(asked(&Method::GET, "run=1&id=2"), None);
    }
}
