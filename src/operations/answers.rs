//! What is answered to a request, by its path.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::operations::control;
use crate::operations::digest;
use crate::operations::responses::{TEXT, json, refused, response, verdict};
use crate::operations::setup::Setup;
use crate::operations::{audit, backup};

/// Answers what has to be waited for, and all else.
pub(super) async fn answer_request(
    setup: &Setup,
    request: &Request<Incoming>,
    digests: &Semaphore,
) -> Response<Full<Bytes>> {
    let (method, path, query) = (
        request.method(),
        request.uri().path(),
        request.uri().query(),
    );
    if let Some((shard, node)) = digest::digest_asked(path, query) {
        return digest::with_digest(setup, method, (shard, node), digests).await;
    }
    if let Some(asked) = control::asked(path) {
        return control::answer(&setup.subject, request, asked).await;
    }

    if let Some(shard) = backup::shard_asked(path) {
        return backup::serve(&setup.subject, request, shard).await;
    }
    if let Some(shard) = audit::shard_asked(path) {
        return audit::serve(&setup.subject, request, shard).await;
    }
    if path == "/cluster" && query == Some("whole") && method == Method::GET {
        return json(&setup.subject.whole().await);
    }

    answer(setup, method, path)
}

fn answer(setup: &Setup, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(path, "/metrics" | "/livez" | "/readyz" | "/cluster") {
        return response(
            StatusCode::NOT_FOUND,
            TEXT,
            "there is nothing at this path\n".to_owned(),
        );
    }

    if method != Method::GET && method != Method::HEAD {
        return refused("GET, HEAD");
    }
    match path {
        "/metrics" => {
            metrics_process::Collector::default().collect();
            response(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                setup.metrics.render(),
            )
        }
        "/livez" => verdict(setup.watchdog.check(), TEXT),
        "/readyz" => match setup.subject.ready() {
            Ok(()) => {
                let lines = std::iter::once("ok".to_owned()).chain(setup.subject.refused());
                response(
                    StatusCode::OK,
                    TEXT,
                    lines.map(|line| format!("{line}\n")).collect(),
                )
            }
            Err(why) => verdict(Err(why), TEXT),
        },
        _ => json(&setup.subject.cluster()),
    }
}
