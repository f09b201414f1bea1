"""`--source` and `--column`: where data that others wrote keeps what a question needs."""

from __future__ import annotations

from typing import Any, Final

import click
import msgspec

from tallystick.backends.base import Foreign

_PARTS: Final = ("time", "value", "name", "kind", "time_unit")


def foreign_of(source: str | None, columns: tuple[str, ...]) -> Foreign | None:
    """None without a source. Raises `click.UsageError` for parts that do not exist or are missing."""
    if source is None:
        if columns:
            raise click.UsageError("--column goes with --source: name the table, index or collection")
        return None
    given: dict[str, Any] = {"source": source, "tags": {}}
    for text in columns:
        part, equals, column = text.partition("=")
        if not equals or not column or not (part in _PARTS or part.removeprefix("tag.") not in ("", part)):
            raise click.UsageError(f"--column: {text!r} must be PART=COLUMN; PART is {', '.join(_PARTS)} or tag.TAG")
        if part in _PARTS:
            given[part] = column
        else:
            given["tags"][part.removeprefix("tag.")] = column
    missing = [part for part in ("time", "value") if part not in given]
    if missing:
        raise click.UsageError(f"--source needs --column {missing[0]}=COLUMN")
    try:
        return msgspec.convert(given, Foreign)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"--column time_unit: {error}; it is ns, us, ms, s, iso or native") from None
