//! A request as the router tells of it: in the log, in metrics, in the headers of whatever answers
//! it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::time::Instant;

use crate::problem::{Code, Problem};
use crate::protocol::headers::request_id;
use crate::protocol::routes::{Endpoint, NO_ROUTE};
use crate::router::cors::{self, Origins};
use crate::router::headers;
use crate::router::hold::Unread;
use crate::router::route;
use crate::telemetry::{ROUTER_REQUEST_SECONDS, ROUTER_REQUESTS};

/// What is remembered of a request until it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    started: Instant,
    id: String,
    origin: Option<HeaderValue>,
    /// The template of its path, never the path.
    route: &'static str,
    method: Method,
}

impl Asked {
    pub(super) fn of(method: &Method, uri: &Uri, sent: &HeaderMap) -> Self {
        let endpoint = route::find(uri.path()).map(|route| route.endpoint);
        Self {
            started: Instant::now(),
            id: request_id(sent),
            origin: sent.get(header::ORIGIN).cloned(),
            route: endpoint.map_or(NO_ROUTE, Endpoint::template),
            method: method.clone(),
        }
    }

    /// The id that names it in answers and logs.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The answer to a request that the router refuses by itself. What a node refuses, the node
    /// logs.
    pub(super) fn refused(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let (status, code) = (refusal.problem.code.status(), refusal.problem.code.as_str());
        let (id, method, route) = (&self.id, &self.method, self.route);
        if status < 500 {
            tracing::debug!(id, %method, route, status, code, "request refused by the router");
        } else {
            tracing::info!(id, %method, route, status, code, "request refused by the router");
        }
        refusal.response(&self.id)
    }

    /// Completes the headers of an answer, whoever gave it, and counts it.
    pub(super) fn answered<B>(&self, mut response: Response<B>, origins: &Origins) -> Response<B> {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(headers::REQUEST_ID, id);
        }
        if response.status() == StatusCode::UPGRADE_REQUIRED {
            // They are said for one connection only, so those of the node's answer did not pass.
            headers::ask_websocket(response.headers_mut());
        }
        cors::apply(origins, self.origin.as_ref(), response.headers_mut());
        self.count(response.status(), self.started.elapsed());
        response
    }

    fn count(&self, status: StatusCode, elapsed: Duration) {
        let (route, verb) = (self.route, route::verb(&self.method));
        ROUTER_REQUESTS.add(
            1,
            &[
                ("route", route),
                ("method", verb),
                ("status", status.as_str()),
            ],
        );
        ROUTER_REQUEST_SECONDS.record(elapsed.as_secs_f64(), &[("route", route), ("method", verb)]);
    }
}

/// The router's own refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) allow: Option<&'static str>,
    /// Bytes of the request may be unread: the connection cannot go on.
    pub(super) close: bool,
}

impl Refusal {
    fn response(&self, request_id: &str) -> Response<Full<Bytes>> {
        let mut response = self.problem.response(request_id);
        if let Some(allow) = self.allow {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            allow: None,
            close: false,
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        let (problem, close) = match unread {
            Unread::Full => (
                Problem::unavailable(
                    "this router holds as many requests as it may; nothing was written",
                ),
                false,
            ),
            Unread::Late => (
                Problem::new(Code::Invalid, "the body was not received in time"),
                true,
            ),
            Unread::Broken => (
                Problem::new(Code::Invalid, "the body broke off or is malformed"),
                true,
            ),
        };
        Self {
            problem,
            allow: None,
            close,
        }
    }
}
