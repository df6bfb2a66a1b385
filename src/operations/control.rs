//! What the operations port changes, for whoever proves to hold the cluster key: `POST
//! /shards/{shard}/owner?node=NAME` has a shard handed over, `POST /nodes/{node}/drain` takes a
//! node away for good and `DELETE` ends that, `POST /balance` has it looked at now who has too
//! much; `GET /balance` says what would be moved. `by=NAME` says who asks; it is logged.
//!
//! The key itself is never sent. A request carries an HMAC over its method, its path with the
//! query, and a time that must be now; one that is seen on the wire and sent again within a minute
//! asks for what was asked for already.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::clock::Clock;
use crate::ids::{NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::node::link::handing::BalancePlan;
use crate::operations::asked::{parameter, shard_in};
use crate::operations::change::Change;
use crate::operations::hex::hex;
use crate::operations::responses::{TEXT, json, refused, response};
use crate::operations::subject::Subject;

/// The header of the proof: milliseconds since 1970, a colon, the HMAC in hexadecimal digits.
pub(crate) const PROOF_HEADER: &str = "rookery-proof";

/// How far apart the clocks of both ends may be.
const FRESH: Duration = Duration::from_secs(60);

/// Longest name of whoever asks.
const NAME_BYTES_MAX: usize = 128;

/// What the proofs of this port are made for, and no others.
const PURPOSE: &[u8] = b"rookery operations...";

/// The value of [`PROOF_HEADER`] for a request that is made at `now_ms`.
#[must_use]
pub(crate) fn proof_of(
    key: &ClusterKey,
    method: &Method,
    path_and_query: &str,
    now_ms: u64,
) -> String {
    let tag = key.tag(PURPOSE, &told(method, path_and_query, now_ms));
    format!("{now_ms}:{}", hex(&tag))
}

/// Whether a request proves the key of this process.
pub(super) fn proves<B>(subject: &Arc<dyn Subject>, request: &Request<B>) -> bool {
    let path = request
        .uri()
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    let proof = request
        .headers()
        .get(PROOF_HEADER)
        .and_then(|proof| proof.to_str().ok())
        .unwrap_or_default();
    subject.key().is_some_and(|key| {
        is_proven(
            &key,
            request.method(),
            path,
            proof,
            Clock::system().now_ms(),
        )
    })
}

/// Whether a request proves the key, now.
fn is_proven(
    key: &ClusterKey,
    method: &Method,
    path_and_query: &str,
    proof: &str,
    now_ms: u64,
) -> bool {
    let Some((at, digits)) = proof.split_once(':') else {
        return false;
    };
    let Ok(at) = at.parse::<u64>() else {
        return false;
    };

    let bytes = |place: usize| {
        digits
            .get(place..place + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };

    let Some(tag) = (0..digits.len())
        .step_by(2)
        .map(bytes)
        .collect::<Option<Vec<u8>>>()
    else {
        return false;
    };
    let is_fresh = u128::from(at.abs_diff(now_ms)) <= FRESH.as_millis();
    is_fresh && key.is_tag(PURPOSE, &told(method, path_and_query, at), &tag)
}

fn told(method: &Method, path_and_query: &str, at_ms: u64) -> Vec<u8> {
    format!("{method}\n{path_and_query}\n{at_ms}").into_bytes()
}

/// What a path of this file is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Who owns a shard.
    Owner(ShardId),
    /// Whether a node drains.
    Drain(NodeId),
    /// What is moved for balance.
    Balance,
}

/// What a request is about, if it is about something that can be changed here.
pub(super) fn asked(path: &str) -> Option<Asked> {
    if path == "/balance" {
        return Some(Asked::Balance);
    }
    if let Some(node) = path
        .strip_prefix("/nodes/")
        .and_then(|rest| rest.strip_suffix("/drain"))
    {
        return (!node.is_empty() && !node.contains('/')).then(|| Asked::Drain(NodeId::from(node)));
    }
    shard_in(path, "owner").map(Asked::Owner)
}

/// Does what is asked, if the request proves the key; what is only looked at needs no proof.
pub(super) async fn answer<B>(
    subject: &Arc<dyn Subject>,
    request: &Request<B>,
    asked: Asked,
) -> Response<Full<Bytes>> {
    let method = request.method();
    let allowed = match asked {
        Asked::Owner(_) => "POST",
        Asked::Drain(_) => "DELETE, POST",
        Asked::Balance => "GET, POST",
    };
    if !allowed.split(", ").any(|one| one == method.as_str()) {
        return refused(allowed);
    }
    if method == Method::GET {
        return planned(subject.balance(None).await);
    }

    if !proves(subject, request) {
        let why = "this changes the cluster: the request must prove the cluster key, as `rookery cluster` does; the clocks \
                   of both machines must agree to a minute";
        return line(StatusCode::UNAUTHORIZED, why);
    }
    let Some(by) = asked_by(request) else {
        return line(
            StatusCode::BAD_REQUEST,
            "by=NAME is at most 128 of A-Z a-z 0-9 . _ @ : -",
        );
    };
    let change = match asked {
        Asked::Owner(shard) => match named(request, "node") {
            Some(to) => Change::Move {
                shard,
                to: NodeId::from(to),
            },
            None => return line(StatusCode::BAD_REQUEST, "say to which node: ?node=NAME"),
        },
        Asked::Drain(node) if method == Method::POST => Change::Drain {
            node,
            by: by.clone(),
        },
        Asked::Drain(node) => Change::Undrain { node },
        Asked::Balance => return planned(subject.balance(Some(by)).await),
    };
    let done = subject.change(change.clone()).await;
    tracing::info!(
        by,
        ?change,
        ?done,
        "somebody with the cluster key asked for a change of the cluster"
    );
    match done {
        Ok(so) => line(StatusCode::OK, &so),
        Err(why) => line(StatusCode::CONFLICT, &why),
    }
}

fn line(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, format!("{why}\n"))
}

