"""The rows of the table of the documentation: what is promised, and which test proves it.

Each test of a class of the contract is a row. What backends prove each in its own way (how a server refuses differs)
is a row of `IN_THEIR_OWN_WAY`; a test says which ones by markers, or has a name that tells:

    @pytest.mark.promise("a conflict of types rejects the conflicting records alone")

Where a promise does not apply to a store, its test class says why; a row that a backend neither proves nor explains
is an error of the run that writes the table:

    does_not_apply = {"a request that is too large is halved": "there are no requests: the store is a file"}
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from tests.contract.faults import CrashContract, FaultContract

from tallystick.testing.answers import Answers
from tallystick.testing.base import Contract
from tallystick.testing.copying import Copying
from tallystick.testing.hostile import Hostile
from tallystick.testing.idempotency import Idempotency, Replacing
from tallystick.testing.lifecycle import Lifecycle
from tallystick.testing.roundtrip import RoundTrip

PARTS: Final[dict[str, tuple[type, ...]]] = {
    "What is written comes back": (RoundTrip,),
    "One record, one row": (Idempotency, Replacing),
    "Answers are the oracle's": (Answers,),
    "Hostile texts, poison and verdicts": (Hostile,),
    "The life of a store": (Lifecycle, Copying),
    "Bad networks, and a server that dies": (FaultContract, CrashContract),
}
"""Heading → the classes whose tests are its rows, in this order."""

IN_THEIR_OWN_WAY: Final[dict[str, dict[str, str]]] = {
    "Hostile texts, poison and verdicts": {
        "a conflict of types rejects the conflicting records alone": r"type_conflict|of_another_type|by_their_number",
        "a request that is too large is halved": r"too_large|larger_than_servers_take|-TooLarge",
        "a server in trouble is waited for as it says": r"in_trouble|waited_for_as|-Unavailable",
        "what a person must mend keeps everything and says the remedy": r"person_(must|to)|for_a_person|to_do|-Misconf",
    },
    "The life of a store": {
        "a schema that was changed or lost is noticed and mended": r"noticed_and_mended|is_made_again",
        "no password or token is ever shown": r"never_shown|ever_shown|shown_nowhere",
    },
}
"""Heading → promise → the names of tests that prove it, with their parameters, as a pattern."""


def text_of(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")


def _tests(*classes: type) -> list[str]:
    return [name for cls in classes for name in vars(cls) if name.startswith("test_")]


def _rows() -> dict[str, list[str]]:
    rows = {}
    for heading, classes in PARTS.items():
        rows[heading] = [*map(text_of, _tests(*classes)), *IN_THEIR_OWN_WAY.get(heading, ())]
    return rows


ROWS: Final = _rows()
"""Heading → rows."""

_PATTERNS: Final = {promise: pattern for part in IN_THEIR_OWN_WAY.values() for promise, pattern in part.items()}
_KNOWN: Final = {row for rows in ROWS.values() for row in rows}

NO_SERVER: Final = {
    **dict.fromkeys(map(text_of, _tests(FaultContract)), "there is no network between this store and its backend"),
    **dict.fromkeys(map(text_of, _tests(CrashContract)), "there is no server: tests/acceptance kill the application"),
    "a request that is too large is halved": "there are no requests",
    "a server in trouble is waited for as it says": "there is no server",
    "no password or token is ever shown": "there is no password",
}
"""For the `does_not_apply` of a store in files of this machine."""

RELAXED: Final[dict[str, tuple[str, str]]] = {
    "fields": (r"comes? back", "not kept here: {missing}"),
    "percentile_error": (
        r"answers equal|percentiles are|one record alone",
        "percentiles are estimated, {value:.0%} off",
    ),
    "hostile_texts": (
        r"hostile",
        "of {whole} texts {value} are tried: the server has a fault of its own with the rest",
    ),
    "tells_arrival": (r"same moment", "one of the contents stays, the same for everybody"),
    "many": (r"one nanosecond", "with {value:,} records instead of {whole:,}"),
    "cuts": (r"reply cut", "{value:,} times instead of {whole:,}"),
}
"""What a test class may relax and yet keep the promise: attribute → the rows it touches, and what the table notes."""


def promises_of(item: pytest.Item) -> set[str]:
    """The rows that this test proves."""
    name = getattr(item, "originalname", item.name)
    said = {str(marker.args[0]) for marker in item.iter_markers("promise")}
    if unknown := said - _KNOWN:
        raise pytest.UsageError(f"{item.nodeid}: no promise {sorted(unknown)} in {__name__}")
    told = {promise for promise, pattern in _PATTERNS.items() if re.search(pattern, item.name)}
    return said | told | ({text_of(name)} & _KNOWN)


def reasons_of(cls: type | None) -> dict[str, str]:
    """Promise → why it does not apply to the store of this test class."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__ if cls else ()):
        found |= vars(one).get("does_not_apply", {})
    if unknown := found.keys() - _KNOWN:
        raise pytest.UsageError(f"{cls!r}.does_not_apply: no promise {sorted(unknown)} in {__name__}")
    return found


def notes_of(cls: type | None, row: str) -> list[str]:
    """What this test class relaxes of this row."""
    notes = []
    cls = cls or object
    for attribute, (pattern, text) in RELAXED.items():
        base = next((one for one in (Contract, Hostile, FaultContract) if attribute in vars(one)), Contract)
        value, whole = getattr(cls, attribute, None), getattr(base, attribute)
        if issubclass(cls, base) and value != whole and re.search(pattern, row):
            notes.append(_say(text, value, whole))
    return notes


def _say(text: str, value: Any, whole: Any) -> str:
    if not isinstance(whole, tuple):
        return text.format(value=value, whole=whole)
    missing = ", ".join(str(one) for one in whole if one not in value)
    return text.format(value=len(value), whole=len(whole), missing=missing)
