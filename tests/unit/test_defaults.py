"""What holds for whoever sets nothing, and how far the settings may be turned."""

from __future__ import annotations

import pytest

from tallystick.errors import SettingsError
from tallystick.settings import load_settings


def test_by_default_power_loss_costs_at_most_a_second() -> None:
    settings = load_settings()
    assert (settings.fsync, settings.fsync_interval_seconds) == ("interval", 1.0)


def test_by_default_a_full_spool_keeps_what_it_has_and_drops_what_is_new() -> None:
    settings = load_settings()
    assert (settings.when_full, settings.spool_limit_bytes) == ("drop_new", 1_000_000_000)


def test_by_default_an_exit_waits_two_seconds_for_delivery() -> None:
    assert load_settings().exit_timeout_seconds == 2.0


def test_segments_are_small() -> None:
    """Large ones would stall who makes them (64 MiB: 0.1 s)."""
    assert load_settings().segment_bytes == 4 << 20
    assert load_settings(segment_bytes=8 << 20).segment_bytes == 8 << 20
    with pytest.raises(SettingsError, match="segment_bytes"):
        load_settings(segment_bytes=(8 << 20) + 1)
