"""What a `Query` promises: a question that makes sense, or a `QueryError` at once."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.errors import QueryError
from tallystick.queries import AGGREGATES, Query, Series, finish, is_pattern, seconds_of

SPANS = [("500ms", 0.5), ("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("1.5h", 5400),
         (" 10 s ", 10), ("30", 30), (30, 30), (0.25, 0.25)]  # fmt: skip


@pytest.mark.parametrize(("span", "seconds"), SPANS)
def test_a_span_is_a_number_with_a_unit_or_seconds(span: str | float, seconds: float) -> None:
    assert seconds_of(span) == seconds


@pytest.mark.parametrize(
    "span", ["", "h", "5 years", "-5m", "0s", "1e3s", "5M", "nan", 0, -1, True, float("nan"), float("inf")]
)
def test_what_is_no_positive_span_is_refused_by_name(span: str | float) -> None:
    with pytest.raises(QueryError, match=r"^bucket: .* span"):
        Query("n", bucket=span)


@given(st.text())
def test_any_text_is_a_span_or_a_query_error(text: str) -> None:
    try:
        assert seconds_of(text) > 0
    except QueryError as error:
        assert repr(text) in str(error) or "positive" in str(error)  # noqa: PT017


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": []}, "name"),
    ({"name": ["a", ""]}, "name"),
    ({"name": [3]}, "name"),
    ({"aggregate": "median"}, "aggregate"),
    ({"kinds": [""]}, "kinds"),
    ({"by": [1]}, "by"),
    ({"by": ""}, "by"),
    ({"where": {"env": [None]}}, "where['env']"),
    ({"last": "soon"}, "last"),
    ({"last": "1h", "start": 0.0}, "last"),
    ({"last": "1h", "end": 0.0}, "last"),
    ({"start": "yesterday"}, "start"),
    ({"end": datetime(2026, 1, 1)}, "end"),  # noqa: DTZ001 - refused for this
    ({"start": 10.0, "end": 10.0}, "start"),
    ({"start": "2026-02-01", "end": "2026-01-01"}, "start"),
    ({"start": float("nan")}, "start"),
    ({"end": float("inf")}, "end"),
    ({"end": 1_763_683_200_000}, "end"),  # milliseconds
    ({"limit": 0}, "limit"),
]


@pytest.mark.parametrize(("arguments", "field"), WRONG)
def test_a_question_that_makes_no_sense_is_refused_at_once_by_the_arguments_name(
    arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(QueryError, match=f"^{re.escape(field)}: "):
        Query(**arguments)


def test_a_time_is_the_same_however_it_is_said() -> None:
    moment = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    said: list[Any] = [
        moment,
        moment.astimezone(timezone(timedelta(hours=-5))),
        moment.timestamp(),
        "2026-11-21T09:30:00",
        "2026-11-21T09:30:00Z",
        "2026-11-21T11:30:00+02:00",
    ]
    assert {Query(start=start).start for start in said} == {moment.timestamp()}
    assert Query(start="2026-11-21").start == datetime(2026, 11, 21, tzinfo=UTC).timestamp()


def test_last_is_a_span_up_to_now() -> None:
    before = time.time()
    query = Query(last="1h")
    after = time.time()
    assert query.start is not None
    assert query.end is not None
    assert before <= query.end <= after
    assert query.end - query.start == pytest.approx(3600)


def test_without_a_range_it_is_all_time() -> None:
    query = Query("n")
    assert (query.start, query.end, query.start_ns, query.end_ns, query.bucket_ns) == (None,) * 5


def test_one_word_is_as_good_as_a_list_of_one() -> None:
    one = Query("n", kinds="counter", by="route", where={"env": "prod"})
    assert one == Query(["n"], kinds=["counter"], by=["route"], where={"env": ["prod"]})
    assert (one.names, one.kinds, one.by, one.where) == (("n",), ("counter",), ("route",), {"env": ("prod",)})


def test_nanoseconds_are_whole() -> None:
    query = Query(start=0.1, end=0.3, bucket="1ms")
    assert (query.start_ns, query.end_ns, query.bucket_ns) == (100_000_000, 300_000_000, 1_000_000)
    assert Query(bucket=1e-12).bucket_ns == 1


def test_a_percentile_is_a_share() -> None:
    shares = {aggregate: Query(aggregate=aggregate).percentile for aggregate in AGGREGATES}
    assert {name: share for name, share in shares.items() if share is not None} == {
        "p50": 0.5,
        "p95": 0.95,
        "p99": 0.99,
    }


def test_a_query_can_be_asked_without_its_limit_and_stays_as_it_was() -> None:
    query = Query("n", limit=3, by="route")
    assert query.without_limit() == Query("n", by="route")
    assert query.limit == 3


def test_a_query_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Query("n").limit = 3  # type: ignore[misc]


literal = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not is_pattern(text))


@given(literal, st.text())
def test_a_name_without_wildcards_matches_itself_and_nothing_else(name: str, other: str) -> None:
    query = Query(name)
    assert query.matches_name(name)
    assert query.matches_name(other) == (other == name)


@example(["[", "a", "]", "*"], "a")
@example(["[", "!", "a", "]", "*"], "b")
@given(st.lists(st.sampled_from("aB[]!^-.\\\n*?"), min_size=1, max_size=6), st.text("aAB[]!^-.\\\n*?", max_size=6))
def test_a_pattern_knows_two_wildcards_and_no_other(parts: list[str], name: str) -> None:
    meaning = {"*": "(?s:.*)", "?": "(?s:.)"}
    wanted = re.fullmatch("".join(meaning.get(part, re.escape(part)) for part in parts), name)
    assert Query("".join(parts)).matches_name(name) == bool(wanted)


def test_any_of_several_names_will_do() -> None:
    query = Query(["user.*", "order"])
    assert [query.matches_name(name) for name in ("user.signup", "order", "orders", "user")] == [
        True,
        True,
        False,
        False,
    ]


series = st.builds(
    Series,
    name=st.sampled_from("abc"),
    tags=st.dictionaries(st.just("t"), st.none() | st.sampled_from(["", "x", "y"])),
    unit=st.none() | st.just("s"),
    points=st.lists(st.tuples(st.just(0.0), st.integers(-5, 5).map(float)), max_size=2),
)


@given(st.lists(series, max_size=8), st.randoms())
def test_the_order_of_an_answer_does_not_depend_on_the_stores_order(answer: list[Series], random: Any) -> None:
    shuffled = answer.copy()
    random.shuffle(shuffled)
    keys = [(s.name, s.tags, s.unit) for s in finish(answer, None)]
    assert keys == [(s.name, s.tags, s.unit) for s in finish(shuffled, None)]


@given(st.lists(series, max_size=8), st.integers(1, 9))
def test_a_limit_keeps_the_series_that_sum_to_the_most(answer: list[Series], limit: int) -> None:
    def total(s: Series) -> float:
        return sum(value for _, value in s.points)

    kept = [total(s) for s in finish(answer, limit)]
    assert kept == sorted(map(total, answer), reverse=True)[:limit]


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("name", {"name": "a\udcff"}),
        ("kinds", {"kinds": ["a\ud800"]}),
        ("by", {"by": "\udcff"}),
        ("where", {"where": {"\udcff": "x"}}),
        ("where['plan']", {"where": {"plan": ["pro", "\udcff"]}}),
    ],
)
def test_a_text_that_no_record_can_have_is_refused_with_the_remedy(what: str, asked: Any) -> None:
    with pytest.raises(QueryError) as raised:
        Query(**asked)
    assert str(raised.value).startswith(f"{what}: ")
    assert "has a lone surrogate, which no record has; decode it properly first" in str(raised.value)


TAKEN: list[tuple[dict[str, Any], str, Any]] = [
    ({"bucket": timedelta(minutes=5)}, "bucket_seconds", 300.0),
    ({"bucket": np.timedelta64(5, "m")}, "bucket_seconds", 300.0),
    ({"bucket": Decimal("0.5")}, "bucket_seconds", 0.5),
    ({"where": {"status": 200}}, "where", {"status": ("200",)}),
    ({"where": {"status": [200, "404"], "ok": True}}, "where", {"status": ("200", "404"), "ok": ("true",)}),
    ({"where": {"day": date(2026, 11, 21)}}, "where", {"day": ("2026-11-21",)}),
    ({"where": {"account": Decimal(9007199254740993)}}, "where", {"account": ("9007199254740993",)}),
    ({"where": None}, "where", {}),
    ({"by": None}, "by", ()),
    ({"kinds": None}, "kinds", ()),
    ({"limit": np.int64(5)}, "limit", 5),
]


@pytest.mark.parametrize(("given", "field", "meant"), TAKEN, ids=repr)
def test_a_question_takes_values_as_a_record_does(given: dict[str, Any], field: str, meant: Any) -> None:
    assert getattr(Query("n", **given), field) == meant


def test_the_last_hour_may_be_a_timedelta() -> None:
    query = Query("n", last=timedelta(hours=1))
    assert query.start_ns is not None
    assert query.end_ns is not None
    assert query.end_ns - query.start_ns == 3_600 * 10**9


class Awkward:
    """Fails when it is compared or shown."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(other)

    def __repr__(self) -> str:
        raise RuntimeError

    __gt__ = __eq__
    __hash__ = None  # type: ignore[assignment]


