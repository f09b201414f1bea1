"""The stand-in answers as the real server did, query by query, over TCP."""

from __future__ import annotations

import copy
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rethinkdb import RethinkDB
from rethinkdb.errors import ReqlAuthError
from tests.rethinkdb.standin import StandIn

TRANSCRIPT = json.loads((Path(__file__).parent / "transcript.json").read_text())

TOO_LONG = [1, [56, [[15, [[14, ["ts"]], "records"]], [2, [{"id": n} for n in range(200_001)]]]], {}]

GENERATED: dict[str, list[tuple[Any, ...]]] = {
    "db_create": [("r", 0, "config_changes", 0, "new_val", "id")],
    "table_create": [("r", 0, "config_changes", 0, "new_val", "id")],
    "insert no id": [("r", 0, "generated_keys", 0)],
    # The function, compiled and in JavaScript's words.
    "index_wait": [("r", 0, 0, "function", "data"), ("r", 0, 0, "query")],
    # Which of ten documents is named first is up to the real server's order of work; the text's form is compared below.
    "insert again, conflict=error": [("r", 0, "first_error")],
}
"""All that is not compared: step by step, the places of what cannot be equal. Tokens are of the connection's own."""


def exchanges() -> list[tuple[str, Any, Any]]:
    """Step, query and reply; the handshakes apart. A CONTINUE and the query after it were sent before the replies."""
    waiting: list[tuple[str, Any]] = []
    found = []
    for entry in TRANSCRIPT:
        if entry["step"] == "handshake":
            continue
        if entry["from"] == "client":
            waiting.append((entry["step"], entry["json"]))
        else:
            step, query = waiting.pop(0)
            found.append((step, query, entry["json"]))
    assert not waiting
    return found


class Client:
    """Sends the recorded queries as they are."""

    def __init__(self, port: int) -> None:
        connection = RethinkDB().connect("127.0.0.1", port)
        self.socket: socket.socket = connection._instance._socket._socket
        self.connection = connection

    def ask(self, token: int, query: Any) -> Any:
        data = json.dumps(query).encode()
        self.socket.settimeout(30)
        self.socket.sendall(struct.pack("<QL", token, len(data)) + data)
        answered, length = struct.unpack("<QL", self.read(12))
        assert answered == token
        return json.loads(self.read(length))

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            assert part, "the stand-in hung up"
            data += part
        return data


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def without(reply: Any, places: list[tuple[Any, ...]]) -> Any:
    reply = copy.deepcopy(reply)
    for *way, last in places:
        holder = reply
        for step in way:
            holder = holder[step]
        assert holder[last], "what is left out must be there"
        holder[last] = "…"
    return reply


def test_every_recorded_query_is_answered_as_recorded(server: StandIn) -> None:
    server.store.databases["p"] = {}  # was there when the replies were recorded
    client = Client(server.port)
    compared = 0
    for token, (step, query, recorded) in enumerate(exchanges(), 1):
        reply = client.ask(token, TOO_LONG if query == "left out: too long" else query)
        wanted = recorded
        if query == [2]:  # the message names the token, which is the connection's own
            wanted = {**recorded, "r": [f"Token {token} not in stream cache."]}
        places = GENERATED.get(step, [])
        assert without(reply, places) == without(wanted, places), step
        compared += 1
    assert compared == sum(e["from"] == "server" and e["step"] != "handshake" for e in TRANSCRIPT) == 43
    client.connection.close(noreply_wait=False)


def test_a_duplicates_message_has_the_recorded_form(server: StandIn) -> None:
    client = Client(server.port)
    replies = {}
    for token, (step, query, recorded) in enumerate(exchanges(), 1):
        if step in ("db_create", "table_create", "insert soft"):
            client.ask(token, query)
        elif step == "insert again, conflict=error":
            for document in query[1][1][1][1]:
                one = copy.deepcopy(query)
                one[1][1][1][1] = [document]
                replies[document["id"]] = client.ask(token, one)["r"][0]["first_error"]
            assert replies["seg-3"] == recorded["r"][0]["first_error"]
    assert len(replies) == 10
    client.connection.close(noreply_wait=False)


def test_an_unknown_user_and_a_wrong_password_are_refused() -> None:
    with StandIn(password="right") as server:
        r = RethinkDB()
        r.connect("127.0.0.1", server.port, password="right").close()
        with pytest.raises(ReqlAuthError, match="Unknown user"):
            r.connect("127.0.0.1", server.port, user="bob", password="right")
        with pytest.raises(ReqlAuthError, match="Wrong password"):
            r.connect("127.0.0.1", server.port, password="wrong")


def test_the_handshakes_replies_have_the_recorded_fields(server: StandIn) -> None:
    recorded = [entry["json"] for entry in TRANSCRIPT if entry["step"] == "handshake" and entry["from"] == "server"]
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        first = next(e["json"] for e in TRANSCRIPT if e["from"] == "client" and "authentication" in e["json"])
        connection.sendall(struct.pack("<L", 0x34C2BDC3) + json.dumps(first).encode() + b"\0")
        replies = b""
        while replies.count(b"\0") < 2:
            replies += connection.recv(4096)
    greeting, challenge = (json.loads(part) for part in replies.split(b"\0")[:2])
    assert greeting == recorded[0]
    assert challenge.keys() == recorded[1].keys()
    fields, wanted = (
        dict(part.split("=", 1) for part in reply["authentication"].split(",")) for reply in (challenge, recorded[1])
    )
    assert fields.keys() == wanted.keys()
    assert fields["i"] == wanted["i"] == "1"
    sent = first["authentication"].rpartition("r=")[2]
    assert fields["r"].startswith(sent)
    assert wanted["r"].startswith(sent)


def test_a_long_stream_comes_in_parts(server: StandIn) -> None:
    r = RethinkDB()
    with r.connect("127.0.0.1", server.port) as connection:
        r.db("test").table_create("many").run(connection)
        r.db("test").table("many").insert([{"id": n} for n in range(2_345)]).run(connection)
        assert sorted(row["id"] for row in r.db("test").table("many").run(connection)) == list(range(2_345))