fn planned(plan: Result<BalancePlan, String>) -> Response<Full<Bytes>> {
    match plan {
        Ok(plan) => json(&plan),
        Err(why) => line(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// The value of a parameter of the query.
fn named<'r, B>(request: &'r Request<B>, name: &str) -> Option<&'r str> {
    parameter(request.uri().query()?, name)
}

/// Who asks; `None` when that is no name.
pub(super) fn asked_by<B>(request: &Request<B>) -> Option<String> {
    named(request, "by").map_or_else(|| Some("somebody".to_owned()), is_name)
}

/// A name that may stand in a log line, if it is one.
fn is_name(text: &str) -> Option<String> {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b':' | b'-');
    ((1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(good)).then(|| text.to_owned())
}

/// What a person calls themselves, in the form that the port takes.
#[must_use]
pub(crate) fn as_name(text: &str) -> String {
    let good = |letter: char| {
        letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | ':' | '-')
    };
    let name: String = text
        .chars()
        .take(NAME_BYTES_MAX)
        .map(|letter| if good(letter) { letter } else { '_' })
        .collect();
    if name.is_empty() {
        "somebody".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_request_its_key_and_a_minute() {
        let [key, other] =
            [b'k', b'o'].map(|byte| ClusterKey::new(&[byte; 32]).expect("long enough"));
        let (now, path) = (1_700_000_000_000, "/shards/3/owner?node=node-2");
        let proof = proof_of(&key, &Method::POST, path, now);

        assert!(is_proven(&key, &Method::POST, path, &proof, now + 59_000));
        assert!(
            !is_proven(&key, &Method::POST, path, &proof, now + 61_000),
            "it is old"
        );
        assert!(!is_proven(&other, &Method::POST, path, &proof, now));
        assert!(!is_proven(
            &key,
            &Method::POST,
            "/shards/3/owner?node=node-1",
            &proof,
            now
        ));
        assert!(!is_proven(&key, &Method::DELETE, path, &proof, now));

        let named = proof_of(&key, &Method::POST, "/nodes/node-2/drain?by=anna", now);
        assert!(
            !is_proven(
                &key,
                &Method::POST,
                "/nodes/node-2/drain?by=otto",
                &named,
                now
            ),
            "who asks is proven too"
        );

        let later = proof.replacen("1700000000000", "1700000000001", 1);
        assert!(
            !is_proven(&key, &Method::POST, path, &later, now),
            "its time is proven too"
        );

        for malformed in [
            "",
            ":",
            "1700000000000:",
            "1700000000000:zz",
            "1700000000000:ä",
            "x:00",
        ] {
            assert!(
                !is_proven(&key, &Method::POST, path, malformed, now),
                "{malformed}"
            );
        }
    }

    #[test]
    fn paths_say_what_is_asked_and_names_are_fit_for_a_log_line() {
        let of = |path| asked(path).map(|asked| format!("{asked:?}"));
        assert_eq!(asked("/shards/12/owner"), Some(Asked::Owner(ShardId(12))));
        assert_eq!(
            asked("/nodes/node-2.a@b:c/drain"),
            Some(Asked::Drain(NodeId::from("node-2.a@b:c")))
        );
        assert_eq!(asked("/balance"), Some(Asked::Balance));

        for path in [
            "/shards/x/owner",
            "/nodes//drain",
            "/nodes/a/b/drain",
            "/nodes/a",
            "/balance/x",
            "/cluster",
        ] {
            assert_eq!(of(path), None, "{path}");
        }

        assert_eq!(is_name("anna@desk-1"), Some("anna@desk-1".to_owned()));
        for bad in ["", "anna otto", "anna%0a", &"a".repeat(129)] {
            assert_eq!(is_name(bad), None, "{bad}");
            assert!(is_name(&as_name(bad)).is_some(), "{bad}");
        }

        assert_eq!(as_name("Änna o\n"), "_nna_o_");
    }
}
