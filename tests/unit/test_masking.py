"""What masking promises: a secret does not show, and the rest of a URL does."""

from __future__ import annotations

import logging
import traceback
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import SettingsError
from tallystick.masking import MASK, Secret, hider, mask_url
from tallystick.plugins import backend_from_url, schemes

SHOWN = [
    ("postgresql://ada:secret@h:5432/db", "postgresql://ada:***@h:5432/db"),
    ("mongodb://h1:27017,h2:27017/x?authSource=admin", "mongodb://h1:27017,h2:27017/x?authSource=admin"),
    ("mongodb://h1:27017/x?email=a@b", "mongodb://h1:27017/x?email=a@b"),
    ("http://[::1]:8086/x?q=a@b", "http://[::1]:8086/x?q=a@b"),
    ("http://h/write?u=ada&p=secret&db=d", "http://h/write?u=ada&p=***&db=d"),
    ("influxdb2://secret@h/org/bucket", "influxdb2://***@h/org/bucket"),
    ("influxdb2://h/org?token=secret==", "influxdb2://h/org?token=***"),
    ("influxdb2://h/b?token_env=INFLUX_TOKEN&org=o", "influxdb2://h/b?token_env=INFLUX_TOKEN&org=o"),
    ("influxdb2://h/b?token_env=secret", "influxdb2://h/b?token_env=***"),
    ("influxdb2://h/b?token_env=SECRETSECRET", "influxdb2://h/b?token_env=***"),
    ("influxdb2://h/b?token_file=/run/secrets/influx.txt", "influxdb2://h/b?token_file=/run/secrets/influx.txt"),
    ("influxdb2://h/b?token_file=/secret==", "influxdb2://h/b?token_file=***"),
    ("elasticsearch://h/i?api-key=secret&API_KEY=secret", "elasticsearch://h/i?api-key=***&API_KEY=***"),
    ("https://h/?x=1&X-Token=secret#token=secret", "https://h/?x=1&X-Token=***#token=***"),
    ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ("sqlite:///metrics.db", "sqlite:///metrics.db"),
    ("host=h password=secret sslpassword='se cret'", "host=h password=*** sslpassword=***"),
    ("ada:secret@host/db", "ada:***@host/db"),
    ("postgresql://ada:@h/db", "postgresql://ada:@h/db"),
    ("db://ada:@h/db", "db://ada:***@h/db"),
    ("postgresql://:secret@h/db", "postgresql://:***@h/db"),
    ("postgresql://ada%3Asecret@h/db", "postgresql://***@h/db"),
    ("postgresql://ada%253Asecret@h/db", "postgresql://***@h/db"),
    ("postgresql://ada@secret@h/db", "postgresql://***@h/db"),
    ("postgresql://ada:@secret@h/db", "postgresql://ada:***@h/db"),
    ("postgresql://ada@h/db?password=secret", "postgresql://ada@h/db?password=***"),
    ("mongodb://ada@h1,bob:secret@h2/db", "mongodb://ada@h1,bob:***@h2/db"),
    ("elasticsearch://secret@h/i", "elasticsearch://***@h/i"),
    ("influxdb3+https://secret@h/db", "influxdb3+https://***@h/db"),
    ("postgresqlx://secret@h/db", "postgresqlx://***@h/db"),
    ("xpostgresql://secret@h/db", "xpostgresql://***@h/db"),
]


@pytest.mark.parametrize(("url", "shown"), SHOWN)
def test_a_url_shows_all_but_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize("url", [url for url, _ in SHOWN])
def test_masking_twice_changes_nothing(url: str) -> None:
    assert mask_url(mask_url(url)) == mask_url(url)


NAMED = [
    "postgresql", "clickhouse", "clickhouse+https", "mongodb", "mongodb+srv", "rethinkdb", "influxdb",
    "influxdb+https", "PostgreSQL",
]  # fmt: skip


@pytest.mark.parametrize("scheme", NAMED)
def test_a_name_without_a_password_is_no_secret_where_our_own_schemes_take_a_name(scheme: str) -> None:
    for user in ("ada", "ada%40corp", "ada:", ":", ""):
        for rest in ("h/db", "h1:1,h2:2/db?x=1", "[::1]:1/db"):
            url = f"{scheme}://{user}@{rest}"
            assert mask_url(url) == url
            said = f"no such user: ada, and {url!r} failed"
            assert hider(url)(said) == said


@pytest.mark.parametrize("scheme", sorted({*schemes(), "theirs"} - {name.lower() for name in NAMED}))
def test_where_what_stands_alone_before_the_host_may_be_a_token_it_does_not_show(scheme: str) -> None:
    url = f"{scheme}://secret@h/db"
    assert mask_url(url) == f"{scheme}://***@h/db"
    assert hider(url)("secret is wrong") == "*** is wrong"


