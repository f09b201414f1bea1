"""Kadabra's helpers of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def get_now() -> datetime:
    """Now in UTC, without a zone, as all of Kadabra's times are."""
    return datetime.now(UTC).replace(tzinfo=None)


def get_datetime_from_timestamp_string(timestamp_string: str, timestamp_format: str) -> datetime:
    return datetime.strptime(timestamp_string, timestamp_format)  # noqa: DTZ007  (naive means UTC here)


def timedelta_total_seconds(td: timedelta) -> float:
    return td.total_seconds()
