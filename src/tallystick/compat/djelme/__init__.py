"""The names of django-elasticsearch-metrics ("djelme") in front of this library's engine.

    INSTALLED_APPS = [..., "tallystick.compat.djelme"]
    from tallystick.compat.djelme.imps.elastic8 import EventRecord

Modules, classes, parameters, settings, index and template names, ids and documents are the package's. `record()`
appends to the spool and an agent delivers. `alias()` lets `import elasticsearch_metrics` mean this package.
"""

from __future__ import annotations

from typing import Final

from tallystick.compat.djelme.aliases import alias

__all__ = ["DAILY", "HOURLY", "MONTHLY", "YEARLY", "alias"]

YEARLY: Final = 1
MONTHLY: Final = 2
DAILY: Final = 3
HOURLY: Final = 4
