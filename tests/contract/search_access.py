"""How a search backend gets to its server, and what it never shows on the way: for both engines.

The real server stands behind `http_gate.py`, which asks for passwords or speaks TLS.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.http_gate import HttpGate, Reply, Request
from tests.contract.search import OfSearch, new_index, refresh, remove
from tests.services import service

from tallystick.backends.base import ACCEPTED
from tallystick.backends.search.backend import SearchBackend
from tallystick.errors import Misconfigured, MissingExtra, SettingsError, Unavailable
from tallystick.plugins import backend_from_url
from tallystick.queries import Query
from tallystick.testing import counters, make_batch

SECRET = "correct-horse-battery"
JSON = {"Content-Type": "application/json"}


class SearchBehindAGate(OfSearch):
    def url(self, port: int, index: str, *, user: str = "", tls: bool = False, query: str = "") -> str:
        scheme = self.kind.scheme + ("+https" if tls else "")
        return f"{scheme}://{user}127.0.0.1:{port}/{index}{query}"

    @pytest.fixture
    def gate(self) -> Iterator[HttpGate]:
        with HttpGate(service(self.server)) as gate:
            yield gate

    @pytest.fixture
    def backend(self, gate: HttpGate) -> Iterator[SearchBackend]:
        """Through the gate, which lets everything through at first."""
        backend = self.kind(f"127.0.0.1:{gate.port}", index=new_index(), timeout_seconds=5)
        backend.open()
        yield backend
        gate.rule = lambda _: None
        remove(backend)


class SearchAccess(SearchBehindAGate):
    # --- credentials --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("user", "query", "expected"),
        [
            (f"ada:{SECRET}@", "", f"Basic {base64.b64encode(f'ada:{SECRET}'.encode()).decode()}"),
            ("ada@", "?password_env=SEARCH_SECRET", f"Basic {base64.b64encode(f'ada:{SECRET}'.encode()).decode()}"),
            ("", "?api_key_env=SEARCH_SECRET", f"ApiKey {SECRET}"),
            ("", "?api_key_env=SEARCH_PAIR", f"ApiKey {base64.b64encode(b'id:' + SECRET.encode()).decode()}"),
            ("", "?bearer_token_env=SEARCH_SECRET", f"Bearer {SECRET}"),
        ],
    )
    def test_credentials_are_sent_and_never_shown(
        self,
        gate: HttpGate,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        user: str,
        query: str,
        expected: str,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("SEARCH_SECRET", SECRET)
        monkeypatch.setenv("SEARCH_PAIR", f"id:{SECRET}")
        accepted = [expected]

        def rule(request: Request) -> Reply | None:
            if request.headers.get("authorization") in accepted:
                return None
            return 401, JSON, error("security_exception", "unable to authenticate")

        gate.rule = rule
        backend = backend_from_url(self.url(gate.port, new_index(), user=user, query=query))
        assert backend.write(make_batch(*counters(3))) == ACCEPTED
        refresh(backend)
        assert backend.query(Query("hits", aggregate="count"))[0].points == [(0.0, 3.0)]
        remove(backend)
        accepted.clear()
        shown = repr(backend) + backend.address
        for act in (backend.open, backend.setup, lambda: backend.write(make_batch(*counters(1)))):
            with pytest.raises(Misconfigured, match="check the user and password or the key") as caught:
                act()
            shown += "".join(traceback.format_exception(caught.value))
        shown += caplog.text
        for hidden in (SECRET, expected, expected.split()[1]):
            assert hidden not in shown

    def test_contradicting_credentials_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEARCH_SECRET", SECRET)
        for user, query in (("ada@", ""), (":x@", ""), ("ada:x@", "?api_key_env=SEARCH_SECRET")):
            with pytest.raises(SettingsError, match="backend: "):
                backend_from_url(self.url(1, "shop", user=user, query=query))

    def test_credentials_do_not_travel_unencrypted_to_another_machine(self) -> None:
        for refused in (f"{self.kind.scheme}://ada:{SECRET}@search-1/shop", f"{self.kind.scheme}://ada:{SECRET}@[::2]"):
            with pytest.raises(SettingsError, match="unencrypted") as caught:
                backend_from_url(refused)
            assert SECRET not in str(caught.value)
        with pytest.raises(SettingsError, match="unencrypted"):
            self.kind("search-1", user="ada", password=SECRET)
        assert self.kind("search-1", user="ada", password=SECRET, allow_plain_credentials=True).index == "tallystick"
        assert backend_from_url(f"{self.kind.scheme}+https://ada:{SECRET}@search-1/shop").index == "shop"

    @pytest.mark.parametrize("index", ["Shop", "-shop", "sh op", "shop*", "a,b", "shop%23", "_shop", "a/b", "ü"])
    def test_a_name_that_no_index_can_have_is_refused_at_once(self, index: str) -> None:
        with pytest.raises(SettingsError, match="cannot begin an index's name"):
            backend_from_url(self.url(9200, index))

    def test_options_come_by_the_url(self) -> None:
        query = "?timeout_seconds=2&connect_timeout_seconds=1&query_timeout_seconds=30&setup=no"
        backend = backend_from_url(f"{self.kind.scheme}://search-1,search-2:9201/{'shop' + query}")
        assert backend.address == f"{self.kind.scheme}://search-1:9200,search-2:9201/shop"
        assert (backend.timeout_seconds, backend.query_timeout_seconds) == (2, 30)
        assert backend_from_url(f"{self.kind.scheme}://localhost").index == "tallystick"
        with pytest.raises(SettingsError, match="did you mean timeout_seconds"):
            backend_from_url(f"{self.kind.scheme}://localhost/shop?timout_seconds=2")

    # --- hosts, processes, drivers ------------------------------------------------------------------------------------

    def test_of_several_hosts_one_that_lives_is_found(self) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            dead = f"127.0.0.1:{listener.getsockname()[1]}"
        alive = service(self.server).removeprefix("http://")
        index = new_index()
        for hosts in ([dead, alive], [alive, dead], [dead, alive, dead]):
            backend = self.kind(hosts, index=index)
            batch = make_batch(*counters(2))
            for _ in range(3):
                with contextlib.suppress(Unavailable):
                    backend.open()
                    assert backend.write(batch) == ACCEPTED
                    break
            else:
                raise AssertionError(f"not one of three tries reached {alive}")
            backend.close()
        remove(self.make(index))

    def test_a_forked_child_connects_anew_and_leaves_its_parents_connection_alone(self, gate: HttpGate) -> None:
        for backend in self.owners(gate.port, new_index()):
            backend.open()
            mine, childs, last = (make_batch(*counters(3)) for _ in range(3))
            assert backend.write(mine) == ACCEPTED
            parents, before = {request.port for request in gate.requests}, len(gate.requests)
            child = os.fork()
            if not child:
                code = 1
                with contextlib.suppress(BaseException):
                    backend.open()
                    code = 0 if backend.write(childs) == ACCEPTED else 1
                    backend.close()
                os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            assert not {request.port for request in gate.requests[before:]} & parents
            assert backend.write(last) == ACCEPTED
            refresh(backend)
            stored = {record.id for record in backend.records(Query())}
            assert stored == {record.id for batch in (mine, childs, last) for record in batch.records}
            remove(backend)

    def owners(self, port: int, index: str) -> Iterator[SearchBackend]:
        """The backend with connections of its own, and with a ready client of each kind."""
        yield self.kind(f"127.0.0.1:{port}", index=index)
        for client in self.clients(f"http://127.0.0.1:{port}"):
            yield self.kind(client=client, index=index)
            client.close()

    def clients(self, url: str) -> Iterator[Any]:
        """Ready clients of the driver, to that URL."""
        raise NotImplementedError

    def works(self, client: Any) -> bool:
        """Whether such a client gets an answer."""
        raise NotImplementedError

    def test_a_ready_client_is_used_as_it_is(self, gate: HttpGate) -> None:
        for client in self.clients(f"http://ada:{SECRET}@127.0.0.1:{gate.port}"):
            gate.requests.clear()
            backend = self.kind(client=client, index=new_index())
            assert backend.address == f"{self.kind.scheme}://127.0.0.1:{gate.port}/{backend.index}"
            assert backend.write(make_batch(*counters(3))) == ACCEPTED
            refresh(backend)
            assert len(list(backend.records(Query()))) == 3
            basic = base64.b64encode(f"ada:{SECRET}".encode()).decode()
            assert {request.headers.get("authorization") for request in gate.requests} == {f"Basic {basic}"}
            remove(backend)
            assert self.works(client), "the client is still the caller's"
            client.close()

    def test_what_is_no_client_is_refused(self) -> None:
        for wrong in (object(), "http://localhost:9200", 3):
            with pytest.raises(SettingsError, match="client: "):
                self.kind(client=wrong)

    def test_without_the_driver_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for driver in ("elastic_transport", "opensearchpy"):
            monkeypatch.setitem(sys.modules, driver, None)
        with pytest.raises(MissingExtra, match=rf"pip install 'tallystick\[{self.kind.scheme}\]'"):
            self.kind().open()

    # --- TLS ----------------------------------------------------------------------------------------------------------

    def test_tls_is_verified_against_the_authority_that_is_named(self, tmp_path: Path) -> None:
        certificates(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        with HttpGate(service(self.server), context) as gate:
            index = new_index()
            with pytest.raises(Misconfigured, match="CERTIFICATE_VERIFY_FAILED"):
                backend_from_url(self.url(gate.port, index, tls=True)).open()
            for query in (f"?ca_file={tmp_path}/ca.pem", "?insecure_tls=yes"):
                backend = backend_from_url(self.url(gate.port, index, user=f"ada:{SECRET}@", tls=True, query=query))
                assert backend.address == f"{self.kind.scheme}+https://127.0.0.1:{gate.port}/{index}"
                assert backend.write(make_batch(*counters(2))) == ACCEPTED
                backend.close()
            wrong_name = f"{self.kind.scheme}+https://localhost:{gate.port}/{index}?ca_file={tmp_path}/ca.pem"
            with pytest.raises(Misconfigured, match="CERTIFICATE_VERIFY_FAILED"):
                backend_from_url(wrong_name).open()
        with pytest.raises(Misconfigured, match=r"no-such\.pem"):
            backend_from_url(self.url(9200, index, tls=True, query="?ca_file=/no-such.pem")).open()
        remove(self.make(index))

    def test_a_client_certificate_is_shown_to_a_server_that_asks_for_one(self, tmp_path: Path) -> None:
        certificates(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        with HttpGate(service(self.server), context) as gate:
            ca, mine = f"?ca_file={tmp_path}/ca.pem", f"&cert_file={tmp_path}/client.pem&key_file={tmp_path}/client.key"
            index = new_index()
            with pytest.raises(Unavailable):
                backend_from_url(self.url(gate.port, index, tls=True, query=ca)).open()
            backend = backend_from_url(self.url(gate.port, index, tls=True, query=ca + mine))
            assert backend.write(make_batch(*counters(2))) == ACCEPTED
            backend.close()
        remove(self.make(index))


def error(kind: str, reason: str) -> bytes:
    return msgspec.json.encode({"error": {"type": kind, "reason": reason}, "status": 0})


def certificates(folder: Path) -> None:
    """ca.pem, and signed by it server.pem (for 127.0.0.1 alone) and client.pem, each with its key."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca", *authority)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)


__all__ = ["Request", "SearchAccess"]
