"""A setting's value as found (a text of the environment, TOML, a Python object) → as the program holds it.

A text of the environment may stand for a number, a yes or no, a list or a table; elsewhere types are taken as they are,
so `strict = "no"` in a file is an error and not true. What cannot be is a `SettingsError` with value, place and remedy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.errors import SettingsError
from tallystick.masking import mask_url
from tallystick.places import Found

_WORDS: Final = {
    "yes": True,
    "on": True,
    "1": True,
    "true": True,
    "no": False,
    "off": False,
    "0": False,
    "false": False,
}


def coerce(name: str, type_: Any, must: str, found: Found) -> Any:
    """The value of the setting `name`; `must` says in an error what it has to be."""
    try:
        if name == "home":
            return _folder(found)
        value = msgspec.convert(_plain(name, type_, found), type_, strict=not found.text)
        _check_texts(value)
    except (msgspec.MsgspecError, ValueError, LookupError):
        shown = mask_url(found.value if isinstance(found.value, str) else repr(found.value))
        raise SettingsError(f"{name}: {shown[:200]!r} ({found.place}) must be {must}") from None
    return tuple(dict.fromkeys(key.strip().lower() for key in value)) if name == "scrub" else value


def _plain(name: str, type_: Any, found: Found) -> Any:
    """What msgspec can judge: texts taken apart, mappings made dicts."""
    value = found.value
    if isinstance(value, Mapping):
        return dict(value)
    if not found.text:
        return value
    text = value.strip()
    if name == "tags":
        return msgspec.json.decode(text) if text.startswith("{") else dict(_pairs(text))
    if name == "scrub":
        return msgspec.json.decode(text) if text.startswith("[") else [word for word in text.split(",") if word.strip()]
    kind = getattr(type_, "__origin__", type_)
    if kind is bool:
        return _WORDS[text.lower()]
    return value if kind is str or kind == str | None else text.replace("_", "") if text[:1].isdigit() else text


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ValueError(pair)
        yield key.strip(), value.strip()


def _check_texts(value: Any) -> None:
    """No NUL and no lone surrogates: neither a path nor a line of the spool can hold them."""
    for text in [value] if isinstance(value, str) else value if isinstance(value, tuple | dict) else []:
        if "\0" in text or (not text.isascii() and text.encode("utf-8", "replace").decode() != text):
            raise ValueError(text)
    if isinstance(value, dict):
        _check_texts(tuple(value.values()))


def _folder(found: Found) -> Path:
    if not isinstance(found.value, str | Path):
        raise ValueError(found.place)
    text = os.path.expanduser(found.value)  # the pathlib way raises where this leaves the `~`
    if not text.strip() or text.startswith("~"):
        raise ValueError(text)
    folder = Path(text)
    if not folder.is_absolute():
        folder = (found.folder or _here()) / folder
    _check_texts(str(folder))  # it is named in texts, too
    return folder


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ValueError(str(error)) from None
