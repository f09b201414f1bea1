# mypy: ignore-errors
"""A small Django project; it prints what its requests left in the database."""

import asyncio
import json
import sys

from django.conf import settings
from django.http import HttpResponse
from django.urls import path


def item(request, number):
    return HttpResponse("ok")


def broken(request):
    raise KeyError("secret")


urlpatterns = [path("item/<int:number>/", item), path("broken/", broken)]
settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["tallystick.integrations.django"],
    MIDDLEWARE=["tallystick.integrations.django.middleware.MetricsMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TALLYSTICK={"backend": f"sqlite:///{sys.argv[1]}", "app": "shop"},
)
import django  # noqa: E402

django.setup()
from django.core.checks import run_checks  # noqa: E402
from django.core.management import execute_from_command_line  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402

from tallystick import Query  # noqa: E402
from tallystick.integrations.django import metrics, on_commit  # noqa: E402
from tallystick.typed import EventRecord  # noqa: E402


class Viewed(EventRecord):
    item: int


said = {"checks": [one.id for one in run_checks()]}
client = Client(raise_request_exception=False)
for number in (1, 2):
    client.get(f"/item/{number}/")
client.get("/broken/")
client.get("/nowhere/77/")
asyncio.run(AsyncClient().get("/item/3/"))
Viewed.record(item=1)
with transaction.atomic():
    on_commit(lambda m: m.increment("bought"))
try:
    with transaction.atomic():
        on_commit(lambda m: m.increment("rolled.back"))
        raise LookupError
except LookupError:
    pass
metrics().flush()


def counted(name, *by):
    found = metrics().query(Query(name, aggregate="count", by=by))
    return sorted([*(one.tags[tag] for tag in by), round(sum(p for _, p in one.points))] for one in found)


said["requests"] = counted("http.request", "route", "status")
said["exceptions"] = counted("http.exception", "route", "exception")
said["typed"], said["bought"], said["rolled back"] = Viewed.query().count(), counted("bought"), counted("rolled.back")
with override_settings(TALLYSTICK={"backend": "nosuch://"}):
    said["wrong"] = [one.id for one in run_checks()]
print(json.dumps(said), flush=True)
execute_from_command_line(["manage.py", "tallystick", "query", "bought", "--json"])
