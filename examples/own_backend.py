"""A backend of one's own: `report` is called once a record, by the one who delivers.

An exception from it rejects that record, which then lies in the dead letters with the exception's text;
`ConnectionError` and `TimeoutError` keep it, and it is tried again.
"""

from __future__ import annotations

from tallystick import Metrics
from tallystick.backends import BaseBackend
from tallystick.records import Value


class Printer(BaseBackend):
    def report(self, name: str, kind: str, value: Value, tags: dict[str, str], id: str) -> None:
        if value == 13:
            raise ValueError("no 13 here")
        print(f"{kind:<8} {name} = {value} {tags}")


with Metrics(backend=Printer()) as metrics:
    metrics.increment("user.signup", tags={"plan": "pro"})
    metrics.gauge("queue.depth", 17)
    metrics.gauge("queue.depth", 13)  # see `tallystick dead list`
