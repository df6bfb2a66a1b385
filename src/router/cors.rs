//! Which web pages may use the API: answers preflights without a token and marks every answer,
//! errors included.
//!
//! Credentials are bearer tokens, never cookies, so this only decides which pages can *read*
//! answers in a browser.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// Headers that a page may send.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, X-Request-Id, Rookery-Consistency",
);
/// Headers of answers that a page may read.
const EXPOSE_HEADERS: HeaderValue =
    HeaderValue::from_static("Location, Retry-After, X-Request-Id, Rookery-Stale");
/// Seconds a browser may remember a preflight; browsers cap it themselves.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may use the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// None: no CORS headers at all.
    #[default]
    None,
    /// Any page of this machine, on any port: `localhost`, names below it, `127.0.0.1`, `[::1]`.
    Localhost,
    /// Exactly these, as browsers send them (`https://chat.example.com`).
    Listed(Arc<[String]>),
    /// Every page.
    Any,
}

impl Origins {
    /// Reads a comma-separated list; `*` alone means any origin, an empty list none.
    ///
    /// # Errors
    /// One line that names the entry that is no origin.
    pub fn parse(list: &str) -> Result<Self, String> {
        let entries: Vec<&str> = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        match entries.as_slice() {
            [] => Ok(Self::None),
            ["*"] => Ok(Self::Any),
            _ => entries
                .into_iter()
                .map(checked)
                .collect::<Result<Arc<[String]>, _>>()
                .map(Self::Listed),
        }
    }

    /// True when pages of this origin may read answers.
    #[must_use]
    pub fn admits(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Listed(list) => list
                .iter()
                .any(|listed| listed.eq_ignore_ascii_case(origin)),
            Self::Localhost => is_local(origin),
        }
    }

    fn admitted<'a>(&self, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
        origin.filter(|origin| origin.to_str().is_ok_and(|origin| self.admits(origin)))
    }
}

/// The answer to a preflight of an admitted origin; `None` for anything else, which then is a plain
/// OPTIONS.
#[must_use]
pub(crate) fn preflight<B: Default>(
    origins: &Origins,
    method: &Method,
    headers: &HeaderMap,
    allow: &'static str,
) -> Option<Response<B>> {
    let asked =
        method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asked || origins.admitted(headers.get(header::ORIGIN)).is_none() {
        return None;
    }
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(allow),
    );
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Some(response)
}

/// Marks an answer for the page that asked. `Vary` is set even where the origin is not admitted, so
/// that no cache gives the answer of one origin to another.
pub(crate) fn apply(origins: &Origins, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if *origins == Origins::None {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origins.admitted(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
    }
}

fn checked(entry: &str) -> Result<String, String> {
    let host = entry
        .strip_prefix("https://")
        .or_else(|| entry.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*', ' ']) => Ok(entry.to_owned()),
        _ => Err(format!(
            "'{entry}' is no origin: write it as https://host or http://host:port, without a path"
        )),
    }
}

fn is_local(origin: &str) -> bool {
    let Some(authority) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.to_ascii_lowercase();
    matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("POST"),
        );
        headers
    }

    #[test]
    fn localhost_is_any_port_of_this_machine_and_nothing_that_only_looks_like_it() {
        for good in [
            "http://localhost",
            "http://localhost:3000",
            "https://127.0.0.1:8443",
            "http://[::1]:80",
            "http://a.localhost:1",
        ] {
            assert!(Origins::Localhost.admits(good), "{good}");
        }
        for bad in [
            "http://localhost.evil.com",
            "http://evil.com",
            "http://evillocalhost",
            "null",
            "",
            "localhost",
            "http://localhost:80x",
            "http://localhost@evil.com",
        ] {
            assert!(!Origins::Localhost.admits(bad), "{bad}");
        }
    }

    #[test]
    fn a_list_admits_its_entries_only() {
        let origins = Origins::parse("https://a.example, http://b.example:8080").unwrap();
        assert!(origins.admits("https://a.example") && origins.admits("http://b.example:8080"));
        assert!(!origins.admits("http://a.example") && !origins.admits("https://a.example.evil"));
        assert_eq!(Origins::parse(""), Ok(Origins::None));
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
        assert!(
            Origins::parse("a.example").is_err()
                && Origins::parse("https://a.example/path").is_err()
        );
    }

    #[test]
    fn a_preflight_names_methods_and_headers_and_a_plain_options_is_none() {
        let headers = asking("http://localhost:5173");
        let answer: Response<String> =
            preflight(&Origins::Localhost, &Method::OPTIONS, &headers, "GET, POST")
                .expect("a preflight");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);

        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_ALLOW_METHODS],
            "GET, POST"
        );
        assert!(preflight::<String>(&Origins::Localhost, &Method::GET, &headers, "GET").is_none());
        assert!(
            preflight::<String>(
                &Origins::Localhost,
                &Method::OPTIONS,
                &HeaderMap::new(),
                "GET"
            )
            .is_none()
        );

        assert!(
            preflight::<String>(
                &Origins::Localhost,
                &Method::OPTIONS,
                &asking("http://evil"),
                "GET"
            )
            .is_none()
        );
    }

    #[test]
    fn an_answer_is_marked_for_an_admitted_origin_and_varies_for_all() {
        let origin = HeaderValue::from_static("http://localhost:5173");
        let mut headers = HeaderMap::new();
        apply(&Origins::Localhost, Some(&origin), &mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(headers[header::VARY], "Origin");

        let mut refused = HeaderMap::new();
        apply(
            &Origins::Localhost,
            Some(&HeaderValue::from_static("http://evil")),
            &mut refused,
        );

        assert!(
            !refused.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                && refused.contains_key(header::VARY)
        );

        let mut off = HeaderMap::new();
        apply(&Origins::None, Some(&origin), &mut off);
        assert!(off.is_empty());
    }
}
