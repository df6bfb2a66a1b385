//! The way into a session: what a request must be, which token it brings, and the upgrade.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::auth::Identity;
use crate::connections::Noted;
use crate::ids::UserId;
use crate::node::session::Inner;
use crate::node::session::outbox::Session;
use crate::node::session::socket::{self, Admission};
use crate::problem::{CloseCode, Code, Problem};
use crate::protocol::routes::Endpoint;
use crate::protocol::upgrade as handshake;
use crate::telemetry;

/// The subprotocol that we speak.
const PROTOCOL: &str = "rookery.v1";
/// The subprotocol that carries a token, for browsers.
const BEARER_PROTOCOL: &str = "rookery.bearer.";
/// How long the switch from HTTP may take.
const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// See [`crate::node::session::accept`].
pub(super) fn accept<B>(inner: &Arc<Inner>, mut request: Request<B>, request_id: &str) -> Response<Full<Bytes>> {
    let mut user = None;
    let checked = match check(inner, &request, &mut user) {
        Ok(checked) => checked,
        Err(problem) => {
            if problem.code == Code::Unauthorized {
                telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
            }
            let (status, code, user) =
                (problem.code.status(), problem.code.as_str(), user.map(tracing::field::display));
            let route = Endpoint::WebSocket.template();
            tracing::debug!(id = request_id, route, status, code, user, "session refused");
            let mut response = problem.response(request_id);
            if problem.code == Code::MethodNotAllowed {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            return response;
        }
    };
    let (answer, upgraded) = match upgrade(&mut request) {
        Ok(done) => done,
        // What the check let through is an upgrade.
        Err(_) => return Problem::new(Code::UpgradeRequired, "open a WebSocket here").response(request_id),
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

/// Puts down who asks as soon as that is known.
fn check<B>(inner: &Inner, request: &Request<B>, asker: &mut Option<UserId>) -> Result<Checked, Problem> {
    if request.method() != Method::GET {
        return Err(Problem::new(Code::MethodNotAllowed, "open a WebSocket here, with GET"));
    }
    handshake::no_token_in_query(request.uri())?;
    let query = request.uri().query().unwrap_or_default();
    let parameters = query.split('&').filter(|part| !part.is_empty());
    let (identity, protocol) = token(inner, request.headers())?;
    *asker = identity.as_ref().map(|identity| identity.user.clone());
    let mut held = false;
    for part in parameters {
        if part != "resume=wait" {
            let detail = format!("the query parameter {part:?} is not known here; the only one is resume=wait");
            return Err(Problem::new(Code::Invalid, detail));
        }
        held = true;
    }
    handshake::check_handshake(request.headers())?;
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

async fn run(inner: Arc<Inner>, upgraded: UpgradeFut, checked: Checked, request_id: Arc<str>) {
    let upgraded = match tokio::time::timeout(UPGRADE_MAX, upgraded).await {
        Ok(Ok(socket)) => socket.into_inner().into_inner(),
        // The client went away between request and answer.
        Ok(Err(_)) | Err(_) => return,
    };
    let parts = match upgraded.downcast::<TokioIo<Noted<TcpStream>>>() {
        Ok(parts) => parts,
        Err(_) => {
            tracing::error!("a session was accepted on something that is no tcp stream");
            return;
        }
    };
    let stream = parts.io.into_inner().into_inner();
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
