//! `/shards/{shard}/audit?part=PART&after=WHERE`: whether what is kept in several places says the
//! same (ADR 25), one page of one shard; `GET` looks, `POST` mends too, for whoever proves to hold
//! the cluster key.
//!
//! Any process with a node in it can be asked: it asks the owners.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::ids::ShardId;
use crate::node::Node;
use crate::node::audit::{AuditOrder, AuditPart};
use crate::operations::asked::{parameter, shard_in};
use crate::operations::control;
use crate::operations::responses::{TEXT, json, refused, response};
use crate::operations::subject::{Auditing, Subject};

/// A step lasts at most so long: less than whoever asks waits.
const STEP_WITHIN: Duration = Duration::from_secs(15);

/// Takes a step by way of this node.
#[must_use]
pub(crate) fn ask_of(node: Option<Arc<Node>>, shard: ShardId, order: AuditOrder) -> Auditing {
    let asked = async move {
        let node = node.ok_or("this node has not begun yet")?;
        let deadline = Instant::now() + STEP_WITHIN;
        node.audit().step(shard, &order, deadline).await
    };
    asked.boxed()
}

/// The path and query of a step.
#[must_use]
pub(crate) fn audit_path(shard: u16, part: AuditPart, after: Option<&str>) -> String {
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    format!("/shards/{shard}/audit?part={}{after}", part.as_str())
}

/// The shard that a request is about, if it is about an audit of one.
pub(super) fn shard_asked(path: &str) -> Option<ShardId> {
    shard_in(path, "audit")
}

/// What a query asks for.
fn order_in(query: &str, repair: bool) -> Option<AuditOrder> {
    let word = parameter(query, "part")?;
    Some(AuditOrder {
        part: AuditPart::ALL
            .into_iter()
            .find(|part| part.as_str() == word)?,
        after: parameter(query, "after").map(str::to_owned),
        repair,
    })
}

/// Takes the step that a request asks for; one that mends must prove the key.
pub(super) async fn serve<B>(
    subject: &Arc<dyn Subject>,
    request: &Request<B>,
    shard: ShardId,
) -> Response<Full<Bytes>> {
    let repair = match *request.method() {
        Method::GET => false,
        Method::POST => true,
        _ => return refused("GET, POST"),
    };
    if repair && !control::proves(subject, request) {
        let why = "this changes lists and memory: the request must prove the cluster key, as `rookery check --repair` \
                   does; the clocks of both machines must agree to a minute\n";
        return response(StatusCode::UNAUTHORIZED, TEXT, why.to_owned());
    }
    let by = control::asked_by(request);
    let order = order_in(request.uri().query().unwrap_or_default(), repair);
    let (Some(order), Some(by)) = (order, by) else {
        let why = "say what to compare, ?part=shard, members or lists, and by=NAME of at most 128 of A-Z a-z 0-9 . _ @ : -\n";
        return response(StatusCode::BAD_REQUEST, TEXT, why.to_owned());
    };

    let told = subject.audit(shard, order.clone()).await;
    if let Ok(page) = &told
        && repair
        && !page.differing.is_empty()
    {
        let mended = page.differing.iter().filter(|one| one.mended).count();
        tracing::warn!(
            by, %shard, part = order.part.as_str(), differing = page.differing.len(), mended,
            "somebody with the cluster key had what differs mended"
        );
    }
    match told {
        Ok(page) => json(&page),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_understood() {
        for (part, after) in [
            (AuditPart::Shard, None),
            (AuditPart::Members, Some("a|b+c@d,general")),
        ] {
            let asked = audit_path(7, part, after);
            let uri: http::Uri = asked.parse().expect("a path");
            assert_eq!(shard_asked(uri.path()), Some(ShardId(7)));
            let expected = AuditOrder {
                part,
                after: after.map(str::to_owned),
                repair: true,
            };
            assert_eq!(
                order_in(uri.query().expect("a query"), true),
                Some(expected)
            );
        }
        for malformed in ["", "part=", "part=all", "after=x"] {
            assert_eq!(order_in(malformed, false), None, "{malformed}");
        }
        assert_eq!(shard_asked("/shards/x/audit"), None);
    }
}
