"""Names of a type's indices: `<prefix><app>_<recordtype>_<timeparts>.`, so that a wildcard covers a span of time.

>>> str(TimeseriesIndexNaming("my_app", "Usage", (2026, 11, 21, 9), GregorianTime(3)))
'myapp_usage_2026.11.21.'
>>> str(TimeseriesRangePattern("ap", "rt", (5020, 2, 2), (5020, 3, 3), GregorianTime(3)))
'ap_rt_5020.2.*,ap_rt_5020.3.1.*,ap_rt_5020.3.2.*'
"""

from __future__ import annotations

import dataclasses
import datetime  # noqa: ICN001 (its users name it so)
from collections.abc import Iterator
from typing import Self

from tallystick.compat.djelme.util.timeparts import (
    TIMEPART_DELIMITER,
    AbstractTimeparts,
    GregorianTime,
    Timeparts,
    TimepartStrat,
    serialize_timeparts,
)

__all__ = [
    "TIMEPART_DELIMITER",
    "GregorianTime",
    "TimeseriesIndexNaming",
    "TimeseriesRangePattern",
    "format_namepart",
    "format_template_name",
]


def format_namepart(namepart: str) -> str:
    return namepart.replace("_", "").lower()


def format_template_name(app_label: str, recordtype: str) -> str:
    return f"{format_namepart(app_label)}_{format_namepart(recordtype)}__template"


def _format_timename(timeparts: AbstractTimeparts) -> str:
    return f"{serialize_timeparts(timeparts)}{TIMEPART_DELIMITER}"


@dataclasses.dataclass(frozen=True)
class TimeseriesIndexNaming:
    app_label: str
    recordtype: str
    given_timeparts: AbstractTimeparts | datetime.date | str
    timepart_strat: TimepartStrat
    prefix: str = ""

    @classmethod
    def parse(cls, index_name: str, timepart_strat: TimepartStrat, *, prefix: str = "") -> Self:
        if not index_name.startswith(prefix):
            raise ValueError(f"expected prefix {prefix!r} on index name {index_name!r}")
        rest = index_name.removeprefix(prefix)
        words = rest.split("_")
        if len(words) != 3:
            raise ValueError("expected index name format applabel_recordtype_timeparts", rest)
        return cls(words[0], words[1], words[2], timepart_strat, prefix=prefix)

    @property
    def timeparts(self) -> Timeparts:
        """As given."""
        return self.timepart_strat.get_timeparts(self.given_timeparts, pad=False, truncate=False)

    @property
    def timeparts_for_naming(self) -> Timeparts:
        return self.timepart_strat.get_timeparts(self.given_timeparts)

    @property
    def timeparts_for_wildcard(self) -> Timeparts:
        return self.timepart_strat.get_timeparts(self.given_timeparts, pad=False)

    def __str__(self) -> str:
        return self.to_str()

    def to_str(self, *, wildcard: bool = False) -> str:
        parts = self.timeparts_for_wildcard if wildcard else self.timeparts_for_naming
        time = _format_timename(parts) if parts else ""
        name = f"{format_namepart(self.app_label)}_{format_namepart(self.recordtype)}_{time}"
        return f"{self.prefix}{name}{'*' if wildcard else ''}"


@dataclasses.dataclass(frozen=True)
class TimeseriesRangePattern:
    """The wildcards that cover a range of time; where more than `max_fanout` stand side by side, one for all."""

    app_label: str
    recordtype: str
    from_when: AbstractTimeparts | datetime.date
    until_when: AbstractTimeparts | datetime.date
    timepart_strat: TimepartStrat
    index_name_prefix: str = ""
    max_fanout: int = 3

    @property
    def from_timeparts(self) -> Timeparts:
        return self.timepart_strat.get_timeparts(self.from_when)

    @property
    def until_timeparts(self) -> Timeparts:
        return self.timepart_strat.get_timeparts(self.until_when)

    def __str__(self) -> str:
        return self.to_str()

    def to_str(self, *, include_less_timedepth: bool = False) -> str:
        return ",".join(self.each_name_in_timerange(include_less_timedepth=include_less_timedepth))

    def each_name_in_timerange(self, *, include_less_timedepth: bool = False) -> Iterator[str]:
        lesser: set[Timeparts] = set()
        spans = self.timepart_strat.each_timeparts_in_timerange(
            self.from_timeparts, self.until_timeparts, max_fanout=self.max_fanout
        )
        for parts in spans:
            yield self._naming(parts, self.timepart_strat).to_str(wildcard=True)
            lesser.update(parts[:depth] for depth in range(len(parts)))
        for parts in sorted(lesser) if include_less_timedepth else ():
            yield str(self._naming(parts, self.timepart_strat.with_default_timedepth(len(parts))))

    def _naming(self, parts: Timeparts, strat: TimepartStrat) -> TimeseriesIndexNaming:
        return TimeseriesIndexNaming(self.app_label, self.recordtype, parts, strat, prefix=self.index_name_prefix)
