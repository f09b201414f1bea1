"""Kadabra's configuration keys and their defaults. A dict given to `Kadabra` or `Agent` overrides them key by key."""

from __future__ import annotations

from typing import Any, Final

DEFAULT_CONFIG: Final[dict[str, Any]] = {
    "CLIENT_DEFAULT_DIMENSIONS": {},
    "CLIENT_TIMESTAMP_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "CLIENT_CHANNEL_TYPE": "redis",
    "CLIENT_CHANNEL_ARGS": None,
    "AGENT_TYPE": "default",
    "AGENT_LOGGER_NAME": "kadabra.agent",
    "AGENT_CHANNEL_TYPE": "redis",
    "AGENT_CHANNEL_ARGS": None,
    "AGENT_PUBLISHER_TYPE": "debug",
    "AGENT_PUBLISHER_ARGS": None,
    "AGENT_RECEIVER_THREADS": 3,
    "BATCHED_AGENT_INTERVAL_SECONDS": 60.0,
    "BATCHED_AGENT_MAX_BATCH_SIZE": 10000,
    "AGENT_NANNY_FREQUENCY_SECONDS": 30.0,
    "AGENT_NANNY_THRESHOLD_SECONDS": 60.0,
    "AGENT_NANNY_QUERY_LIMIT": 5000,
    "AGENT_NANNY_THREADS": 3,
    "BATCHED_AGENT_NANNY_MAX_BATCH_SIZE": 10000,
}


def merged(configuration: dict[str, Any] | None) -> dict[str, Any]:
    """The defaults with what was given; unknown keys do no harm."""
    return {**DEFAULT_CONFIG, **(configuration or {})}
