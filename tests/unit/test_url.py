"""The URL of a database server: what is read, what is refused, and that no secret shows."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tallystick.backends._url import ServerUrl, read_url, tls_context
from tallystick.errors import Misconfigured, SettingsError
from tallystick.masking import Secret


def read(url: str, *, tls: bool = False) -> ServerUrl:
    return read_url(url, default_port=9200, tls=tls, options={"api_key": Secret, "limit": int})


def test_hosts_name_user_and_options_are_read() -> None:
    url = read("search://ada:p%40ss%3A@127.0.0.1:9201,localhost,[::1]:9203/shop/?timeout_seconds=2.5&setup=no&limit=7")
    assert url.hosts == (("127.0.0.1", 9201), ("localhost", 9200), ("::1", 9203))
    assert url.places == ("127.0.0.1:9201", "localhost:9200", "[::1]:9203")
    assert (url.name, url.user) == ("shop", "ada")
    assert url.password is not None
    assert url.password.reveal() == "p@ss:"
    assert url.options == {"timeout_seconds": 2.5, "setup": False, "limit": 7}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("search:///metrics", "needs a host"),
        ("search://:9200/metrics", "needs a host"),
        ("search://a,,b/metrics", "needs a host"),
        ("search://::1/metrics", "needs a host"),
        ("search://a:http/metrics", "needs a host"),
        ("search://a:99999/metrics", "is no port"),
        ("search://a/metrics#x", "write it as %23"),
        ("search://a/m?timout_seconds=3", "did you mean timeout_seconds?"),
        ("search://a/m?verbose", "unknown option verbose"),
        ("search://a/m?timeout_seconds=soon", "must be a positive number"),
        ("search://a/m?timeout_seconds=-1", "must be a positive number"),
        ("search://a/m?timeout_seconds=nan", "must be a positive number"),
        ("search://a/m?limit=1.5", "must be a positive whole number"),
        ("search://a/m?insecure_tls=perhaps", "must be yes or no"),
        ("search://a/m?setup=yes&setup=no", "gives setup twice"),
        ("search://a/m?api_key=abc", "unknown option api_key; did you mean api_key_"),
        ("search://a/m?api_key_env=SURELY_NOT_SET", "which is not set"),
        ("search://a/m?api_key_file=/no/such/file", "cannot read /no/such/file"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_the_remedy(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match="backend: ") as caught:
        read(url)
    assert says in str(caught.value)


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", "key-1")
    (tmp_path / "password").write_text("secret-1\n")
    url = read(f"search://ada@localhost/m?api_key_env=SEARCH_KEY&password_file={tmp_path}/password")
    assert url.password is not None
    assert (url.options["api_key"].reveal(), url.password.reveal()) == ("key-1", "secret-1")
    assert "key-1" not in repr(url)
    assert "secret-1" not in repr(url)


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        read(f"search://ada@localhost/m?password_file={tmp_path}/password")


def test_two_passwords_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_PASSWORD", "x")
    with pytest.raises(SettingsError, match="two passwords"):
        read("search://ada:y@localhost/m?password_env=SEARCH_PASSWORD")


@pytest.mark.parametrize("host", ["10.0.0.1", "search-1", "a.example", "[2001:db8::1]", "127.0.0.1,search-1"])
def test_credentials_do_not_travel_unencrypted_to_another_machine_unless_told(host: str) -> None:
    with pytest.raises(SettingsError, match="unencrypted") as caught:
        read(f"search://ada:hush-hush@{host}/m")
    assert "hush-hush" not in str(caught.value)
    assert read(f"search://ada:hush-hush@{host}/m?allow_plain_credentials=yes").user == "ada"
    assert read(f"search://ada:hush-hush@{host}/m", tls=True).user == "ada"
    assert read(f"search://{host}/m").password is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "[::1]", "localhost", "LOCALHOST", "db.localhost"])
def test_to_this_machine_they_may(host: str) -> None:
    assert read(f"search://ada:hush@{host}/m").password == Secret("hush")


def test_tls_is_verified_unless_told_otherwise() -> None:
    context = tls_context({})
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    context = tls_context({"insecure_tls": True})
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("option", ["ca_file", "cert_file"])
def test_a_certificate_that_cannot_be_read_names_the_file(option: str, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "garbage.pem"):
        if path.name.startswith("garbage"):
            path.write_text("no certificate")
        with pytest.raises(Misconfigured, match=path.name):
            tls_context({option: str(path)})
