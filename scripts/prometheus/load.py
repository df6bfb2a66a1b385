#!/usr/bin/env python3
"""A little of everything that clients do, until it is ended, so that every metric has something to count.

usage: load.py SECRET_FILE URL…    one URL for each router. Standard library only; no measurement: that is loadtest's.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import urllib.parse

CONVERSATIONS = [f"load-{i}" for i in range(6)]
USERS = [f"user-{i}" for i in range(6)]
TIMEOUT = 10


def token(secret, user):
    """A token of a user, HS256, good for an hour."""
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    claims = {"sub": user, "exp": int(time.time()) + 3600}
    signed = b".".join(part(json.dumps(piece).encode()) for piece in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


class Client:
    """REST of one user, over one kept connection."""

    def __init__(self, url, bearer):
        self.address = urllib.parse.urlsplit(url).netloc
        self.headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        self.connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)

    def ask(self, method, path, body=None):
        """Status and body of the answer; status 0 when there is none."""
        try:
            self.connection.request(method, "/v1" + path, None if body is None else json.dumps(body), self.headers)
            answer = self.connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError):
            self.connection.close()
            return 0, None


def open_socket(url, bearer, path="/v1/ws"):
    """A WebSocket, or the status of the refusal."""
    address = urllib.parse.urlsplit(url)
    sock = socket.create_connection((address.hostname, address.port), timeout=TIMEOUT)
    key = base64.b64encode(os.urandom(16)).decode()
    head = (f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {bearer}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
    sock.sendall(head.encode())
    stream = sock.makefile("rb")
    status = int(stream.readline().split()[1])
    while stream.readline() not in (b"\r\n", b""):
        pass
    if status != 101:
        sock.close()
        return None, status
    return (sock, stream), status


def send_frame(sock, opcode, payload):
    mask = os.urandom(4)
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    sock.sendall(bytes([0x80 | opcode]) + size + mask + body)


def read_frame(stream):
    first, second = stream.read(2)
    size = second & 0x7F
    if size > 125:
        size = struct.unpack("!H" if size == 126 else "!Q", stream.read(2 if size == 126 else 8))[0]
    return first & 0x0F, stream.read(size)


def listen(url, bearer):
    """One session after the other, each for a few seconds: says where it was, answers pings, sends, reads and reacts."""
    positions = {name: 1 for name in CONVERSATIONS} | {"not-mine": 1}
    while True:
        try:
            opened, _status = open_socket(url, bearer, "/v1/ws?resume=wait")
            if opened is None:
                time.sleep(0.2)
                continue
            converse(*opened, dict(positions), time.monotonic() + 5)
        except (OSError, ValueError, struct.error):
            time.sleep(0.2)


def converse(sock, stream, positions, until):
    say = lambda frame: send_frame(sock, 1, json.dumps(frame).encode())
    say({"t": "resume", "positions": positions})
    seen = 0
    while time.monotonic() < until:
        opcode, payload = read_frame(stream)
        if opcode == 9:
            send_frame(sock, 10, payload)
        elif opcode == 8:
            break
        elif opcode == 1:
            frame = json.loads(payload)
            seen += frame["t"] == "message"
            if frame["t"] == "message" and seen % 50 == 1:
                say({"t": "read", "message_id": frame["id"]})
                say({"t": "react", "message_id": frame["id"], "reaction": 128077})
                say({"t": "send", "conversation": frame["conversation"], "text": "over the socket"})
    sock.close()


def talk(url, bearer, number):
    """Sends, and now and then everything else; mistakes too."""
    client = Client(url, bearer)
    for turn in range(sys.maxsize):
        name = random.choice(CONVERSATIONS)
        status, message = client.ask("POST", f"/conversations/{name}/messages", {"text": f"message {turn}"})
        if status == 201 and turn % 5 == 0:
            at = f"/messages/{message['id']}"
            for path in (f"/conversations/{name}", f"/conversations/{name}/messages?limit=20", f"/conversations/{name}/events?after=1",
                         f"/conversations/{name}/watermarks", "/conversations", at, f"{at}/receipts", f"{at}/reactions"):
                client.ask("GET", path)
            client.ask("PUT", f"{at}/reaction", {"reaction": 10084})
            client.ask("DELETE", f"{at}/reaction")
            client.ask("POST", f"{at}/read")
        if turn % 20 == 0:
            mine = f"of-{number}-{turn}-{os.getpid()}"
            client.ask("POST", "/conversations", {"name": mine, "participants": USERS})
            client.ask("POST", f"/conversations/{mine}/participants", {"participants": ["guest"]})
            client.ask("DELETE", f"/conversations/{mine}/participants/guest")
            client.ask("GET", "/conversations/not-mine")
            client.ask("POST", f"/conversations/{name}/messages", {"text": ""})
            client.ask("GET", "/no-such-path")
            Client(url, bearer + "x").ask("GET", "/conversations")
            try:
                open_socket(url, bearer + "x")
            except (OSError, ValueError, IndexError):
                pass
        time.sleep(0.02)


def main():
    with open(sys.argv[1], "rb") as file:
        secret = file.read()
    urls = sys.argv[2:]
    first = Client(urls[0], token(secret, USERS[0]))
    for name in CONVERSATIONS:
        status, answer = first.ask("POST", "/conversations", {"name": name, "participants": USERS})
        if status not in (201, 409):
            sys.exit(f"load: conversation {name}: {status} {answer}")
    for i, user in enumerate(USERS):
        bearer = token(secret, user)
        # Sender and listener of a user at different routers, where there are several.
        threading.Thread(target=listen, args=(urls[i % len(urls)], bearer), daemon=True).start()
        if i % 2 == 0:
            threading.Thread(target=talk, args=(urls[(i // 2 + 1) % len(urls)], bearer, i), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
