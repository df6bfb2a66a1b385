"""Alice and bob talk: alice over REST with the client of openapi-python-client, bob over a WebSocket.

Needs ROOKERY_URL, TOKEN_ALICE and TOKEN_BOB. docs/api.md, under Clients, says how `rookery_client` is made.
"""

import json
import os
import uuid

from rookery_client import AuthenticatedClient
from rookery_client.api.conversations import create_conversation, send_message, show_conversation, show_history
from rookery_client.models import Code, Conversation, CreateBody, HistoryPage, Message, MessageFrame, OkFrame
from rookery_client.models import Problem, SendBody, SendFrame, SendFrameT
from websockets import Subprotocol
from websockets.sync.client import ClientConnection, connect

URL = os.environ["ROOKERY_URL"]
DEADLINE_S = 20


def session_of(token: str) -> connect:
    """Returns a WebSocket, to be opened by `with`, that has the token in its subprotocols, as a browser's has to."""
    protocols = [Subprotocol("rookery.v1"), Subprotocol(f"rookery.bearer.{token}")]
    return connect(URL.replace("http", "ws", 1) + "/v1/ws", subprotocols=protocols)


def next_frame(session: ClientConnection, kind: str) -> dict:
    """Returns the next frame of this kind. Others are skipped, those of a newer server among them."""
    while True:
        frame = json.loads(session.recv(timeout=DEADLINE_S))
        if frame["t"] == kind:
            return frame
        if frame["t"] == "error":
            raise RuntimeError(frame["problem"]["detail"])


def main() -> None:
    with AuthenticatedClient(base_url=URL, token=os.environ["TOKEN_ALICE"]) as alice:
        talk(alice)


def talk(alice: AuthenticatedClient) -> None:
    """Alice asks, bob answers, and alice reads both."""
    with session_of(os.environ["TOKEN_BOB"]) as bob:
        assert bob.subprotocol == "rookery.v1"
        # From here on whatever is committed arrives.
        next_frame(bob, "ready")

        conversation = create_conversation.sync(client=alice, body=CreateBody(participants=["bob"], title="Python"))
        assert isinstance(conversation, Conversation), conversation

        # Under a key of its own a send may be repeated after any error: there will be one message.
        key = str(uuid.uuid4())
        body = SendBody(text="noon?")
        sent = send_message.sync(conversation.name, client=alice, body=body, idempotency_key=key)
        again = send_message.sync(conversation.name, client=alice, body=body, idempotency_key=key)
        assert isinstance(sent, Message) and isinstance(again, Message) and sent.id == again.id

        received = MessageFrame.from_dict(next_frame(bob, "message"))
        assert (received.id, received.source, received.text) == (sent.id, "alice", "noon?")

        answer = SendFrame(t=SendFrameT.SEND, conversation=conversation.name, text="noon.", reply_to=sent.id, ref=1)
        bob.send(json.dumps(answer.to_dict()))
        assert OkFrame.from_dict(next_frame(bob, "ok")).ref == 1

    history = show_history.sync(conversation.name, client=alice)
    assert isinstance(history, HistoryPage), history
    assert [message.text for message in history.items] == ["noon.", "noon?"]
    assert history.items[0].reply_to == sent.id

    refused = show_conversation.sync_detailed("not-theirs", client=alice)
    assert refused.status_code == 403
    assert isinstance(refused.parsed, Problem) and refused.parsed.code is Code.NOT_PARTICIPANT
    print(f"seq {history.items[0].seq}: {history.items[0].text}")


if __name__ == "__main__":
    main()
