//! Where a request goes: to the node that owns a slot, or nowhere, because the router answers it.

use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use http_body_util::{Either, Full};

use crate::auth;
use crate::auth::UserClaim;
use crate::ids::Slot;
use crate::problem::{Code, Problem};
use crate::protocol::openapi;
use crate::protocol::routes::Endpoint;
use crate::protocol::upgrade;
use crate::router::asked::Refusal;
use crate::router::config::Config;
use crate::router::forward::AnswerBody;
use crate::router::route::Target;
use crate::router::{cors, headers, route};

/// Where a request goes, if anywhere.
pub(super) enum Placed {
    /// Nowhere: this is the answer.
    Here(Response<AnswerBody>),
    /// To the node that owns this slot.
    At(Endpoint, Slot),
}

/// Finds out where a request goes. The first checks of the client contract: path and method.
pub(super) fn place(
    config: &Config,
    method: &Method,
    uri: &Uri,
    sent: &HeaderMap,
) -> Result<Placed, Refusal> {
    let Some(route) = route::find(uri.path()) else {
        return Err(
            Problem::new(Code::NotFound, "no such path; the paths are in docs/api.md").into(),
        );
    };
    if let Some(response) = cors::preflight(&config.origins, method, sent, route.endpoint.allow()) {
        return Ok(Placed::Here(
            response.map(|()| AnswerBody::Left(Full::default())),
        ));
    }

    if route.endpoint.operation(method).is_none() {
        let problem = Problem::new(
            Code::MethodNotAllowed,
            "see the Allow header for the methods of this path",
        );
        return Err(Refusal {
            allow: Some(route.endpoint.allow()),
            ..Refusal::from(problem)
        });
    }

    let slot = match route.target {
        Target::Slot(slot) => slot,
        Target::Subject => {
            if route.endpoint == Endpoint::WebSocket {
                upgrade::no_token_in_query(uri.query().unwrap_or_default())?;
            }
            subject_slot(route.endpoint, sent, &config.user_claim)?
        }
        Target::Router => return Ok(Placed::Here(document(method, uri)?)),
    };
    Ok(Placed::At(route.endpoint, slot))
}

/// The slot of the user that the token names. A WebSocket whose token is in the subprotocols goes
/// to some node even with a bad one: the node upgrades and closes with 4401, because a browser
/// cannot see a 401.
fn subject_slot(endpoint: Endpoint, sent: &HeaderMap, claim: &UserClaim) -> Result<Slot, Problem> {
    let missing = || {
        Problem::new(
            Code::Unauthorized,
            "send a token as Authorization: Bearer <token>",
        )
    };
    if sent.contains_key(header::AUTHORIZATION) || endpoint != Endpoint::WebSocket {
        let token = headers::bearer(sent).ok_or_else(missing)?;
        let user = auth::claimed_user(token, claim);
        return user
            .map(|user| user.slot())
            .map_err(|refused| Problem::new(Code::Unauthorized, refused.0));
    }

    let token = headers::offered_bearer(sent).ok_or_else(missing)?;
    Ok(auth::claimed_user(token, claim)
        .map_or_else(|_| Slot::of(token.as_bytes()), |user| user.slot()))
}

/// The OpenAPI document, which is this program's own.
fn document(method: &Method, uri: &Uri) -> Result<Response<AnswerBody>, Problem> {
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Problem::new(
            Code::Invalid,
            "a query parameter is not known here",
        ));
    }

    let text = openapi::json();
    let length = HeaderValue::from(text.len());
    let body = if method == Method::HEAD {
        bytes::Bytes::new()
    } else {
        text
    };
    let mut response = Response::new(Either::Left(body.into()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );

    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
}