@given(password=st.text(min_size=1), user=st.sampled_from(["", "ada"]), scheme=st.sampled_from(NAMED))
def test_no_quoted_password_shows_where_a_name_alone_would(password: str, user: str, scheme: str) -> None:
    secret = quote(password, safe="", errors="replace")
    assert mask_url(f"{scheme}://{user}:{secret}@host:1/db") == f"{scheme}://{user}:***@host:1/db"
    assert mask_url(f"{scheme}://{user}%3A{secret}@host:1/db") == f"{scheme}://***@host:1/db"


@given(password=st.text(min_size=1), user=st.sampled_from(["", "ada"]), tail=st.sampled_from(["", "/db", "/db?x=1"]))
def test_no_quoted_password_shows(password: str, user: str, tail: str) -> None:
    secret = quote(password, safe="", errors="replace")
    assert mask_url(f"scheme://{user}:{secret}@host:1{tail}") == f"scheme://{user}:***@host:1{tail}"


@given(password=st.text(st.sampled_from("ab1:/?#@%&;= "), min_size=1).map(lambda text: f"S3cr{text}3t"))
def test_not_even_a_password_that_should_have_been_quoted_shows(password: str) -> None:
    for scheme in ("scheme", "postgresql"):
        shown = mask_url(f"{scheme}://ada:{password}@host:1/db")
        assert "S3cr" not in shown
        assert "3t" not in shown


def test_a_secret_shows_nowhere_but_where_it_is_revealed(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2")
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("with %s and %r", secret, [secret])
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret, caplog.text):  # noqa: UP031
        assert "hunter2" not in text
        assert MASK in text
    assert secret.reveal() == "hunter2"


def test_no_encoder_takes_a_secret() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": Secret("hunter2")})


def test_secrets_are_compared_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        ("db://ada:secret@h/x", "wrong password secret for ada", "wrong password *** for ada"),
        ("db://ada:se%40cret@h/x", "se@cret or se%40cret", "*** or ***"),
        ("db://h/x?token=secret", "Bearer secret was refused", "Bearer *** was refused"),
        ("db://secret@h/x", "secret is of no use, secretly", "*** is of no use, secretly"),
        ("db://ada:x@h/x", "x is no index", "*** is no index"),
        ("db://ada:@h/x", "no password", "no password"),
        ("db://h/x", "no password", "no password"),
        (None, "cannot reach db://ada:secret@h/x: refused", "cannot reach db://ada:***@h/x: refused"),
        (None, "GET https://h/x?api_key=secret failed", "GET https://h/x?api_key=*** failed"),
        (None, "'es://h/x?api_key=secret' has the option", "'es://h/x?api_key=***' has the option"),
        (None, "backend: 'es://h/x?api_key=***': it has", "backend: 'es://h/x?api_key=***': it has"),
        (None, '("es://h/x?api_key=secret"), or', '("es://h/x?api_key=***"), or'),
        (None, "'es://h/x?api_key=sec'ret has no end", "'es://h/x?api_key=*** has no end"),
        (None, "'es://ada:sec'ret@h/x' has", "'es://ada:***@h/x' has"),
        (None, "it's es://h/x?api_key=secret' here", "it's es://h/x?api_key=*** here"),
    ],
)
def test_what_others_say_shows_all_but_the_urls_secrets(url: str | None, said: str, shown: str) -> None:
    assert hider(url)(said) == shown


@given(password=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=4), said=st.text())
def test_a_password_of_a_url_is_never_in_what_others_say(password: str, said: str) -> None:
    hide = hider(f"db://ada:{quote(password, safe='')}@h/x")
    for spelling in (password, quote(password, safe="")):
        assert spelling not in hide(f"{said}{spelling}{said}").replace(MASK, "\0")


PASSWORD = "S3cr3t"
UNREADABLE = [f"ada:{PASSWORD}@localhost:99999999/x?password={PASSWORD}&nonsense=1", f"ada:{PASSWORD}@localhost:99999"]


@pytest.mark.parametrize("scheme", schemes())
def test_a_url_that_no_backend_can_read_is_refused_without_its_password(scheme: str) -> None:
    """Also where a password has no business: in the URL of a file, a log or this process's memory."""
    for rest in UNREADABLE:
        with pytest.raises(SettingsError) as caught:
            backend_from_url(f"{scheme}://{rest}")
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
        assert "localhost" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "url"),
    [
        ("?jwt=s3cr3t", "elasticsearch+https://h/i?jwt=s3cr3t"),
        ("?passw=s3cr3t", "postgresql://h/db?passw=s3cr3t"),
        ("?pin=s3cr3t", "clickhouse://h/db?timeout_seconds=5&pin=s3cr3t"),
        ("authMechanismProperties", "mongodb://h/x?authMechanismProperties=AWS_SESSION_TOKEN:s3cr3t"),
    ],
)
def test_the_value_of_an_option_that_is_not_known_does_not_show(option: str, url: str) -> None:
    try:
        said = repr(backend_from_url(url).address)
    except SettingsError as error:
        said = str(error)
    assert "s3cr3t" not in said, option
    assert "s3cr3t" not in mask_url(url) or "pin=" in url or "passw=" in url
