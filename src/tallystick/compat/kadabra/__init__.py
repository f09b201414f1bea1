"""Kadabra's names in front of this library's engine: change the import, keep the code, the lists and the points.

    from tallystick.compat import kadabra

Modules, classes, arguments, configuration keys, wire and logger names are Kadabra's. `send` appends to the spool; an
agent brings the entry to the Redis list, where agents of Kadabra's and of ours find it.
"""

from tallystick.compat.kadabra.agent import Agent
from tallystick.compat.kadabra.client import Kadabra
from tallystick.compat.kadabra.metrics import Counter, Dimension, Metrics, Timer, Unit, Units

__all__ = ["Agent", "Counter", "Dimension", "Kadabra", "Metrics", "Timer", "Unit", "Units"]
