"""A server that speaks RethinkDB's wire protocol, on 127.0.0.1 and a port of its own.

No package ships RethinkDB's server. This one knows the terms that the backend sends and is held to the recorded
replies of a real 2.4.4 (`transcript.json`, `test_standin.py`). It has one user, `admin`, whose password may be empty.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import socketserver
import ssl
import struct
import threading
from typing import Any, Self

from tests.rethinkdb.admin import Store
from tests.rethinkdb.data import Failure, Grouped, Stream, Table, shown
from tests.rethinkdb.reql import Evaluation, items

MAGIC = 0x34C2BDC3
BATCH = 500
GREETING = {
    "max_protocol_version": 0,
    "min_protocol_version": 0,
    "server_version": "2.4.4-10-g8de19b-dirty",
    "success": True,
}


class StandIn:
    """`with StandIn() as server: … server.port`. What it stores outlives `stop` and `start`."""

    def __init__(self, password: str = "", context: ssl.SSLContext | None = None) -> None:
        self.store = Store()
        self.password = password
        self.context = context
        self.lock = threading.Lock()
        self.sockets: set[socket.socket] = set()
        self.port = 0
        self._server: socketserver.ThreadingTCPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            standin = self

        self._server = Server(("127.0.0.1", self.port), Conversation)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As kill -9 does: no connection is left."""
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self.sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed by then

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, query: list[Any], rest: list[Any]) -> dict[str, Any]:
        """The reply to a START. Of a long stream the rest is left in `rest`."""
        options = {key: part for key, part in (query[2] if len(query) > 2 else {}).items() if key != "db"}
        try:
            with self.lock:
                found = Evaluation(self.store, options).value(query[1], {})
                if isinstance(found, Grouped):
                    raise Failure(3_000_000, "a group must be ungrouped here")
                if isinstance(found, Table | Stream):
                    rest.extend(shown(items(found)))
                    return more(rest)
                return {"t": 1, "r": [shown(found)]}
        except Failure as failure:
            return {"t": 18, "e": failure.code, "r": [failure.message], "b": failure.where}


def more(rest: list[Any]) -> dict[str, Any]:
    """The next part of a stream."""
    part = rest[:BATCH]
    del rest[:BATCH]
    return {"t": 3 if rest else 2, "r": part, "n": []}


class Conversation(socketserver.BaseRequestHandler):
    """One connection."""

    server: Any

    def handle(self) -> None:
        self.standin: StandIn = self.server.standin
        self.standin.sockets.add(self.request)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.standin.context is not None:
            try:
                self.request = self.standin.context.wrap_socket(self.request, server_side=True)
            except OSError:  # the client did not like it, or had no certificate
                return
        self.file = self.request.makefile("rb")
        try:
            if self.greeted():
                while self.served():
                    pass
            self.file.read()  # the client hangs up first
        except (ConnectionError, EOFError, ValueError, OSError):
            return
        finally:
            self.standin.sockets.discard(self.request)
            self.file.close()
            if self.standin.context is not None:
                self.request.close()

    def greeted(self) -> bool:
        """SCRAM-SHA-256. An unknown user hears of it only at the end, as from a real server."""
        if struct.unpack("<L", self.exactly(4))[0] != MAGIC:
            self.request.sendall(b"ERROR: Received an unsupported protocol version.\n\0")
            return False
        first = self.said()["authentication"].removeprefix("n,,")
        self.say(GREETING)
        fields = dict(part.split("=", 1) for part in first.split(","))
        salt, nonce = os.urandom(16), fields["r"] + base64.b64encode(os.urandom(18)).decode()
        rounds = 4096 if self.standin.password or fields["n"] != "admin" else 1
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={rounds}"
        self.say({"authentication": challenge, "success": True})
        final = self.said()["authentication"]
        proof = base64.b64decode(final.partition(",p=")[2])
        if fields["n"] != "admin":
            self.say({"error": "Unknown user", "error_code": 17, "success": False})
            return False
        salted = hashlib.pbkdf2_hmac("sha256", self.standin.password.encode(), salt, rounds)
        message = f"{first},{challenge},{final.partition(',p=')[0]}".encode()
        client_key = _mac(salted, b"Client Key")
        signature = _mac(hashlib.sha256(client_key).digest(), message)
        if bytes(a ^ b for a, b in zip(client_key, signature, strict=True)) != proof:
            self.say({"error": "Wrong password", "error_code": 12, "success": False})
            return False
        verified = base64.b64encode(_mac(_mac(salted, b"Server Key"), message)).decode()
        self.say({"authentication": f"v={verified}", "success": True})
        return True

    def served(self) -> bool:
        header = self.file.read(12)
        if len(header) < 12:
            return False
        token, length = struct.unpack("<QL", header)
        query = json.loads(self.exactly(length))
        streams = self.__dict__.setdefault("streams", {})
        if query[0] == 1:
            rest: list[Any] = []
            reply = self.standin.answer(query, rest)
            if rest:
                streams[token] = rest
        elif query[0] == 4:
            reply = {"t": 4, "r": []}
        elif token not in streams:
            reply = {"t": 16, "r": [f"Token {token} not in stream cache."], "b": []}
        else:
            reply = more(streams[token] if query[0] == 2 else [])
            if reply["t"] == 2:
                del streams[token]
        data = json.dumps(reply, ensure_ascii=False).encode()
        self.request.sendall(struct.pack("<QL", token, len(data)) + data)
        return True

    def exactly(self, length: int) -> bytes:
        data: bytes = self.file.read(length)
        if len(data) < length:
            raise EOFError
        return data

    def said(self) -> Any:
        message = bytearray()
        while (sign := self.exactly(1)) != b"\0":
            message += sign
        return json.loads(message)

    def say(self, message: Any) -> None:
        self.request.sendall(json.dumps(message).encode() + b"\0")


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
