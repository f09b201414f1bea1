"""A client of MongoDB with time limits on everything, and the driver's errors as the library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from tallystick import plugins
from tallystick.backends._url import ServerUrl
from tallystick.errors import Misconfigured, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0

PASSING: Final = frozenset({50, 64, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031})
"""Codes of troubles that pass: no primary, shutting down, over a time limit, disk full."""

FORBIDDEN: Final = frozenset({13, 18, 8000})


def driver() -> Any:
    """The module pymongo. Raises `MissingExtra`."""
    try:
        import pymongo
    except ImportError as error:
        raise plugins.missing_extra("mongodb", error) from error
    return pymongo


def connect(url: ServerUrl | None, driver_options: dict[str, str], address: str) -> Any:
    """A client that has connected to nothing yet. Raises `MissingExtra`, or `Misconfigured` for options it refuses."""
    pymongo = driver()
    assert url is not None
    options = url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    connecting = round(1000 * float(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds))))
    more: dict[str, Any] = {"username": url.user, "password": url.password.reveal() if url.password else None}
    more |= {"tlsCAFile": options.get("ca_file"), "tlsCertificateKeyFile": options.get("cert_file")}
    hosts = url.hosts[0][0] if url.scheme == "mongodb+srv" else ",".join(url.places)
    query = f"?{urlencode(driver_options)}" if driver_options else ""
    try:
        return pymongo.MongoClient(
            f"{url.scheme}://{hosts}/{query}",
            tz_aware=True,
            retryWrites=False,
            retryReads=False,
            serverSelectionTimeoutMS=connecting,
            connectTimeoutMS=connecting,
            socketTimeoutMS=round(seconds * 1000),
            appname="tallystick",
            **{key: value for key, value in more.items() if value is not None},
        )
    except (pymongo.errors.ConfigurationError, pymongo.errors.InvalidURI, ValueError) as error:
        raise Misconfigured(f"{address}: {error}; correct the URL's options") from error


@contextmanager
def translated(address: str) -> Iterator[None]:
    """What names no cause that we know goes on as it is: then the agent bisects the batch."""
    errors = driver().errors
    try:
        yield
    except errors.OperationFailure as error:
        if error.code in FORBIDDEN:
            remedy = "correct user and password, or grant the role readWrite on the database"
            raise Misconfigured(f"{address}: {_short(error)}; {remedy}") from error
        if error.code in PASSING or isinstance(error, errors.WTimeoutError | errors.ExecutionTimeout):
            raise Unavailable(f"{address}: {_short(error)}") from error
        raise
    except errors.ConfigurationError as error:
        raise Misconfigured(f"{address}: {_short(error)}; correct the URL's options") from error
    except errors.ConnectionFailure as error:
        raise Unavailable(f"{address}: {_short(error)}") from error


def _short(error: Exception) -> str:
    """The driver adds whole topologies to its messages."""
    return str(error).partition(", full error:")[0].partition(", Topology Description")[0][:500]
