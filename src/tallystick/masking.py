"""Secrets that do not show: `Secret` for a value, `mask_url` for a URL that may carry one, `hider` for what others say.

Invariants
- What is shown of a secret does not depend on it, neither its characters nor its length.
- When a URL is malformed and it is unclear where the password ends, more is masked, not less.
- A user part without a password may be a token, and is masked whole; but for our own schemes that take a name there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

MASK: Final = "***"

_WORDS: Final = (
    "password|passwd|passphrase|pwd|secret|token|apikey|accesskey|privatekey|credential|authorization|signature"
    "|jwt|bearer|assertion|sessionid|mechanismproperties"
)
_TELLTALE: Final = rf"(?i).*(?:{_WORDS}).*|p|pw|pass|key|sig|auth"
_PARAMETER: Final = r"""(?:(?<=[?&;#\s])|^)([^=&;?#\s/@]+)(\s*=\s*)('[^']*'|"[^"]*"|[^&;#\s]+)"""
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*://"
_IN_TEXT: Final = rf"""(['"`]?)({_SCHEME}\S+)"""
_ODD_PORT: Final = r":(?!\d*(?:[,/#]|$))"
_SHORT: Final = 4
_NAMED: Final = r"(?i)(?:postgresql|clickhouse(?:\+https)?|mongodb(?:\+srv)?|rethinkdb|influxdb(?:\+https)?)://"
"""Our own schemes with users of whom some have no password. With Elasticsearch and OpenSearch what stands alone before
the `@` may be an API key, and with InfluxDB 2 and 3, which know no users, a token.
"""
_ODD_NAME: Final = r"(?i)[:/?#@\s]|%(?:25)*3a"
"""What makes it doubtful that this is a name, a quoted colon before a password included."""
_WHERE: Final = r"(?i:.+_env)=[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|(?i:.+_file)=(?:/[\w.-]+){2,}"
"""A parameter that names the variable or the file of a secret. What looks like neither may be the secret itself, by
mistake.
"""
# Texts, which `re` compiles at their first use: that is mostly never, and would slow `import tallystick`.


class Secret:
    """A text that shows as `***` wherever it is printed, formatted or logged; `reveal()` gives it to a driver.

    Not a `str`, on purpose: joining or formatting it by accident gives the mask, and no encoder takes it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled; let the other process read the setting itself (TALLYSTICK_BACKEND)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())


class ReadSecret(Secret):
    """A secret that is read each time it is revealed, since it may be another one by then."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], str]) -> None:
        super().__init__("")
        self._read = read

    def reveal(self) -> str:
        return self._read()

    def __bool__(self) -> bool:
        return True


def mask_url(url: str) -> str:
    """The URL with passwords, tokens and API keys as `***`, in the user part and in the parameters."""
    scheme, rest = _divided(url)
    at = _end_of_user(rest)
    if at < 0:
        return scheme + _mask_parameters(rest)
    user, colon, _ = rest[:at].partition(":")
    if not _is_name(scheme, rest, at):
        user = f"{user}:{MASK}" if colon else MASK
    elif colon:
        user += colon
    return scheme + user + _mask_parameters(rest[at:])


def _divided(url: str) -> tuple[str, str]:
    scheme = match.group() if (match := re.match(_SCHEME, url)) else ""
    return scheme, url[len(scheme) :]


def _is_name(scheme: str, rest: str, at: int) -> bool:
    """Whether the user part is a plain name without a password, or with an empty one: no secret."""
    odd = re.search(_ODD_NAME, rest[:at].removesuffix(":"))
    return odd is None and re.fullmatch(_NAMED, scheme) is not None


def _end_of_user(rest: str) -> int:
    """Where the `@` after user and password stands, or -1; `rest` is the URL without its scheme.

    Drivers differ on passwords with a raw `/`, `?` or `#`, so it is the last `@` that may be meant.
    """
    if rest.startswith("/"):
        return -1  # no authority at all: sqlite:///…
    head, _, query = rest.partition("?")
    if "@" in query:
        before = query.partition("@")[0]
        odd = re.search(_ODD_PORT, re.sub(r"\[[^\]]*\]", "", head).partition("/")[0])
        if "@" in head or odd or "=" not in before:
            return rest.rindex("@")
    return head.rfind("@")


def _mask_parameters(text: str) -> str:
    def masked(match: re.Match[str]) -> str:
        return f"{match[1]}{match[2]}{MASK}" if _tells(match[1], match[3]) else match[0]

    return re.sub(_PARAMETER, masked, text)


def _tells(parameter: str, value: str) -> bool:
    """Whether a parameter of this name has a secret as value."""
    if re.fullmatch(_WHERE, f"{parameter}={value}"):
        return False
    return re.fullmatch(_TELLTALE, re.sub(r"[-_.]|%[0-9A-Fa-f]{2}", "", parameter)) is not None


def hider(*urls: str | None) -> Callable[[str], str]:
    """Masks a text that others wrote, such as a driver's error: every URL in it, and wherever they stand the secrets of
    the URLs given here, as they are written there and as they are meant. Very short ones, and a user part without a
    password, only as whole words.
    """
    from urllib.parse import unquote, unquote_plus  # not needed by who only records

    patterns = set()
    for secret, words in itertools.chain.from_iterable(_secrets_of(url or "") for url in urls):
        for spelling in {secret, unquote(secret), unquote_plus(secret)} - {"", MASK}:
            whole = words or len(spelling) < _SHORT
            patterns.add(rf"(?<!\w){re.escape(spelling)}(?!\w)" if whole else re.escape(spelling))
    own = "|".join(sorted(patterns, key=len, reverse=True)) or r"(?!)"

    def hide(text: str) -> str:
        return re.sub(own, MASK, re.sub(_IN_TEXT, _mask_in_text, text))

    return hide


def _mask_in_text(found: re.Match[str]) -> str:
    """A quote that opens before the URL and closes behind it is not the URL's; nor is what follows the quote."""
    quote, url = found[1], found[2]
    closed = re.search(rf"{quote}[\])}}>.,:;]*\Z", url) if quote else None
    end = closed.start() if closed else len(url)
    return quote + mask_url(url[:end]) + url[end:]


def _secrets_of(url: str) -> Iterator[tuple[str, bool]]:
    """What `mask_url` masks, and whether that is a user part without a password, perhaps a plain name."""
    scheme, rest = _divided(url)
    at = _end_of_user(rest)
    if at >= 0:
        user, colon, password = rest[:at].partition(":")
        if not _is_name(scheme, rest, at):
            yield (password, False) if colon else (user, True)
        rest = rest[at:]
    for match in re.finditer(_PARAMETER, rest):
        if _tells(match[1], match[3]):
            yield match[3].strip("'\""), False
