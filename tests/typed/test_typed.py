"""Typed records: what is declared is validated, stored as a document, and comes back equal from every store."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import Metrics, QueryError, RecordError
from tallystick.errors import SettingsError
from tallystick.testing import capture
from tallystick.typed import (
    EventRecord,
    PeriodicReport,
    UsageRecord,
    declared,
    described,
    field,
    record,
    rotating,
    type_of,
    use,
)

_EARLY, _LATE = datetime(1971, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 (hypothesis adds the zone)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct):
    name: str
    size: int = 1


class ItemViewed(EventRecord):
    item_id: str = field(tag=True)
    seconds: float = 0.0

    class Meta:
        period = "day"
        retention_days = 90


class Rich(EventRecord):
    text: str
    whole: int
    number: float
    yes: bool
    when: datetime
    day: date
    money: Decimal
    key: UUID
    colour: Colour
    parts: list[Part]
    names: list[str] = field(default_factory=list)
    perhaps: int | None = None


class Monthly(PeriodicReport):
    thing: str
    total: int

    class Meta:
        unique_together = ("thing",)


class Download(UsageRecord):
    class Meta:
        session_key = rotating("secret")


class Plain(UsageRecord):
    pass


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    with Metrics(f"sqlite:///{tmp_path / 'm.db'}") as made:
        use(made)
        yield made
        use(None)


def test_what_was_recorded_comes_back_equal(metrics: Metrics) -> None:
    made = Rich.record(
        text="ä",
        whole=-(2**63),
        number=1.0,
        yes=True,
        when=datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2))),
        day=date(2026, 1, 1),
        money=Decimal("1.10"),
        key=UUID(int=7),
        colour=Colour.RED,
        parts=[Part("a"), Part("b", 2)],
    )
    assert metrics.flush()
    assert list(Rich.query()) == [made]


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    whole=st.integers(-(2**63), 2**63 - 1),
    number=st.floats(allow_nan=False, allow_infinity=False),
    money=st.decimals(allow_nan=False, allow_infinity=False),
    when=st.datetimes(_EARLY, _LATE, timezones=st.timezones()),
    perhaps=st.none() | st.integers(-5, 5),
)
def test_every_value_of_a_field_survives_a_line_of_the_spool(**values: Any) -> None:
    rest = {"yes": False, "day": date(2026, 1, 1), "key": UUID(int=1), "colour": Colour.BLUE, "parts": []}
    kind = type_of(Rich)
    made = kind.made(values | rest)
    from tallystick.codec import Reader, record_line
    from tallystick.records import NOWHERE

    (read,), damaged = Reader(NOWHERE).records(record_line(kind.record_of(made)), 0)
    assert not damaged
    back = kind.loaded(read)
    # Python finds an hour that comes twice unequal in any two zones, so moments are compared in one.
    assert back.when.astimezone(UTC) == made.when.astimezone(UTC)
    back.when = made.when
    assert back == made


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "ItemViewed.item_id"),
        ({"item_id": 5}, "ItemViewed.item_id"),
        ({"item_id": "a", "seconds": "1"}, "ItemViewed.seconds"),
        ({"item_id": "a", "second": 1}, "ItemViewed.second"),
        ({"item_id": "a", "seconds": float("inf")}, "ItemViewed.seconds"),
    ],
)
def test_a_wrong_value_is_refused_by_the_field_s_name(metrics: Metrics, fields: dict[str, Any], said: str) -> None:
    with capture() as captured, pytest.raises(RecordError, match=said):
        ItemViewed.record(**fields)
    assert not captured.records


def test_a_wrong_value_inside_is_refused_by_its_path(metrics: Metrics) -> None:
    values = {"text": "", "whole": 1, "number": 1, "yes": True, "when": "2026-01-01", "day": date(2026, 1, 1)}
    with pytest.raises(RecordError, match=r"Rich\."):
        Rich.record(**values, money="1", key=UUID(int=1), colour="red", parts=[{"name": 3}])


def test_a_search_filters_groups_counts_and_sums(metrics: Metrics) -> None:
    start = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    for minute, (item, seconds) in enumerate([("a", 1.5), ("b", 2.0), ("a", 4.0)]):
        ItemViewed.record(item_id=item, seconds=seconds, timestamp=start + timedelta(minutes=minute))
    assert metrics.flush()
    assert ItemViewed.query().count() == 3
    assert ItemViewed.query().where(item_id="a").count() == 2
    assert ItemViewed.query().where(item_id=["a", "b"], seconds__gte=2).count() == 2
    assert ItemViewed.query().group_by("item_id").count() == {"a": 2, "b": 1}
    assert ItemViewed.query().group_by("item_id").sum("seconds") == {"a": 5.5, "b": 2.0}
    assert ItemViewed.query().between(start, start + timedelta(minutes=2)).sum("seconds") == 3.5
    assert [one.seconds for one in ItemViewed.query().latest(2)] == [4.0, 2.0]
    assert [one.seconds for one in ItemViewed.query().where(seconds__lt=3).latest()] == [2.0]
    assert list(ItemViewed.query().to_pandas()["item_id"]) == ["a", "b", "a"]
    with pytest.raises(QueryError, match="fields are item_id, seconds"):
        ItemViewed.query().where(item="a")


def test_a_report_of_the_same_cycle_replaces_the_one_before(metrics: Metrics) -> None:
    for total in (1, 2):
        Monthly.record(cycle=date(2026, 11, 3), thing="x", total=total)
    Monthly.record(cycle="2026-11", thing="y", total=5)
    Monthly.record(cycle="2026-12-31T23:30:00-01:00", thing="x", total=7)
    assert metrics.flush()
    found = {(one.cycle, one.thing, one.total) for one in Monthly.query()}
    assert found == {("2026-11", "x", 2), ("2026-11", "y", 5), ("2027-01", "x", 7)}


def test_a_session_is_the_same_within_an_hour_and_tells_nothing_of_the_user(metrics: Metrics) -> None:
    at = datetime(2026, 1, 1, 10, 5, tzinfo=UTC)
    about: dict[str, Any] = {"platform": "p", "database": "d", "item": "i"}
    first = Download.record(user_id="ada", timestamp=at, **about)
    same = Download.record(user_id="ada", timestamp=at + timedelta(minutes=50), **about)
    later = Download.record(user_id="ada", timestamp=at + timedelta(hours=1), **about)
    other = Download.record(host="h", user_agent="ada", timestamp=at, **about)
    assert first.session == same.session
    assert len({first.session, later.session, other.session}) == 3
    assert Plain.record(user_id="ada", timestamp=at, **about).session != first.session
    assert metrics.flush()
    assert all("ada" not in json.dumps(one.value, default=str) for one in Download.query().records())
    with pytest.raises(RecordError, match=r"Download\.session"):
        Download.record(**about)


def test_models_of_msgspec_and_pydantic_are_types(metrics: Metrics) -> None:
    pydantic = pytest.importorskip("pydantic")

    @record(period="month", unique_together=("name",))
    class Made(msgspec.Struct):
        name: str
        size: int = 1

    model: Any = record(pydantic.create_model("Model", name=(str, ...), size=(int, 1)))
    type_of(Made).record({"name": "a"})
    type_of(Made).record({"name": "a", "size": 2})
    model.record(name="b")
    assert metrics.flush()
    assert list(Made.query()) == [Made("a", 2)]  # type: ignore[attr-defined]
    assert list(model.query()) == [model(name="b", size=1)]
    for kind, name in ((type_of(Made), "Made"), (type_of(model), "Model")):
        with pytest.raises(RecordError, match=rf"{name}\.size"):
            kind.record({"name": "a", "size": "x"})


def test_a_type_is_described_beside_its_records(metrics: Metrics) -> None:
    ItemViewed.record(item_id="a")
    assert metrics.folder is not None
    (found,) = [one for one, _ in described(metrics.folder) if one.name == "ItemViewed"]
    assert (found.period, found.retention_days, found.fields) == ("day", 90, ["item_id", "seconds"])
    assert metrics.flush()
    (stored,) = ItemViewed.query().records()
    assert stored.metadata["type"] == found.digest
    command = [sys.executable, "-m", "tallystick", "types", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert [(one["digest"], one["type"]["name"]) for one in told["types"]] == [(found.digest, "ItemViewed")]


def test_options_are_inherited_and_abstract_is_not() -> None:
    class Base(EventRecord):
        a: int = 1

        class Meta:
            abstract = True
            period = "hour"

    class Real(Base):
        b: str

    assert type_of(Real).options.period == "hour"
    assert Base not in [one.of for one in declared()]
    with pytest.raises(SettingsError, match="abstract"):
        Base.record()
    with pytest.raises(SettingsError, match="period 'week'"):
        type("Wrong", (EventRecord,), {"Meta": type("Meta", (), {"period": "week"})})
    with pytest.raises(SettingsError, match="cannot be called query"):
        type("Wrong", (EventRecord,), {"__annotations__": {"query": str}, "query": ""})


def test_threads_that_record_at_once_describe_the_type_once(metrics: Metrics) -> None:
    threads = [threading.Thread(target=lambda: ItemViewed.record(item_id="a")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.flush()
    assert ItemViewed.query().count() == 8
