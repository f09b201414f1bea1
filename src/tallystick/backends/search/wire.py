"""How to get to a search server: hosts, TLS and credentials, as both drivers are told.

Credentials stay `Secret`s until the moment of a request, so that no driver's object, log or traceback shows them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tallystick.backends._url import place, read_hosts, refuse_plain_credentials
from tallystick.errors import Misconfigured, SettingsError, Unavailable
from tallystick.masking import ReadSecret, Secret

PORT: Final = 9200


@dataclass(frozen=True)
class Access:
    """`authorization` is the value of the header of that name. `tls` are the options of `_url.tls_context`, or None
    where nothing is encrypted."""

    hosts: tuple[tuple[str, int], ...]
    authorization: Secret | None
    tls: dict[str, Any] | None
    timeout_seconds: float
    connect_timeout_seconds: float

    @property
    def places(self) -> str:
        return ",".join(place(host, port) for host, port in self.hosts)

    def headers(self) -> dict[str, str]:
        return {} if self.authorization is None else {"authorization": self.authorization.reveal()}


def access(
    hosts: str | Sequence[str],
    *,
    user: str | None,
    password: str | Secret | None,
    api_key: str | Secret | None,
    bearer_token: str | Secret | None,
    tls: dict[str, Any] | None,
    allow_plain_credentials: bool,
    timeout_seconds: float,
    connect_timeout_seconds: float,
) -> Access:
    """Raises `SettingsError` for hosts that cannot be read and credentials that contradict each other."""
    text = hosts if isinstance(hosts, str) else ",".join(hosts)
    found = tuple(dict.fromkeys(read_hosts(text, PORT, text)))
    authorization = _authorization(user, _secret(password), _secret(api_key), _secret(bearer_token))
    if authorization is not None and tls is None and not allow_plain_credentials:
        refuse_plain_credentials(found, text)
    return Access(found, authorization, tls, timeout_seconds, min(connect_timeout_seconds, timeout_seconds))


def _secret(given: str | Secret | None) -> Secret | None:
    return Secret(given) if isinstance(given, str) else given


def _authorization(
    user: str | None, password: Secret | None, api_key: Secret | None, bearer_token: Secret | None
) -> Secret | None:
    if (user is None) != (password is None):
        raise SettingsError("backend: a user needs a password, and a password a user: user:password@ or password_file=")
    if sum(part is not None for part in (user, api_key, bearer_token)) > 1:
        raise SettingsError("backend: give one of user and password, api_key, bearer_token")
    if password is not None:
        return ReadSecret(lambda: f"Basic {_base64(f'{user}:{password.reveal()}')}")
    if api_key is not None:
        return ReadSecret(lambda: _api_key(api_key.reveal()))
    return None if bearer_token is None else ReadSecret(lambda: f"Bearer {bearer_token.reveal()}")


def _api_key(key: str) -> str:
    return f"ApiKey {_base64(key) if ':' in key else key}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def no_answer(address: str, error: Exception) -> Unavailable:
    """What a driver's exception means that says that no answer came."""
    cause = str(error).rpartition(" caused by: ")[2]  # before it, the drivers say the same once more
    if "CERTIFICATE_VERIFY_FAILED" in cause or "CERTIFICATE_REQUIRED" in cause:
        return Misconfigured(f"{address}: TLS: {cause}; name the authority by ca_file=, or a cert_file= of your own")
    if "WRONG_VERSION_NUMBER" in cause:
        remedy = "leave +https away from the scheme of the backend's URL, or correct its port"
        return Misconfigured(f"{address} speaks no TLS: {remedy}")
    closed = ("RemoteDisconnected" in cause or "ConnectionReset" in cause) and "+https://" not in address
    hint = "; where the server wants TLS, add +https to the URL's scheme" if closed else ""
    return Unavailable(f"{address} gave no answer: {cause or type(error).__name__}{hint}")
