"""The URL of a database server: hosts, user and password, a name, options.

    scheme://user:password@host:9200,other-host:9200/name?timeout_seconds=5

Invariants
- A secret is a `Secret` from here on. Options that are secrets are never in the URL itself: `api_key_env=ES_KEY` names
  an environment variable, `api_key_file=/run/secrets/key` a file; the same goes for `password`. A file is read at each
  connect, so a secret that is changed there needs no restart.
- No message shows more of the URL than its masked form.
- Credentials travel unencrypted only to this very machine, unless `allow_plain_credentials=yes` says otherwise.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tallystick.errors import Misconfigured, SettingsError
from tallystick.masking import MASK, ReadSecret, Secret, mask_url

OPTIONS: Final[dict[str, type]] = {
    "timeout_seconds": float,
    "connect_timeout_seconds": float,
    "ca_file": str,
    "cert_file": str,
    "key_file": str,
    "insecure_tls": bool,
    "allow_plain_credentials": bool,
    "setup": bool,
    "password": Secret,
}
"""What every server's URL may have. A backend names its own beside these, with the type of each: `float` is positive,
`bool` is yes or no, and a `Secret` is given as `<name>_env` or `<name>_file`."""

_YES_OR_NO: Final = {"yes": True, "true": True, "1": True, "on": True} | {
    "no": False,
    "false": False,
    "0": False,
    "off": False,
}


@dataclass(frozen=True)
class ServerUrl:
    """`hosts` are names with ports; `name` is the path without its first slash, decoded; `options` are only those that
    were given. Shows without secrets."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    name: str = ""
    user: str | None = None
    password: Secret | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """`host:port` of each host, an IPv6 address in brackets."""
        return tuple(place(host, port) for host, port in self.hosts)


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_url(
    url: str, *, default_port: int, tls: bool, options: Mapping[str, type] | None = None, login: bool = True
) -> ServerUrl:
    """Raises `SettingsError` that says what is wrong. `tls`: whether this scheme encrypts; `options`: more than
    `OPTIONS`; `login`: whether the server knows a user and a password, and not only a token."""
    shown = mask_url(url)
    parts = urlsplit(url)
    if parts.fragment:
        raise SettingsError(f"backend: {shown!r} has a #; write it as %23")
    authority, _, hosts = parts.netloc.rpartition("@")
    user, _, password = authority.partition(":")
    given = _options(parts.query, {**OPTIONS, **(options or {})}, shown)
    if password and "password" in given:
        raise SettingsError(f"backend: {shown!r} has two passwords; give the one in the URL or the option")
    secret = Secret(unquote(password)) if password else given.pop("password", None)
    read = ServerUrl(
        scheme=parts.scheme,
        hosts=read_hosts(hosts, default_port, shown),
        name=unquote(parts.path.lstrip("/")).rstrip("/"),
        user=unquote(user) or None,
        password=secret,
        options=given,
    )
    if not login and (user or secret is not None):
        raise SettingsError(f"backend: {shown!r}: {parts.scheme} knows no user and password; give token_env=")
    secrets = secret is not None or any(isinstance(value, Secret) for value in given.values())
    if secrets and not tls and not given.get("allow_plain_credentials"):
        refuse_plain_credentials(read.hosts, shown)
    return read


def read_hosts(text: str, default_port: int, shown: str) -> tuple[tuple[str, int], ...]:
    """`a:9200,b,[::1]` as names with ports."""
    return tuple(_host(part, default_port, shown) for part in text.split(","))


def refuse_plain_credentials(hosts: Iterable[tuple[str, int]], shown: str) -> None:
    """Raises `SettingsError` when one of the hosts is not this machine."""
    far = [host for host, _ in hosts if not is_loopback(host)]
    if far:
        raise SettingsError(
            f"backend: {shown!r} would send its password or key unencrypted to {far[0]}; use TLS, or say"
            " allow_plain_credentials=yes where the network is your own"
        )


def is_loopback(host: str) -> bool:
    """Whether the name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """As the options `ca_file`, `cert_file`, `key_file` and `insecure_tls` say; by default verified by the system's
    authorities. Raises `Misconfigured` when a file cannot be read."""
    try:
        context = ssl.create_default_context(cafile=options.get("ca_file"))
        if options.get("cert_file"):
            context.load_cert_chain(options["cert_file"], options.get("key_file"))
    except OSError as error:  # ssl's errors are of this family
        files = ", ".join(str(options[name]) for name in ("ca_file", "cert_file", "key_file") if options.get(name))
        raise Misconfigured(
            f"TLS: cannot load {files}: {error}; they must be PEM files that this user may read"
        ) from None
    if options.get("insecure_tls"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host(text: str, default_port: int, shown: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name, port = text, str(default_port)
    bare = name.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare and not name.startswith("[")) or not port.isascii() or not port.isdigit():
        raise SettingsError(f"backend: {shown!r} needs a host, and after a colon its port: host:{default_port}")
    if not 0 < int(port) < 65536:
        raise SettingsError(f"backend: {shown!r}: {port} is no port; it must be from 1 to 65535")
    return unquote(bare), int(port)


def _options(query: str, known: Mapping[str, type], shown: str) -> dict[str, Any]:
    names: dict[str, tuple[str, type]] = {}
    for name, type_ in known.items():
        for suffix in ("_env", "_file") if type_ is Secret else ("",):
            names[name + suffix] = (name, type_)
    given: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in names:
            shown = re.sub(rf"([?&]{re.escape(key)}=)[^&#]*", rf"\g<1>{MASK}", shown)  # it may be a secret, misspelt
            near = difflib.get_close_matches(key, names, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; it may be {', '.join(sorted(names))}"
            raise SettingsError(f"backend: {shown!r} has the unknown option {key}{meant}")
        name, type_ = names[key]
        if name in given:
            raise SettingsError(f"backend: {shown!r} gives {name} twice")
        given[name] = _value(key, text, type_, shown)
    return given


def _value(key: str, text: str, type_: type, shown: str) -> Any:
    if type_ is Secret:
        return _secret(key, text, shown)
    try:
        if type_ is bool:
            return _YES_OR_NO[text.lower()]
        value = type_(text)
        if not text or (type_ in (int, float) and not 0 < value < 1e9):
            raise ValueError(text)
        return value
    except (ValueError, LookupError):
        must = {bool: "yes or no", int: "a positive whole number", float: "a positive number"}.get(type_, "a text")
        raise SettingsError(f"backend: {shown!r}: {key} must be {must}") from None


def _secret(key: str, text: str, shown: str) -> Secret:
    if key.endswith("_env"):
        value = os.environ.get(text, "")
        if not value:
            raise SettingsError(f"backend: {shown!r}: {key} names the environment variable {text}, which is not set")
        return Secret(value)
    try:
        _file_text(key, text)  # wrong at the start is a wrong setting, and later one more trouble to wait out
    except Misconfigured as error:
        raise SettingsError(f"backend: {shown!r}: {error}") from None
    return ReadSecret(lambda: _file_text(key, text))


def _file_text(key: str, path: str) -> str:
    try:
        value = Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{key}: cannot read {path} ({type(error).__name__})") from None
    if not value:
        raise Misconfigured(f"{key}: the file {path} is empty")
    return value
