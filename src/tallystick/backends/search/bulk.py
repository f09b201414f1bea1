"""The answer to a bulk request, item by item: accepted, rejected with the server's reason, or kept.

- 2xx is stored. 409 is stored already: the same record (`create`), or newer content of the same id (`index`).
- 429 and 5xx are trouble that passes; 401, 403 and 404 want a person, as do the refusals in `_NOT_THE_RECORDS_FAULT`:
  the records are not to blame for any of these and are kept.
- Any other 4xx is about this document alone, most often a field that the index maps to another type: rejected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.backends._http import retry_after
from tallystick.backends.base import ACCEPTED, WriteResult
from tallystick.backends.search.http import Answer
from tallystick.errors import Misconfigured, Unavailable

PARAMETERS: Final = (
    "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
)
"""Without the rest of each item, which is most of an answer. An item always has a status, so places are kept."""

_NOT_THE_RECORDS_FAULT: Final = re.compile(
    r"validation_exception|index_closed_exception|invalid_alias_name_exception|invalid_index_name_exception"
    r"|illegal_argument_exception.*(?:pipeline with id|no write index|cannot create index|data stream"
    r"|maximum \w*\s?shards|composable template)"
)
"""4xx answers about the index that the document should have gone to, not about the document."""


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    reason: str | None = None
    caused_by: _Cause | None = None

    def __str__(self) -> str:
        cause = self.caused_by.reason if self.caused_by is not None else None
        return ": ".join(part[:500] for part in (self.type, self.reason, cause) if part)  # long ones show a value


class _Item(msgspec.Struct):
    status: int
    error: _Error | None = None


class _Reply(msgspec.Struct):
    items: list[dict[str, _Item]]


_decode: Final = msgspec.json.Decoder(_Reply).decode


def verdicts(answer: Answer, sent: Sequence[int], address: str) -> WriteResult:
    """What became of the records whose indices in the batch are `sent`, in the order of the request.

    Raises `Unavailable` or `Misconfigured` when all are kept for one of these reasons.
    """
    if answer.body.count(b'"status":201') == len(sent):  # nearly always; an item that failed has a reason instead
        return ACCEPTED
    try:
        items = [item for action in _decode(answer.body).items for item in action.values()]
    except (ValueError, TypeError) as error:
        raise Unavailable(f"{address} answered a bulk request with something else: {error}") from None
    if len(items) != len(sent):
        raise Unavailable(f"{address} answered for {len(items)} of {len(sent)} records")
    rejected: dict[int, str] = {}
    kept: dict[int, str] = {}
    misconfigured = False
    for index, item in zip(sent, items, strict=True):
        status = item.status
        if status < 300 or status == 409:
            continue
        reason = str(item.error or f"status {status}")
        if status in (408, 429) or status >= 500:
            kept[index] = reason
        elif status in (401, 403, 404) or _NOT_THE_RECORDS_FAULT.match(reason):
            kept[index] = reason
            misconfigured = True
        else:
            rejected[index] = reason
    if not rejected and not kept:
        return ACCEPTED
    wait = retry_after(answer.headers)
    if len(kept) == len(sent):
        reason = next(iter(kept.values()))
        if misconfigured:
            raise Misconfigured(f"{address} takes no records: {reason}; `tallystick check` says more", wait)
        raise Unavailable(f"{address} takes no records now: {reason}", wait)
    return WriteResult(rejected, kept, wait)
