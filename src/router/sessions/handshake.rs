//! How a request becomes a WebSocket: what is asked of the node, and the answer that switches
//! protocols. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;

use crate::link::front::attach::Attach;
use crate::link::front::{Authorization, Open};
use crate::protocol::upgrade;
use crate::router::headers;
use crate::router::sessions::Who;

/// The subprotocol that is spoken.
const PROTOCOL: &str = "rookery.v1";

/// What a node is asked for a client that sent this, beside what is of one attempt only.
pub(in crate::router) fn open(query: &str, sent: &HeaderMap, request_id: &str) -> Open {
    let offers = sent
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let authorization = match (
        sent.contains_key(header::AUTHORIZATION),
        headers::bearer(sent),
    ) {
        (false, _) => Authorization::None,
        (true, Some(token)) => Authorization::Bearer(token.to_owned()),
        (true, None) => Authorization::Malformed,
    };

    Open {
        session: 0,
        deadline_ms: 0,
        table_version: 0,
        table_age_ms: None,
        request_id: request_id.to_owned(),
        query: query.to_owned(),
        authorization,
        protocols: offers
            .flat_map(|value| value.split(','))
            .map(|offer| offer.trim().to_owned())
            .collect(),
        handshake: upgrade::check_handshake(sent).err(),
        follows: true,
        attach: None,
    }
}

/// What a node is asked that goes on with a session, beside what is of one attempt only.
pub(in crate::router) fn goes_on(who: &Who, attach: Attach) -> Open {
    Open {
        session: 0,
        deadline_ms: 0,
        table_version: 0,
        table_age_ms: None,
        request_id: who.request_id.to_string(),
        query: String::new(),
        authorization: Authorization::Bearer(who.token.to_string()),
        protocols: Vec::new(),
        handshake: None,
        follows: true,
        attach: Some(attach),
    }
}

/// The answer that switches protocols. None for a request that is no good handshake.
pub(in crate::router) fn switching(
    sent: &HeaderMap,
    protocol: bool,
) -> Option<Response<Full<Bytes>>> {
    let mut request = Request::new(());
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        let value = sent.get(&name)?.clone();
        request.headers_mut().insert(name, value);
    }

    // The connection is the original request's: this one only has what the answer is made of.
    let (answer, _nothing) = fastwebsockets::upgrade::upgrade(&mut request).ok()?;
    let mut answer = answer.map(|_empty| Full::default());
    headers::ask_websocket(answer.headers_mut());
    if protocol {
        answer.headers_mut().insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(PROTOCOL),
        );
    }

    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn sent(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_node_is_told_what_the_client_sent() {
        let asked = open(
            "resume=wait",
            &sent(&[
                ("sec-websocket-protocol", "rookery.v1,a"),
                ("sec-websocket-protocol", "b"),
            ]),
            "r",
        );
        assert_eq!(
            (asked.query.as_str(), asked.request_id.as_str()),
            ("resume=wait", "r")
        );
        assert_eq!(asked.protocols, ["rookery.v1", "a", "b"]);
        assert_eq!(asked.authorization, Authorization::None);
        assert_eq!(
            asked.handshake.map(|problem| problem.code),
            Some(Code::UpgradeRequired)
        );
        let of = |value| open("", &sent(&[("authorization", value)]), "r").authorization;
        assert_eq!(of("bearer  abc "), Authorization::Bearer("abc".to_owned()));
        assert_eq!(of("Basic abc"), Authorization::Malformed);
    }

    #[test]
    fn the_answer_is_that_of_the_standard() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let good = sent(&[key, ("sec-websocket-version", "13")]);
        let answer = switching(&good, true).expect("a handshake");
        assert_eq!(answer.status(), 101);

        // Of RFC 6455, section 1.3.
        assert_eq!(
            answer.headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(answer.headers()["sec-websocket-protocol"], "rookery.v1");
        assert!(
            !switching(&good, false)
                .expect("a handshake")
                .headers()
                .contains_key("sec-websocket-protocol")
        );
        assert!(switching(&sent(&[key]), false).is_none());
    }
}
