"""Every documented setting, in the settings module and in Django: the object built has it. And the old import names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tallystick.compat.kaneda import Metrics, utils
from tallystick.compat.kaneda.backends import (
    BaseBackend,
    ElasticsearchBackend,
    InfluxBackend,
    LoggerBackend,
    MongoBackend,
    RethinkBackend,
)
from tallystick.compat.kaneda.exceptions import SettingsError, UnexistingKanedaClass
from tallystick.compat.kaneda.queues import BaseQueue, CeleryQueue, RQQueue, ZMQQueue

ELASTIC = {"ELASTIC_INDEX_NAME": "shop", "ELASTIC_APP_NAME": "app"}
MATRIX: list[tuple[str, type, dict[str, Any], Callable[[Any], Any], Any]] = [
    ("ElasticsearchBackend", ElasticsearchBackend, ELASTIC, lambda b: (b.index_name, b.app_name), ("shop", "app")),
    (
        "ElasticsearchBackend",
        ElasticsearchBackend,
        {**ELASTIC, "ELASTIC_HOST": ["a", "b"], "ELASTIC_PORT": 1, "ELASTIC_USER": "u", "ELASTIC_PASSWORD": "p@"},
        lambda b: b._url.partition("?")[0],
        "elasticsearch://u:p%40@a:1,b:1/shop",
    ),
    (
        "ElasticsearchBackend",
        ElasticsearchBackend,
        {**ELASTIC, "ELASTIC_CONNECTION_URL": "https://u:s@a:9"},
        lambda b: b._url.partition("?")[0],
        "elasticsearch+https://u:s@a:9/shop",
    ),
    ("ElasticsearchBackend", ElasticsearchBackend, {**ELASTIC, "ELASTIC_TIMEOUT": 7}, lambda b: b.timeout, 7),
    (
        "MongoBackend",
        MongoBackend,
        {"MONGO_DB_NAME": "d", "MONGO_COLLECTION_NAME": "c", "MONGO_HOST": "h", "MONGO_PORT": 1, "MONGO_TIMEOUT": 700},
        lambda b: b._url,
        "mongodb://h:1/d?collection=c&shape=kaneda&connect_timeout_seconds=0.7",
    ),
    (
        "MongoBackend",
        MongoBackend,
        {"MONGO_DB_NAME": "d", "MONGO_COLLECTION_NAME": "c", "MONGO_CONNECTION_URL": "mongodb://a:1,b:2/?replicaSet=r"},
        lambda b: b._url,
        "mongodb://a:1,b:2/d?replicaSet=r&collection=c&shape=kaneda&connect_timeout_seconds=0.3",
    ),
    (
        "RethinkBackend",
        RethinkBackend,
        {
            "RETHINK_DB": "d",
            "RETHINK_TABLE_NAME": "t",
            "RETHINK_HOST": "h",
            "RETHINK_PORT": 1,
            "RETHINK_USER": "u",
            "RETHINK_PASSWORD": "p",
            "RETHINK_TIMEOUT": 4,
        },
        lambda b: (b._url.partition("&allow")[0], b.db, b.table_name),
        ("rethinkdb://u:p@h:1/d?table=t&shape=kaneda&connect_timeout_seconds=4", "d", "t"),
    ),
    ("RethinkBackend", RethinkBackend, {"RETHINK_DB": "d"}, lambda b: "kaneda%3Atables" in b._url, True),
    (
        "InfluxBackend",
        InfluxBackend,
        {
            "INFLUX_DATABASE": "d",
            "INFLUX_HOST": "h",
            "INFLUX_PORT": 1,
            "INFLUX_USERNAME": "u",
            "INFLUX_PASSWORD": "p",
            "INFLUX_TIMEOUT": 4,
        },
        lambda b: (b._url.partition("?")[0], b.timeout),
        ("influxdb://u:p@h:1/d", 4),
    ),
    (
        "InfluxBackend",
        InfluxBackend,
        {"INFLUX_DATABASE": "d", "INFLUX_CONNECTION_URL": "influxdb://u:p@h:2/other"},
        lambda b: b._url.partition("?")[0],
        "influxdb://u:p@h:2/other",
    ),
    (
        "LoggerBackend",
        LoggerBackend,
        {"LOGGER_FILENAME": "m.log"},
        lambda b: Path(b.logger.handlers[0].baseFilename).name,
        "m.log",
    ),
    (
        "CeleryQueue",
        CeleryQueue,
        {"CELERY_BROKER": "redis://h/1", "CELERY_QUEUE_NAME": "q"},
        lambda q: (q.broker, q.queue_name),
        ("redis://h/1", "q"),
    ),
    (
        "RQQueue",
        RQQueue,
        {"RQ_REDIS_URL": "redis://h/1", "RQ_QUEUE_NAME": "q"},
        lambda q: (q.redis_url, q.queue_name, q.queue.name),
        ("redis://h/1", "q", "q"),
    ),
    (
        "ZMQQueue",
        ZMQQueue,
        {"ZMQ_CONNECTION_URL": "tcp://h:1", "ZMQ_TIMEOUT": 9},
        lambda q: (q.connection_url, q.timeout),
        ("tcp://h:1", 9),
    ),
]


def made_of(metrics: Any, of: type) -> Any:
    made = metrics.queue if issubclass(of, BaseQueue) else metrics.backend
    assert type(made).__name__ == of.__name__
    return made


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    def use(**given: Any) -> types.ModuleType:
        module = types.ModuleType("kanedasettings")
        module.__dict__.update(given)
        monkeypatch.setitem(sys.modules, "kanedasettings", module)
        return module

    return use


@pytest.mark.parametrize(("name", "of", "given", "look", "expected"), MATRIX)
def test_each_documented_setting_reaches_the_object(
    name: str,
    of: type,
    given: dict[str, Any],
    look: Callable[[Any], Any],
    expected: Any,
    settings: Callable[..., types.ModuleType],
) -> None:
    room = "queues" if issubclass(of, BaseQueue) else "backends"
    settings(**{"BACKEND" if room == "backends" else "QUEUE": f"kaneda.{room}.{name}"}, **given)
    assert look(made_of(Metrics(), of)) == expected
    settings(BACKEND=f"kaneda.backends.{name}", **given)  # a queue's class in BACKEND, as the documentation has it
    assert look(made_of(Metrics(), of)) == expected


DJANGO = """
import json, sys
import django
from django.conf import settings
apps = ["tallystick.compat.django_kaneda"]
settings.configure(INSTALLED_APPS=apps, DATABASES={}, SECRET_KEY="x", **json.loads(sys.argv[1]))
django.setup()
from tallystick.compat.django_kaneda import metrics, settings as ours
try:
    metrics._setup()
    made = metrics.backend or metrics.queue
    said = [type(made).__name__, {key: value for key, value in vars(ours).items() if key.isupper()}]