ARGUMENTS = ("name", "aggregate", "kinds", "where", "by", "last", "start", "end", "bucket", "limit")
WRONG_TYPES: list[Any] = [5.5, 1j, b"n", True, [None], [[]], {"a": {}}, {3: "x"}, {"a": None}, object(), print]
WRONG_TYPES += [np.array([1, 2]), np.array(["a", None]), float("nan"), Awkward()]


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("wrong", WRONG_TYPES, ids=lambda wrong: type(wrong).__name__)
def test_a_question_of_a_wrong_type_is_a_query_error_at_once(argument: str, wrong: Any) -> None:
    with contextlib.suppress(QueryError):  # 5.5 is a moment, and b"" has no place at all
        Query(**{"name": "n", argument: wrong})


MEANINGLESS: list[dict[str, Any]] = [
    {"where": "plan=pro"}, {"where": {"plan": None}}, {"by": 5}, {"limit": "5"}, {"limit": 1.5}, {"limit": True},
    {"name": None}, {"name": 5}, {"start": b"2026"}, {"last": b"5m"}, {"bucket": 1j}, {"last": timedelta(0)},
    {"start": True}, {"kinds": 3},
]  # fmt: skip


@pytest.mark.parametrize("given", MEANINGLESS, ids=repr)
def test_what_a_question_cannot_mean_is_refused_by_the_arguments_name(given: dict[str, Any]) -> None:
    (argument,) = given
    with pytest.raises(QueryError, match=rf"^{argument}"):
        Query(**{"name": "n", **given})
