"""This machine, measured by psutil: processor, memory, disk and network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tallystick.plugins import missing_extra
from tallystick.recorder.metrics import Metrics


class Host:
    """`sample` records the state of this moment, and what was read, written, sent and received since the last one.

    Raises `MissingExtra` when psutil is not installed. What a machine does not tell (some containers have no disk
    counters) is left out.
    """

    def __init__(self, metrics: Metrics, folder: str) -> None:
        try:
            import psutil
        except ImportError as error:
            raise missing_extra("demo", error) from error
        self._psutil = psutil
        self._metrics = metrics
        self._folder = folder
        self._totals: dict[str, int] = {}
        psutil.cpu_percent()  # the first call has nothing to compare with
        self._flows()

    def sample(self) -> None:
        psutil, gauge = self._psutil, self._metrics.gauge
        memory = psutil.virtual_memory()
        gauge("host.cpu.used", psutil.cpu_percent(), unit="%")
        gauge("host.memory.used", memory.total - memory.available, unit="B")
        gauge("host.disk.used", psutil.disk_usage(self._folder).percent, unit="%")
        for name, amount in self._flows().items():
            self._metrics.increment(name, amount, unit="B")

    def _flows(self) -> dict[str, int]:
        """Bytes by name since the last call."""
        disk = _told(self._psutil.disk_io_counters)
        network = _told(self._psutil.net_io_counters)
        totals: dict[str, int] = {}
        if disk:
            totals |= {"host.disk.read": disk.read_bytes, "host.disk.written": disk.write_bytes}
        if network:
            totals |= {"host.network.sent": network.bytes_sent, "host.network.received": network.bytes_recv}
        since = {name: max(0, total - self._totals.get(name, total)) for name, total in totals.items()}
        self._totals = totals
        return since


def _told(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (OSError, RuntimeError):
        return None
