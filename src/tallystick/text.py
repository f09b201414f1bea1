"""Values as people read them: numbers, spans, sizes, ages, moments, sparklines. Plain text, no terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from tallystick.records import Value

_SPANS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-:=+*#"


def number(value: float) -> str:
    """At most four significant digits; whole numbers whole, with separators."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def span(seconds: float) -> str:
    """`0.0123` → `12.3 ms`, `5400` → `1.5 h`."""
    if seconds == 0:
        return "0 s"
    size, unit = next(((s, u) for s, u in _SPANS if abs(seconds) >= s), _SPANS[-1])
    return f"{seconds / size:.3g} {unit}"


def size(size_bytes: float) -> str:
    """`4194304` → `4 MiB`."""
    value, power = float(size_bytes), 0
    while abs(value) >= 1024 and power < len(_SIZES) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.3g} {_SIZES[power]}" if abs(value) < 1000 else f"{value:.0f} {_SIZES[power]}"


def quantity(value: float | None, unit: str | None, kind: str) -> str:
    """A value with its unit; a timing without one is in seconds."""
    if value is None:
        return "–"
    if kind == "timing" and unit in (None, "s", "ms"):
        return span(value / 1000 if unit == "ms" else value)
    if unit in ("B", "bytes"):
        return size(value)
    return number(value) if unit is None else f"{number(value)} {clean(unit)}"


def moment(epoch_seconds: float) -> str:
    """In UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return f"{epoch_seconds} s"


def iso(timestamp_ns: int) -> str:
    """RFC 3339 in UTC, with all nine digits of the second."""
    seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ns)


def plain_value(value: Value) -> str:
    """A record's value on one line: a text as it is, all else as JSON."""
    return clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def tag_text(value: str | None) -> str:
    """A tag's value in a cell of its own: a missing one and an empty one are told apart."""
    return "–" if value is None else value or '""'


def tags_text(tags: dict[str, str] | dict[str, str | None]) -> str:
    return clean(" ".join(f"{tag}={tag_text(value)}" for tag, value in tags.items()))


def told(text: str) -> str:
    """What went wrong, on one line; a script that is the remedy, after a colon and a new line, on lines of its own."""
    sentence, colon, script = text.partition(":\n")
    return "\n".join(clean(line) for line in [" ".join(sentence.split()) + colon[:1], *script.splitlines()])


def in_one_line(text: str, setup: str) -> str:
    """What went wrong, without a script that is the remedy; instead of it, the command `setup` that prints it."""
    sentence, _, script = text.partition(":\n")
    return f"{sentence}: the script that `{setup}` prints" if script else text


def clean(text: str) -> str:
    """On one line, with control characters shown and not sent: a recorded text must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from the smallest to the largest; a space for None, and for what is not finite."""
    values = [value if value is not None and math.isfinite(value) else None for value in values]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    bars = _BARS if _shows(_BARS) else _ASCII_BARS
    low, high = min(0.0, *known), max(known)
    half, last = high / 2 - low / 2, len(bars) - 1  # halves, since the whole may be beyond the largest float
    places = [None if value is None else round((value / 2 - low / 2) / half * last) if half else 0 for value in values]
    return "".join(" " if place is None else bars[place] for place in places)


def _shows(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
