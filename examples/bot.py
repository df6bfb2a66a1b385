"""A bot that answers each message of its conversations, once, whatever fails meanwhile.

    pip install websockets
    export ROOKERY_TOKEN=$(target/release/rookery token bob)
    python3 examples/bot.py

The key of an answer is made of the message that it answers: when the bot, the connection or the
server ends before the answer is acknowledged, it is sent again, and is there once. The bot goes on
behind what it saw last; what it must not forget when it is itself started anew, it would keep on a
disk.
"""

import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

URL = os.environ.get("ROOKERY_URL", "http://127.0.0.1:8082")
TOKEN = os.environ["ROOKERY_TOKEN"]
PAUSE_S = 1.0


class Bot:
    """What the bot has seen, and what it has still to say."""

    def __init__(self) -> None:
        self.user = ""
        self.positions: dict[str, int] = {}
        self.unacknowledged: dict[str, dict] = {}

    def talk(self) -> float:
        """Talks over one connection. Returns how many seconds to wait before the next one."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = URL.replace("http", "ws", 1) + "/v1/ws?resume=wait"
        with connect(url, additional_headers=headers) as socket:
            socket.send(json.dumps({"t": "resume", "positions": self.positions}))
            for answer in self.unacknowledged.values():
                socket.send(json.dumps(answer))
            for text in socket:
                frame = json.loads(text)
                if frame["t"] == "reconnect":
                    return frame["after_ms"] / 1000
                self.hear(socket, frame)
        return PAUSE_S

    def hear(self, socket: ClientConnection, frame: dict) -> None:
        """Takes a frame in. Frames that a newer server may send are passed over."""
        match frame["t"]:
            case "hello":
                self.user = frame["user"]
            case "ready":
                print("listening", flush=True)
            case "message":
                self.positions[frame["conversation"]] = frame["seq"]
                if frame["source"] != self.user:
                    self.answer(socket, frame)
            case "event":
                self.positions[frame["conversation"]] = frame["seq"]
            case "gap":
                self.positions[frame["conversation"]] = frame["to"]
            case "live":
                self.positions.update(frame["positions"])
            case "ok":
                self.unacknowledged.pop(frame["ref"], None)
            case "error" if frame["problem"]["retryable"]:
                # The next connection sends it again.
                socket.close()
            case "error":
                self.unacknowledged.pop(frame.get("ref"), None)
                print(frame["problem"]["detail"], file=sys.stderr)

    def answer(self, socket: ClientConnection, message: dict) -> None:
        """Answers a message, as a reply to it."""
        key = f"answer-{message['id']}"
        answer = {
            "t": "send",
            "ref": key,
            "client_id": key,
            "conversation": message["conversation"],
            "text": f"You said: {message['text']}",
            "reply_to": message["id"],
        }
        self.unacknowledged[key] = answer
        socket.send(json.dumps(answer))


def main() -> None:
    bot = Bot()
    while True:
        try:
            pause = bot.talk()
        except (ConnectionClosed, OSError) as error:
            print(f"no connection: {error}", file=sys.stderr)
            pause = PAUSE_S
        time.sleep(pause)


if __name__ == "__main__":
    main()
