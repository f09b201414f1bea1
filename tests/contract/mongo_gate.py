"""A door before a real MongoDB server, which lets commands through or answers them itself; with TLS if wanted.

    with MongoGate("mongodb://127.0.0.1:17017") as gate:
        gate.rule = lambda command: {"ok": 0, "code": 10107, "errmsg": "not primary"} if "insert" in command else None

It knows the wire protocol's messages (OP_MSG and OP_QUERY) as far as to see which command comes.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import bson

OP_MSG: Final = 2013
MORE_TO_COME: Final = 2

Command = dict[str, Any]


class MongoGate:
    """`rule` gives the reply to a command, or None to let it through; `names` are the commands that came."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.rule: Callable[[Command], Command | None] = lambda _: None
        self.names: list[str] = []
        self._server = (parts.hostname or "127.0.0.1", parts.port or 27017)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """By turns, as the protocol has it."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as closed:
            if self._context is not None:
                client = closed.enter_context(self._context.wrap_socket(client, server_side=True))
            server = closed.enter_context(socket.create_connection(self._server))
            while message := _read(client):
                command = _command(message)
                self.names += list(command)[:1]
                reply = self.rule(command)
                if reply is not None:
                    client.sendall(_message(message, reply))
                    continue
                server.sendall(message)
                while answer := _read(server):
                    client.sendall(answer)
                    if not _more_to_come(answer):
                        break


def _read(source: socket.socket) -> bytes:
    """One message; nothing at the end of the connection."""
    message = b""
    length = 16
    while len(message) < length:
        part = source.recv(length - len(message))
        if not part:
            return b""
        message += part
        if len(message) == 16:
            (length,) = struct.unpack_from("<i", message)
    return message


def _command(message: bytes) -> Command:
    """The command's document, without the documents that follow it."""
    (operation,) = struct.unpack_from("<i", message, 12)
    if operation != OP_MSG or message[20] != 0:
        return {}
    (length,) = struct.unpack_from("<i", message, 21)
    return dict(bson.decode(message[21 : 21 + length]))


def _message(asked: bytes, reply: Command) -> bytes:
    document = bson.encode(reply)
    (number,) = struct.unpack_from("<i", asked, 4)
    return struct.pack("<iiiiiB", 21 + len(document), 0, number, OP_MSG, 0, 0) + document


def _more_to_come(answer: bytes) -> bool:
    operation, flags = struct.unpack_from("<ii", answer, 12)
    return bool(operation == OP_MSG and flags & MORE_TO_COME)
