"""From `Kadabra.send` to the spool: one `Metrics` of ours for each pair of lists in a process."""

from __future__ import annotations

import json
import threading
from typing import Any, Final

from tallystick.compat.kadabra.channels import RedisChannel
from tallystick.compat.kadabra.entries import WHOLE
from tallystick.compat.kadabra.lists import ListChannel
from tallystick.recorder.metrics import Metrics

_metrics: Final[dict[str, Metrics]] = {}
_lock = threading.Lock()
LARGE_CHARACTERS: Final = 100_000
"""A larger entry does not surely fit a record of the spool; it is pushed at once."""


def send_later(channel: RedisChannel, metrics: Any) -> None:
    """Returns when the entry is in the spool."""
    text = json.dumps(metrics.serialize())
    if len(text) > LARGE_CHARACTERS:
        channel.client.lpush(channel.queue_key, text)
        return
    found = _metrics.get(channel.url)
    if found is None:
        with _lock:
            found = _metrics.get(channel.url)
            if found is None:
                found = _metrics[channel.url] = Metrics(ListChannel.from_url(channel.url))
    found.custom(channel.queue_key, WHOLE, text)
