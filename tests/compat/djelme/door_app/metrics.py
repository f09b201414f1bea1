# mypy: ignore-errors
import datetime  # noqa: ICN001 (as in its documentation)

from elasticsearch8 import dsl as esdsl
from elasticsearch_metrics.imps.elastic8 import CountedUsageRecord, CyclicReport, EventRecord, SimpleRecord


class UsageEvent(EventRecord):
    item_id: int


class Hourly_Event(EventRecord):  # noqa: N801 (the underscore is what is tested)
    class Meta:
        timeseries_index_timedepth = 4
        timeseries_index_expiration = datetime.timedelta(days=90)


class Prefixed(EventRecord):
    class Meta:
        index_name_prefix = "door_prefix-"
        timeseries_recordtype_name = "log_entry"


class Download(CountedUsageRecord):
    kind: str


class Monthly(CyclicReport):
    CYCLE_TIMEDEPTH = 2
    UNIQUE_TOGETHER_FIELDS = ("cycle_coverage", "thing_id")
    thing_id: str
    count: int


class Key_Val(SimpleRecord):  # noqa: N801
    UNIQUE_TOGETHER_FIELDS = ("key",)
    key: str
    val: int


class Inner(esdsl.InnerDoc):
    a: str


class Rich(EventRecord):
    s: str
    inner: Inner
    text: str | None = esdsl.mapped_field(esdsl.Text(), default=None)

    class Index:
        settings = {"number_of_shards": 2, "hidden": True}  # noqa: RUF012 (the driver's own form)
