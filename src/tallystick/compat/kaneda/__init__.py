"""Kaneda's names in front of this library's engine: change the import, keep the code and the stored data.

    from tallystick.compat.kaneda import Metrics
    from tallystick.compat.kaneda.backends import ElasticsearchBackend

Modules, classes, parameters, settings, answers and logger names are Kaneda's. A call appends to the spool; an agent
delivers, and what a server's outage cost is waiting there. `alias()` lets `import kaneda` mean this package.
"""

from __future__ import annotations

import logging

from tallystick.compat.kaneda.aliases import alias
from tallystick.compat.kaneda.base import Metrics

__all__ = ["Metrics", "alias"]

logging.getLogger("kaneda").addHandler(logging.NullHandler())
