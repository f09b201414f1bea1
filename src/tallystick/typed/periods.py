"""Periods of time in UTC: `"2026"`, `"2026-11"`, `"2026-11-21"`, `"2026-11-21T09"`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from tallystick.errors import RecordError

PERIODS: Final = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}


def period_of(moment: date | datetime | str, period: str, field: str = "cycle") -> str:
    """The period that a moment lies in, by UTC; a naive datetime means UTC, a text is ISO 8601 or a period's name.

    Raises `RecordError` for a text that is neither.
    """
    if isinstance(moment, str):
        moment = _read(moment, field)
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    text = moment.strftime(PERIODS[period])
    return text.zfill(len(text) + 4 - len(str(moment.year))) if text.startswith(f"{moment.year}") else text


def _read(text: str, field: str) -> datetime:
    for form in PERIODS.values():
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RecordError(
            "value", field, f"{text!r:.80} is no period; write 2026, 2026-11, 2026-11-21 or a date"
        ) from None