except Exception as error:
    said = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


def django(**given: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", DJANGO, json.dumps(given)], capture_output=True, text=True, env=os.environ.copy()
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_django_has_each_setting_with_the_documented_default() -> None:
    given = {f"KANEDA_{key}": value for _, _, those, _, _ in MATRIX for key, value in those.items()}
    name, said = django(KANEDA_BACKEND="kaneda.backends.ElasticsearchBackend", **given)
    assert name == "ElasticsearchBackend"
    assert {key: said[key.removeprefix("KANEDA_")] for key in given} == given
    name, said = django(KANEDA_BACKEND="kaneda.backends.MongoBackend", KANEDA_QUEUE="kaneda.queues.RQQueue")
    assert name == "RQQueue"
    assert said["DEBUG"] is False
    assert (said["RQ_REDIS_URL"], said["RQ_QUEUE_NAME"]) == ("", "kaneda")
    assert (said["INFLUX_TIMEOUT"], said["RETHINK_TIMEOUT"], said["MONGO_TIMEOUT"]) == (0.3, 0.3, 300)
    assert (said["ELASTIC_INDEX_NAME"], said["ELASTIC_APP_NAME"]) == ("kaneda", "default")


def test_django_debug_wins_over_all_and_what_is_wrong_is_said_at_the_first_use(tmp_path: Path) -> None:
    broker = "redis://localhost:6379/0"
    assert django(KANEDA_DEBUG=True, KANEDA_QUEUE="kaneda.queues.RQQueue")[0] == "LoggerBackend"
    assert django(KANEDA_BACKEND="kaneda.queues.CeleryQueue", KANEDA_CELERY_BROKER=broker)[0] == "CeleryQueue"
    assert django()[0] == "SettingsError"
    assert django(KANEDA_BACKEND="kaneda.backends.Nope")[0] == "UnexistingKanedaClass"
    assert django(KANEDA_QUEUE="kaneda.queues.Nope")[0] == "UnexistingKanedaClass"


class Mine(BaseBackend):
    settings_namespace = "MY_OWN"

    def __init__(self, host: str = "", port: int = 0) -> None:
        self.place = (host, port)

    def report(self, name: str, metric: str, value: Any, tags: Any, id_: Any) -> Any:
        return value


def test_a_class_of_ones_own_gets_the_settings_of_its_namespace(settings: Callable[..., types.ModuleType]) -> None:
    path = f"{__name__}.Mine"
    sys.modules[__name__] = sys.modules.get(__name__) or types.ModuleType(__name__)
    sys.modules[__name__].__dict__["Mine"] = Mine
    settings(BACKEND=path, MY_OWN_HOST="h", MY_OWN_PORT=3, MY_OTHER=1)
    metrics = Metrics()
    assert metrics.backend.place == ("h", 3)
    assert metrics.gauge("a", 7) == 7
    with pytest.raises(TypeError):
        utils.get_object_from_settings(path, settings(MY_OWN_TYPO=1))


def test_missing_and_wrong_settings_say_so(
    settings: Callable[..., types.ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANEDA_SETTINGS_MODULE", "no_such_module")
    with pytest.raises(SettingsError, match="no_such_module"):
        Metrics()
    monkeypatch.delenv("KANEDA_SETTINGS_MODULE")
    settings()
    for make in (Metrics, utils.get_backend):
        with pytest.raises(SettingsError, match="BACKEND"):
            make()
    module = settings(BACKEND="kaneda.backends.Nope")
    with pytest.raises(SettingsError):
        Metrics()
    with pytest.raises(UnexistingKanedaClass):
        utils.get_object_from_settings(module.BACKEND, module)
    other = types.ModuleType("elsewhere")
    other.__dict__["BACKEND"] = "kaneda.backends.LoggerBackend"
    monkeypatch.setitem(sys.modules, "elsewhere", other)
    monkeypatch.setenv("DEFAULT_SETTINGS_ENVAR", "elsewhere")
    assert type(Metrics().backend) is LoggerBackend


ALIASED = """
import kaneda, kaneda.utils, kaneda.backends.mongodb, django_kaneda
import tallystick.compat.kaneda.utils as ours
from unittest import mock
assert kaneda.utils is ours and kaneda.backends.mongodb.__name__.startswith("tallystick")
with mock.patch("kaneda.utils.get_settings") as patched:
    patched.return_value = type("S", (), {"BACKEND": "kaneda.backends.LoggerBackend"})
    assert type(kaneda.Metrics().backend) is kaneda.backends.LoggerBackend
from kaneda.tasks import zmq_task
from kaneda.exceptions import SettingsError
try:
    import kaneda.nothing
except ModuleNotFoundError as error:
    assert error.name == "kaneda.nothing"
print("the same objects")
"""


def test_code_that_cannot_be_edited_imports_the_same_modules_by_their_old_names(tmp_path: Path) -> None:
    script = tmp_path / "old_code.py"
    script.write_text(ALIASED)
    command = [sys.executable, "-m", "tallystick.compat.kaneda", "--", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "the same objects\n", done.stderr
