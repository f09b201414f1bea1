"""Typed records: a declared class for each kind of usage event, validated when it is recorded.

    class ItemViewed(EventRecord):
        item_id: str
        seconds: float = 0.0

    ItemViewed.record(item_id="a1")

Begin to read at `types.py`.
"""

from __future__ import annotations

from tallystick.typed.base import EventRecord, PeriodicReport, UsageRecord
from tallystick.typed.description import Description, described
from tallystick.typed.fields import field
from tallystick.typed.models import record
from tallystick.typed.search import Search
from tallystick.typed.types import Type, declared, type_of, use
from tallystick.typed.usage import rotating

__all__ = [
    "Description",
    "EventRecord",
    "PeriodicReport",
    "Search",
    "Type",
    "UsageRecord",
    "declared",
    "described",
    "field",
    "record",
    "rotating",
    "type_of",
    "use",
]
