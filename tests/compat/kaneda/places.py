"""Databases of a test's own on the shared servers, and what stands in them, read without our code."""

from __future__ import annotations

import itertools
import json
import os
import urllib.parse
import urllib.request
from typing import Any

import pymongo

from tests.services import service

_numbers = itertools.count()


def own_name() -> str:
    return f"kaneda-{os.getpid()}-{next(_numbers)}"


def http(url: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def search_url() -> str:
    return service("elasticsearch").replace("elasticsearch://", "http://").rstrip("/")


def hits(index: str, url: str = "") -> list[dict[str, Any]]:
    url = url or search_url()
    http(f"{url}/{index}/_refresh", "POST")
    found: list[dict[str, Any]] = http(f"{url}/{index}/_search?size=1000&sort=@timestamp")["hits"]["hits"]
    return found


def mongo() -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(service("mongodb"))


def influx_url() -> str:
    return service("influxdb1").replace("influxdb://", "http://").rstrip("/")


def influx(database: str, statement: str) -> list[dict[str, Any]]:
    """The series of one statement's answer."""
    about = urllib.parse.urlencode({"db": database, "q": statement, "epoch": "ns"})
    result: dict[str, Any] = http(f"{influx_url()}/query?{about}", "POST")["results"][0]
    found: list[dict[str, Any]] = result.get("series", [])
    return found
