"""Fields that hold time, each with the precision that the engine gives it: filters, histograms and moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tallystick.backends.search.http import Json
from tallystick.backends.search.shape import LATEST_NS, moment_text

MILLISECOND_NS: Final = 1_000_000


@dataclass(frozen=True)
class Time:
    """A field that holds time, and how: `date_nanos` or `date` of the mapping, or numbers of `unit_ns` each, be they
    whole or with a fraction.

    A `date_nanos` field holds the years 1970 to 2262; to filter by a moment beyond these is an error there.
    """

    field: str = "@timestamp"
    held_as: Literal["date_nanos", "date", "whole", "fraction"] = "date_nanos"
    unit_ns: int = MILLISECOND_NS

    def between(self, start_ns: int | None, end_ns: int | None) -> list[Json] | None:
        """The filters for `start_ns <= t < end_ns`, exactly; None when nothing can be there."""
        limits: Json = {}
        if self.held_as == "date_nanos":
            if (end_ns is not None and end_ns <= 0) or (start_ns is not None and start_ns >= LATEST_NS):
                return None
            if start_ns is not None and start_ns > 0:
                limits["gte"] = moment_text(start_ns)
            if end_ns is not None and end_ns < LATEST_NS:
                limits["lt"] = moment_text(end_ns)
        else:
            for name, moment in (("gte", start_ns), ("lt", end_ns)):
                if moment is not None:
                    # Of whole units: not before a moment is not before that moment rounded up.
                    exact = moment / self.unit_ns if self.held_as == "fraction" else -(-moment // self.unit_ns)
                    limits[name] = exact
            if limits and self.held_as == "date":
                limits["format"] = "epoch_millis"
        return [{"range": {self.field: limits}}] if limits else []

    def histogram(self, bucket_ns: int) -> Json | None:
        """The source of a composite aggregation with such buckets, aligned to the epoch; None where the engine has none
        that is exact: it counts dates in milliseconds, and numbers as doubles."""
        if bucket_ns % self.unit_ns or self.unit_ns == 1:
            return None
        if self.held_as in ("date_nanos", "date"):
            interval = f"{bucket_ns // MILLISECOND_NS}ms"
            return {"date_histogram": {"field": self.field, "fixed_interval": interval}}
        return {"histogram": {"field": self.field, "interval": bucket_ns // self.unit_ns}}

    def row_ns(self, key: float) -> int:
        """The start of a histogram's row in nanoseconds."""
        return round(key) * self.unit_ns

    def sorted_ns(self, value: float) -> int:
        """What `sort` gives for a document, in nanoseconds."""
        if self.held_as == "date_nanos":
            return int(value)
        return round(value * self.unit_ns)
