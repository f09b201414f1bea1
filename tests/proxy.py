"""A TCP proxy that does to a connection what networks do: for tests of what a backend makes of it.

    with FaultProxy("127.0.0.1", 5432) as proxy:
        proxy.cut_next_reply()          # what is asked reaches the server; its answer never reaches the client
        connect_to("127.0.0.1", proxy.port)

Modes, which also take effect on connections that are already open:
- `pass`        bytes go through
- `black_hole`  connections are accepted, and nothing goes either way
- `trickle`     the server's answers come one byte a second
- `reset`       each connection is reset as soon as the client sends something
- `refuse`      nobody listens
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "black_hole", "trickle", "reset", "refuse"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


class FaultProxy:
    """`cuts` counts the replies that were cut since the proxy began."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self._to_cut = 0
        self.cuts = 0
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    @staticmethod
    def _listen(port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> Self:
        self._accept_in_background()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._listener)
        self._changed.set()
        self.drop_connections()

    # --- what the test decides ---

    def cut_next_reply(self) -> None:
        """Let the next request through, and close the connection when its answer begins to come."""
        with self._lock:
            self._to_cut += 1

    def spare_replies(self) -> None:
        """Take back the cuts that have not happened yet."""
        with self._lock:
            self._to_cut = 0

    def set_mode(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        self._changed.set()
        if mode == "refuse" and was != "refuse":
            _close(self._listener)
            self.drop_connections()
        elif was == "refuse" and mode != "refuse":
            self._listener = self._listen(self.port)
            self._accept_in_background()

    def drop_connections(self) -> None:
        with self._lock:
            dropped, self._sockets = self._sockets, set()
        for one in dropped:
            _close(one)

    # --- the wires ---

    def _accept_in_background(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket()
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._connect, args=(client, server), daemon=True).start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        try:
            server.connect(self._target)
        except OSError:
            self._end(client, server)
            return
        threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
        self._carry(server, client, True)

    def _carry(self, source: socket.socket, target: socket.socket, reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self._mode == "black_hole":
                    self._changed.clear()
                    self._changed.wait(1)
                if self._mode == "reset" and not reply:
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    break
                if reply and self._cut():
                    break
                if reply and self._mode == "trickle":
                    self._trickle(target, data)
                else:
                    target.sendall(data)
        self._end(source, target)

    def _cut(self) -> bool:
        with self._lock:
            if not self._to_cut:
                return False
            self._to_cut -= 1
            self.cuts += 1
            return True

    def _trickle(self, target: socket.socket, data: bytes) -> None:
        for index in range(len(data)):
            target.sendall(data[index : index + 1])
            self._changed.clear()
            self._changed.wait(1)
            if self._mode != "trickle":
                target.sendall(data[index + 1 :])
                return

    def _end(self, *ends: socket.socket) -> None:
        with self._lock:
            self._sockets -= set(ends)
        for one in ends:
            _close(one)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes whoever waits on it in another thread
    one.close()
