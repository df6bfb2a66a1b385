//! The way into a session: what a request must be, which token it brings, and the upgrade.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::auth::Identity;
use crate::ids::UserId;
use crate::node::session::Inner;
use crate::node::session::outbox::Session;
use crate::node::session::socket::{self, Admission};
use crate::problem::{CloseCode, Code, Problem};
use crate::telemetry;

/// The subprotocol that we speak.
const PROTOCOL: &str = "rookery.v1";
/// The subprotocol that carries a token, for browsers.
const BEARER_PROTOCOL: &str = "rookery.bearer.";
/// Query parameters by which clients elsewhere send tokens.
const TOKEN_PARAMETERS: [&str; 3] = ["token", "access_token", "jwt"];
/// How long the switch from HTTP may take.
const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// See [`crate::node::session::accept`].
pub(super) fn accept<B>(inner: &Arc<Inner>, mut request: Request<B>, request_id: &str) -> Response<Full<Bytes>> {
    let checked = match check(inner, &request) {
        Ok(checked) => checked,
        Err(problem) => {
            if problem.code == Code::Unauthorized {
                telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
            }
            let (status, code) = (problem.code.status(), problem.code);
            tracing::info!(id = request_id, status, ?code, "socket refused");
            let mut response = problem.response(request_id);
            if problem.code == Code::MethodNotAllowed {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            return response;
        }
    };
    let (answer, upgraded) = match upgrade(&mut request) {
        Ok(done) => done,
        Err(_) => return not_an_upgrade().response(request_id),
    };
    let mut response = answer.map(|_empty| Full::default());
    if checked.protocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    let stop = inner.stop.clone();
    let run = run(Arc::clone(inner), upgraded, checked, Arc::from(request_id));
    inner.sockets.spawn(async move { stop.run_until_cancelled(run).await });
    response
}

/// A request that may be upgraded.
struct Checked {
    /// Who; none when the token of the subprotocol is bad.
    identity: Option<Identity>,
    /// The client offered our subprotocol.
    protocol: bool,
    /// `resume=wait`.
    held: bool,
}

fn check<B>(inner: &Inner, request: &Request<B>) -> Result<Checked, Problem> {
    if request.method() != Method::GET {
        return Err(Problem::new(Code::MethodNotAllowed, "open a WebSocket here, with GET"));
    }
    let query = request.uri().query().unwrap_or_default();
    let parameters: Vec<_> = query.split('&').filter(|part| !part.is_empty()).collect();
    let name = |part: &str| part.split('=').next().unwrap_or_default().to_ascii_lowercase();
    if parameters.iter().any(|part| TOKEN_PARAMETERS.contains(&name(part).as_str())) {
        return Err(Problem::new(
            Code::Invalid,
            "a token in the query lands in logs: send it in Authorization, or in the subprotocol rookery.bearer.<JWT>",
        ));
    }
    let (identity, protocol) = token(inner, request.headers())?;
    let mut held = false;
    for part in parameters {
        if part != "resume=wait" {
            return Err(Problem::new(Code::Invalid, "the only query parameter here is resume=wait"));
        }
        held = true;
    }
    let key = request.headers().get("sec-websocket-key");
    let version = request.headers().get("sec-websocket-version").map(HeaderValue::as_bytes);
    if !is_upgrade_request(request) || key.is_none() || version != Some(b"13") {
        return Err(not_an_upgrade());
    }
    Ok(Checked { identity, protocol, held })
}

/// The token of the header decides; without one, that of the subprotocol.
fn token(inner: &Inner, headers: &HeaderMap) -> Result<(Option<Identity>, bool), Problem> {
    let offered: Vec<_> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let protocol = offered.contains(&PROTOCOL);
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err(Problem::new(Code::Unauthorized, "send Authorization: Bearer <JWT>"));
        };
        return match (inner.verify)(token.trim()) {
            Ok(identity) => Ok((Some(identity), protocol)),
            Err(refused) => Err(Problem::new(Code::Unauthorized, refused.0)),
        };
    }
    match offered.iter().find_map(|offer| offer.strip_prefix(BEARER_PROTOCOL)) {
        Some(token) => Ok(((inner.verify)(token).ok(), protocol)),
        None => Err(Problem::new(
            Code::Unauthorized,
            "send Authorization: Bearer <JWT>, or the subprotocols rookery.v1, rookery.bearer.<JWT>",
        )),
    }
}

fn not_an_upgrade() -> Problem {
    Problem::new(
        Code::Invalid,
        "this is a WebSocket: send Connection: Upgrade, Upgrade: websocket, Sec-WebSocket-Version: 13 and a key",
    )
}

async fn run(inner: Arc<Inner>, upgraded: UpgradeFut, checked: Checked, request_id: Arc<str>) {
    let upgraded = match tokio::time::timeout(UPGRADE_MAX, upgraded).await {
        Ok(Ok(socket)) => socket.into_inner().into_inner(),
        // The client went away between request and answer.
        Ok(Err(_)) | Err(_) => return,
    };
    let parts = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => parts,
        Err(_) => {
            tracing::error!("a session was accepted on something that is no tcp stream");
            return;
        }
    };
    let stream = parts.io.into_inner();
    let outbox_max = inner.config.outbox_bytes_max;
    match checked.identity {
        Some(Identity { user, expires }) => {
            let session = Arc::new(Session::new(user, request_id, expires, outbox_max));
            let admitted = inner.admit(&session, checked.held);
            let admission = admitted.map_or_else(Admission::Refused, |()| Admission::Admitted { held: checked.held });
            socket::serve(&inner, stream, parts.read_buf, session, admission).await;
        }
        None => {
            telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
            let Ok(nobody) = UserId::parse("-") else { return };
            let session = Arc::new(Session::new(nobody, request_id, u64::MAX, outbox_max));
            socket::serve(&inner, stream, parts.read_buf, session, Admission::Refused(CloseCode::Unauthorized)).await;
        }
    }
}
