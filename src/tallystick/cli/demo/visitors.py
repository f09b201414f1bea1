"""Visitors of the shop: threads that call it over HTTP, look around and buy."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from urllib.parse import quote, urlsplit

from tallystick.cli.demo.shop import LOOKS, NOUNS

VISITORS = 3
PAUSE_SECONDS = 0.04
"""About how long a visitor looks at a page: much faster than people, so that half a minute has something to show."""


class Visitors:
    """They come when it is made and go with `leave`. `answers` counts what the shop said, by HTTP status."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[int] = Counter()
        self._address = urlsplit(url).netloc
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(VISITORS)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        self._gone.set()
        for thread in self._threads:
            thread.join(5)

    def _visit(self) -> None:
        chance = random.Random()
        while not self._gone.is_set():
            self._get("/", chance)
            self._get(f"/search?q={quote(chance.choice(LOOKS + NOUNS))}", chance)
            seen = [chance.randrange(1, 106) for _ in range(chance.randrange(1, 5))]
            for number in seen:
                self._get(f"/products/{number}", chance)
            if chance.random() < 0.5:
                self._call("POST", "/checkout", json.dumps({"items": [n for n in seen if n <= 100] or [1]}))

    def _get(self, path: str, chance: random.Random) -> None:
        if not self._gone.wait(chance.expovariate(1 / PAUSE_SECONDS)):
            self._call("GET", path, None)

    def _call(self, method: str, path: str, body: str | None) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=5)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            self.answers[answer.status] += 1
        except (OSError, http.client.HTTPException):
            self.answers[0] += 1
            self._gone.wait(0.2)
        finally:
            connection.close()
