"""The texts of line protocol: names, tags and long texts in a form that every InfluxDB takes, and back.

What line protocol or a query could stumble over is percent-encoded, as in URLs, and only that: control characters,
quotes, backslashes, a `%` that would read as an encoding, and the first character of a name with a meaning of its own
(`time`, `_field`, `#…`, the names of our own tags and fields). An empty value of a tag is `%00`. So an encoded text has
no quote, no backslash and no newline, and decoding gives back every text but one with a NUL, which no record has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_KEY_BYTES: Final = 65_000
"""Of measurement and tags; the servers take 65,535, in which a field's name and their own additions must find room."""

PIECE_CHARACTERS: Final = 16_000
"""A text field is documented to take 64 KiB; a longer text goes on in `text_1`, `text_2`, …"""

RESERVED: Final = re.compile(
    "_.*|time|app|host|kind|part|pid|rate|shelf|type|unit|writer|value|timestamp_ns|integer|id|origin"
    r"|(?:text|document|datetimes|metadata|words)(?:_\d+)?",
    re.DOTALL,
)
"""Keys of ours (and of the servers), which no tag of a record has as it stands."""
_ODD: Final = re.compile(r"""[\x01-\x1f\x7f"'\\]|%(?=[0-7][0-9A-F])""")
_ENCODED: Final = re.compile("%([0-7][0-9A-F])")
_EMPTY: Final = "%00"


def encoded(text: str) -> str:
    """Raises `ValueError` for a NUL, which no record has."""
    if "\0" in text:
        raise ValueError(f"{text!r:.80} holds a NUL character")
    return _ODD.sub(_percent, text)


def decoded(text: str) -> str:
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), text) if "%" in text else text


def name_to_measurement(name: str) -> str:
    text = encoded(name)
    return _first_encoded(text) if text[:1] in ("_", "#") else text


def tag_to_key(tag: str) -> str:
    text = encoded(tag)
    return _first_encoded(text) if RESERVED.fullmatch(text) else text


def value_to_tag(value: str) -> str:
    return encoded(value) if value else _EMPTY


def tag_to_value(text: str) -> str:
    return "" if text == _EMPTY else decoded(text)


def _percent(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _first_encoded(text: str) -> str:
    return f"%{ord(text[0]):02X}{text[1:]}"


_IN_MEASUREMENT: Final = str.maketrans({",": "\\,", " ": "\\ "})
_IN_TAG: Final = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})
_IN_TEXT: Final = str.maketrans({'"': '\\"', "\\": "\\\\"})


def head_of(measurement: str, tags: Mapping[str, str]) -> str:
    """Measurement and tags as they stand in a line; all are encoded already. Raises `ValueError` when too long."""
    pairs = (f",{key.translate(_IN_TAG)}={tags[key].translate(_IN_TAG)}" for key in sorted(tags))
    head = measurement.translate(_IN_MEASUREMENT) + "".join(pairs)
    length = len(head.encode())
    if length > MAX_KEY_BYTES:
        raise ValueError(f"name and tags take {length} bytes, and InfluxDB no more than {MAX_KEY_BYTES}; use metadata")
    return head


def text_field(name: str, text: str) -> str:
    """`,text="…"`, in pieces when it is long."""
    text.encode()
    if len(text) <= PIECE_CHARACTERS:
        return f',{name}="{text.translate(_IN_TEXT)}"'
    pieces = [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]
    return "".join(
        f',{name}{f"_{number}" if number else ""}="{piece.translate(_IN_TEXT)}"' for number, piece in enumerate(pieces)
    )


def text_of(row: Mapping[str, Any], name: str) -> str | None:
    """A text field, put together from its pieces."""
    if name not in row:
        return None
    pieces = [row[name]]
    while (piece := row.get(f"{name}_{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)
