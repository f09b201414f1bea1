"""A client of MongoDB with time limits on everything, and the driver's errors as the library's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from tallystick import plugins
from tallystick.backends._url import ServerUrl, tls_context
from tallystick.errors import Misconfigured, Unavailable

TIMEOUT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0

DUPLICATE: Final = 11000
BLAMES_THE_RECORD: Final = frozenset(
    {2, 9, 14, 15, 16, 22, 28, 52, 54, 55, 56, 57, 121, DUPLICATE, 10334, 17280, 17419, 17420}
)
"""Codes that may be a record's doing: a value, a name or a size that does not fit, a validator, a unique index. All
others, those of later versions as well, are the connection's or the server's state."""

PASSING: Final = frozenset({50, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031})
"""Codes that are no question's doing: no primary, shutting down, over a time limit, disk full."""

NOT_ALLOWED: Final = 13
FORBIDDEN: Final = frozenset({NOT_ALLOWED, 18, 8000})

_TLS: Final = {
    "Hostname mismatch": "connect to a name that is in the server's certificate",
    "IP address mismatch": "connect to a name that is in the server's certificate",
    "CERTIFICATE_VERIFY_FAILED": "name the certificate of the authority that signed the server's with ca_file=;"
    " insecure_tls=yes gives up on knowing who answers",
    "CERTIFICATE_REQUIRED": "name a certificate that the server takes, with its key, with cert_file=",
    "HANDSHAKE_FAILURE": "name a certificate that the server takes, with its key, with cert_file=",
}
"""By a part of the driver's message: the remedy. The first that fits counts."""


def driver() -> Any:
    """The module pymongo. Raises `MissingExtra`."""
    try:
        import pymongo
    except ImportError as error:
        raise plugins.missing_extra("mongodb", error) from error
    return pymongo


def encoder() -> tuple[Callable[[dict[str, Any]], Any], tuple[type[Exception], ...]]:
    """What makes a document the bytes that the driver sends, and what it raises for one that cannot be a document."""
    driver()
    import bson
    import bson.raw_bson

    def raw(document: dict[str, Any]) -> Any:
        return bson.raw_bson.RawBSONDocument(bson.encode(document))

    return raw, (bson.errors.BSONError, TypeError, ValueError, OverflowError, RecursionError)


def connect(url: ServerUrl | None, driver_options: dict[str, str], address: str) -> Any:
    """A client that has connected to nothing yet. Raises `MissingExtra`, or `Misconfigured` for options it refuses."""
    pymongo = driver()
    assert url is not None
    options = url.options
    seconds = float(options.get("timeout_seconds", TIMEOUT_SECONDS))
    connecting = round(1000 * float(options.get("connect_timeout_seconds", min(CONNECT_SECONDS, seconds))))
    more: dict[str, Any] = {"username": url.user, "password": url.password.reveal() if url.password else None}
    more |= {"tlsCAFile": options.get("ca_file"), "tlsCertificateKeyFile": options.get("cert_file")}
    if options.get("insecure_tls"):
        more |= {"tls": True, "tlsAllowInvalidCertificates": True}
    if options.get("ca_file") or options.get("cert_file"):
        tls_context(options)  # says which file cannot be read
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
def translated(address: str, *, asking: bool = False) -> Iterator[None]:
    """Only what blames a record goes on as it is: then the agent bisects the batch. With `asking`, so does what blames
    a question.
    """
    errors = driver().errors
    try:
        yield
    except errors.OperationFailure as error:
        if error.code in FORBIDDEN:
            remedy = "correct user and password, or grant the role readWrite on the database"
            raise Misconfigured(f"{address}: {short(error)}; {remedy}") from error
        if error.code in BLAMES_THE_RECORD or (asking and error.code not in PASSING):
            raise
        raise Unavailable(f"{address}: {short(error)}") from error
    except errors.ConfigurationError as error:
        raise Misconfigured(f"{address}: {short(error)}; correct the URL's options") from error
    except errors.ConnectionFailure as error:
        cure = next((remedy for sign, remedy in _TLS.items() if sign.lower() in str(error).lower()), None)
        if cure is not None:
            raise Misconfigured(f"{address}: {short(error)}; {cure}") from error
        raise Unavailable(f"{address}: {short(error)}") from error
    except errors.PyMongoError as error:
        raise Unavailable(f"{address}: {short(error)}") from error


def short(error: Exception) -> str:
    """The driver adds whole topologies to its messages."""
    return str(error).partition(", full error:")[0].partition(", Topology Description")[0][:500]
