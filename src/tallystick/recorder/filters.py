"""What may still change or drop a record before anything reaches the disk.

A filter is a callable that takes a `Draft` and returns it (changed or not), another one, or None to drop the record:

    Metrics(filters=[drop("debug.*"), rename("signup", "user.signup"), lambda draft: draft])

A filter that raises drops its record, too (it may have been about to remove something private); both are counted.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from tallystick.recorder.draft import Draft

Filter: TypeAlias = Callable[[Draft], Draft | None]

MASK: Final = "***"


def drop(*patterns: str) -> Filter:
    """Drops the records whose name fits one of the patterns (`*`, `?`)."""
    fits = re.compile("|".join(fnmatch.translate(pattern.replace("[", "[[]")) for pattern in patterns)).match

    def dropping(draft: Draft) -> Draft | None:
        return None if fits(draft.name) else draft

    return dropping


def rename(old: str, new: str) -> Filter:
    """Gives the metric `old` the name `new`."""

    def renaming(draft: Draft) -> Draft:
        if draft.name == old:
            draft.name = new
        return draft

    return renaming


class Scrub:
    """Masks the values of keys such as `password`, in tags, metadata and documents.

    A key fits when it is one of `keys`, or ends with one after an underscore (`user_password`); case does not matter,
    and `-`, `.` and a change of case (`userPassword`) count as underscores.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        endings = "|".join(sorted(re.escape(_plain(key)) for key in keys))
        self._fits = re.compile(f"(?:.*_)?(?:{endings})" if endings else r"(?!)", re.DOTALL).fullmatch

    def fits(self, key: str) -> bool:
        return self._fits(_plain(key)) is not None

    def __call__(self, draft: Draft) -> Draft:
        if isinstance(draft.tags, dict):
            draft.tags = self.tags(draft.tags)
        if draft.metadata:
            draft.metadata = self._scrubbed(draft.metadata)
        if isinstance(draft.value, (dict, list)):
            draft.value = self._scrubbed(draft.value)
        return draft

    def tags(self, tags: dict[str, str]) -> dict[str, str]:
        return {key: MASK if self.fits(key) else value for key, value in tags.items()}

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: MASK if self.fits(key) else self._scrubbed(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._scrubbed(part) for part in value]
        return value


def _plain(key: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return re.sub(r"[-.\s]", "_", words).casefold()
