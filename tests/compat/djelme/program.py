"""A Django program of djelme's, run under the alias: it prints what the test compares."""

# mypy: ignore-errors
import datetime  # noqa: ICN001 (as in its documentation)
import json
import sys

from django.conf import settings

host, prefix = sys.argv[1:]
settings.configure(
    INSTALLED_APPS=["elasticsearch_metrics", "door_app"],
    DJELME_BACKENDS={
        "es8": {
            "elasticsearch_metrics.imps.elastic8": {"hosts": host, "djelme_default_index_name_prefix": prefix},
        }
    },
    USE_TZ=True,
)
import django  # noqa: E402

django.setup()
from django.core.management import call_command  # noqa: E402
from door_app.metrics import Download, Hourly_Event, Key_Val, Monthly, Prefixed, Rich, UsageEvent  # noqa: E402
from elasticsearch8 import dsl  # noqa: E402
from elasticsearch_metrics.exceptions import IndexTemplateNotFoundError  # noqa: E402
from elasticsearch_metrics.imps.elastic8 import BaseDjelmeRecord  # noqa: E402
from elasticsearch_metrics.registry import registry  # noqa: E402

U = datetime.UTC
said = {}
Prefixed.Meta.index_name_prefix = prefix + Prefixed.Meta.index_name_prefix
client = dsl.connections.get_connection("es8")
try:
    UsageEvent.record(item_id=1)
except IndexTemplateNotFoundError as error:
    said["before setup"] = error.args[0].replace(prefix, "")
try:
    call_command("djelme_backend_setup")
    for kind in registry.each_recordtype():
        kind.check_djelme_setup()
    said["templates"] = {
        kind.__name__: kind.get_timeseries_template().to_dict()["template"] for kind in (UsageEvent, Rich, Monthly)
    }
    t = datetime.datetime(2026, 3, 4, 5, 6, 7, 891234, tzinfo=U)
    made = [
        UsageEvent.record(item_id=5, timestamp=t, unknown_field="kept"),
        UsageEvent.record(item_id="7", timestamp=datetime.datetime(2026, 3, 4, 5, 6, 7)),  # noqa: DTZ001
        Hourly_Event.record(timestamp=t.astimezone(datetime.timezone(datetime.timedelta(hours=-6)))),
        Prefixed.record(timestamp=t),
        Download.record(
            platform_iri="p", database_iri="d", item_iri="i", kind="k", client_session_id="s1", timestamp=t
        ),
        Monthly.record(cycle_coverage="2026.3", thing_id="a", count=1, created=t),
        Monthly.record(cycle_coverage=datetime.date(2026, 3, 9), thing_id="a", count=2, created=t),
        Key_Val.record(key="hello", val=2),
        Rich.record(s="s", inner={"a": "x"}, timestamp=t),
    ]
    said["documents"] = []
    BaseDjelmeRecord._get_connection("es8")  # waits for what was saved
    for one in made:
        found = client.get(index=one.meta.index, id=one.meta.id)
        unique = len(one.meta.id) > 40
        said["documents"].append([one.meta.index.replace(prefix, ""), one.meta.id if unique else "", found["_source"]])
    UsageEvent.refresh()
    said["search"] = sorted(hit.item_id for hit in UsageEvent.search())
    said["range"] = [hit.item_id for hit in UsageEvent.search_timeseries_range((2026, 3, 4, 5), (2026, 3, 4, 5, 6, 7))]
    said["range to within"] = UsageEvent.timeseries_index_range_pattern((2025, 1, 30), (2025, 1, 31, 5)).replace(
        prefix, ""
    )
    said["expired"] = [one.is_expired for one in Hourly_Event.each_existing_index()]
    said["read"] = [Key_Val.get(id=made[7].meta.id, index=made[7].meta.index).val]

    class Other(dsl.Document):
        text: str

    said["other documents"] = Other._doc_type.mapping.to_dict()["properties"]["text"]["type"]
finally:
    for kind in registry.each_recordtype():
        kind.do_teardown(client)
print(json.dumps(said))
