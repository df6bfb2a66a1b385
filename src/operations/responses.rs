//! Answers of the port: words, verdicts, JSON.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// What errors and verdicts are written in.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn refused(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut refused = response(
        StatusCode::METHOD_NOT_ALLOWED,
        TEXT,
        format!("only {}\n", allowed.replace(", ", " and ")),
    );
    refused
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    refused
}

pub(super) fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(body) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => response(
            StatusCode::INTERNAL_SERVER_ERROR,
            TEXT,
            format!("{error}\n"),
        ),
    }
}

pub(super) fn verdict(
    good: Result<(), String>,
    content_type: &'static str,
) -> Response<Full<Bytes>> {
    match good {
        Ok(()) => response(StatusCode::OK, content_type, "ok\n".to_owned()),
        Err(why) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            content_type,
            format!("{why}\n"),
        ),
    }
}

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
