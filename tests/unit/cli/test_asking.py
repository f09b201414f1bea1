"""`query`, `top`, `tail` and `export`: what they answer, and of which pipeline."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call, lines

from tallystick import Metrics
from tallystick.cli.export import COLUMNS


@pytest.fixture
def shop(home: Path) -> float:
    """Some records of every kind, delivered; the moment before the first."""
    began = time.time()
    with Metrics(app="shop") as metrics:
        for number in range(10):
            metrics.increment("sale", number, tags={"plan": "pro" if number % 2 else "free"}, timestamp=began + number)
            metrics.timing("search", number / 100, timestamp=began + number)
        metrics.timing("render", 42, unit="ms")
        metrics.gauge("depth", 17)
        metrics.event("deploy", "v42\x1b[31m is out", tags=["release"])
        metrics.custom("hotel", "xml", {"status": "ok"}, id_="2B75")
        assert metrics.flush(10)
    return began


def test_without_an_aggregate_each_metric_shows_what_suits_its_kind(shop: float) -> None:
    by_name = {one["name"]: one for one in answer("query", "--end", shop + 60)["series"]}
    assert by_name["sale"]["kind"] == "counter"
    assert by_name["sale"]["values"] == {"count": 10, "sum": 45}
    assert sum(value for _, value in by_name["sale"]["points"]) == 45
    assert by_name["search"]["values"] == pytest.approx({"count": 10, "mean": 0.045, "p95": 0.09, "max": 0.09})
    assert by_name["depth"]["values"] == {"count": 1, "last": 17, "mean": 17, "min": 17, "max": 17}
    assert by_name["deploy"]["values"] == {"count": 1}
    assert (by_name["hotel"]["kind"], by_name["hotel"]["values"]) == ("own kind", {"count": 1})
    shown = call("query", "--end", shop + 60).stdout
    for text in ("sale", "45", "45 ms", "42 ms", "v42\\x1b[31m is out", "▁"):
        assert text in shown


def test_with_an_aggregate_it_answers_as_the_library_does(shop: float) -> None:
    assert answer("query", "sale", "--aggregate", "sum", "--by", "plan")["series"] == [
        {"name": "sale", "tags": {"plan": "free"}, "unit": None, "points": [[0, 20]]},
        {"name": "sale", "tags": {"plan": "pro"}, "unit": None, "points": [[0, 25]]},
    ]
    where = answer("query", "s*", "--aggregate", "count", "--where", "plan=pro", "--start", shop + 2.5)
    assert [one["points"] for one in where["series"]] == [[[shop + 2.5, 4]]]
    both = answer("query", "sale", "--aggregate", "count", "--where", "plan=pro", "--where", "plan=free")
    assert both["series"][0]["points"] == [[0, 10]], "the same tag again is an alternative"
    steps = answer("query", "sale", "--aggregate", "sum", "--bucket", "1s")["series"][0]["points"]
    assert len(steps) == 10
    assert sum(value for _, value in steps) == 45
    assert "2,025" not in call("query", "sale", "--aggregate", "sum").stdout
    assert "45" in call("query", "sale", "--aggregate", "sum").stdout


def test_limit_keeps_the_largest(shop: float) -> None:
    with Metrics() as metrics:
        metrics.increment("small", 1)
        assert metrics.flush(10)
    found = answer("query", "--kind", "counter", "--limit", "1", "--end", shop + 60)["series"]
    assert [one["name"] for one in found] == ["sale"]


def test_it_answers_while_the_application_runs(home: Path) -> None:
    with Metrics() as metrics:
        for number in range(1, 4):
            metrics.increment("signup")
            assert metrics.flush(10)
            assert answer("query", "signup", "--aggregate", "count")["series"][0]["points"] == [[0, number]]


def test_nothing_found_says_what_there_is_instead(home: Path) -> None:
    empty = call("query", "signup")
    assert "nothing was delivered to" in empty.stderr
    assert not home.exists(), "a question makes no database"
    with Metrics() as metrics:
        metrics.increment("old", timestamp=time.time() - 7 * 86_400)
        assert metrics.flush(10)
    assert "but 1 before: ask with --last 30d" in call("query", "old").stderr
    assert answer("query", "old", "--last", "30d")["series"][0]["values"] == {"sum": 1, "count": 1}
    with Metrics(deliver="off") as metrics:
        metrics.increment("waiting")
    assert "1 wait in the spool" in call("query", "waiting").stderr


@pytest.mark.parametrize(
    ("ages_days", "says"),
    [
        ([7], "but 1 before: ask with --last 30d"),
        ([20_000, 40], "but 2 before: ask with --start "),
        ([-365], "but 1 later than now: ask with --start "),
        ([-0.1], "but 1 later than now: ask with --start "),
        ([7, -365], "but 1 before and 1 later than now: ask with --start "),
        ([None, -365], "but 1 before and 1 later than now: ask with --start 1970-01-01 --end "),
    ],
)
def test_the_options_that_it_recommends_find_what_there_is(
    ages_days: list[float | None], says: str, home: Path
) -> None:
    now = time.time()
    with Metrics() as metrics:
        for age in ages_days:
            metrics.increment("old", timestamp=0 if age is None else now - age * 86_400)
        assert metrics.flush(10)
    hint = call("query", "old").stderr
    assert says in hint
    options = hint.rpartition("ask with ")[2].strip().rstrip(".").split()
    (found,) = answer("query", "old", *options)["series"]
    assert found["values"]["count"] == len(ages_days)
    assert call("query", "old", *options).stdout


def test_the_only_pipeline_is_asked_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    with Metrics(f"sqlite:///{tmp_path}/one.db") as metrics:
        metrics.increment("a")
        assert metrics.flush(10)
    assert answer("query", "a", "--aggregate", "count")["target"] == f"sqlite:///{tmp_path}/one.db"
    with Metrics(f"sqlite:///{tmp_path}/two.db") as metrics:
        metrics.increment("b")
        assert metrics.flush(10)
    refused = call("query", "a", exits=2).stderr
    assert "name one with --pipeline (there are: sqlite-" in refused
    names = [one["pipeline"] for one in answer("status")["pipelines"]]
    targets = {answer("query", "--pipeline", name, "--aggregate", "count")["target"] for name in names}
    assert targets == {f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db"}
    assert (
        answer("query", "--backend", f"sqlite:///{tmp_path}/two.db", "--aggregate", "count")["series"][0]["name"] == "b"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--aggregate", "median"], "'median' is not one of"),
        (["--aggregate", "sum", "--last", "5y"], "'5y' is no time span"),
        (["--start", "yesterday"], "'yesterday' is not an ISO 8601 time"),
        (["--where", "plan"], "must be TAG=VALUE"),
        (["--pipeline", "nosuch"], "there is no 'nosuch'"),
        (["--backend", "sqlite3:///x"], "did you mean sqlite://?"),
    ],
)
def test_a_question_that_makes_no_sense_ends_with_2_and_one_sentence(words: list[str], says: str) -> None:
    with Metrics() as metrics:
        metrics.increment("a")
    assert says in call("query", *words, exits=2).stderr


def test_top_shows_rates_and_the_newest_values(home: Path) -> None:
    with Metrics() as metrics:
        metrics.increment("sale", 30)
        metrics.gauge("depth", 17)
        assert metrics.flush(10)
    (shown,) = lines("top", "--json", "--count", "1", "--window", "10s")
    by_name = {one["name"]: one for one in shown["series"]}
    assert by_name["sale"]["per_second"] == pytest.approx(3)
    assert by_name["depth"]["values"]["last"] == 17
    assert "last 17" in call("top").stdout, "without a terminal it asks once"


def test_tail_prints_the_newest_oldest_first(shop: float) -> None:
    found = lines("tail", "sale", "--no-follow", "-n", "3", "--json")
    assert [one["value"] for one in found] == [7, 8, 9]
    shown = call("tail", "--no-follow", "--kind", "event").stdout
    assert "v42\\x1b[31m is out" in shown
    assert "\x1b" not in shown, "a recorded text does not steer the terminal"


def test_export_gives_every_record_back(shop: float, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call("export").stdout)))
    assert len(rows) == 24
    assert sum(float(row["number"]) for row in rows if row["name"] == "sale") == 45
    assert json.loads(next(row["value"] for row in rows if row["name"] == "hotel")) == {"status": "ok"}
    objects = lines("export", "--format", "jsonl", "sale")
    assert [one["value"] for one in objects] == list(range(10))
    assert {one["app"] for one in objects} == {"shop"}
    assert len({one["id"] for one in objects}) == 10
    file = tmp_path / "out.csv"
    assert "24 records in" in call("export", "-o", file).stderr
    assert file.read_text() == call("export").stdout


def test_export_to_parquet_is_read_by_duckdb(shop: float, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    file = tmp_path / "it's.parquet"
    call("export", "--format", "parquet", "-o", file)
    found = duckdb.sql(
        f"SELECT name, sum(number), count(*) FROM '{str(file).replace(chr(39), chr(39) * 2)}' GROUP BY 1"
    )
    assert {name: (total, count) for name, total, count in found.fetchall()}["sale"] == (45.0, 10)
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".part", ".jsonl")] == []


def test_export_to_parquet_without_duckdb_says_what_to_install(
    shop: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    refused = call("export", "--format", "parquet", "-o", tmp_path / "x.parquet", exits=1)
    assert "pip install 'tallystick[parquet]'" in refused.stderr
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_before_the_first_delivery_makes_the_file_all_the_same(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"out.{form}"
    duckdb = pytest.importorskip("duckdb") if form == "parquet" else None
    done = call("export", "--format", form, "-o", file)
    assert "nothing was delivered to sqlite:" in done.stderr
    assert f"0 records in {file}" in done.stderr
    if duckdb:
        assert duckdb.sql(f"SELECT id, number FROM '{file}'").fetchall() == []
    else:
        assert file.read_text() == (",".join(COLUMNS) + "\n" if form == "csv" else "")
        assert call("export", "--format", form).stdout == file.read_text()


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    for more in ([], ["--backend", "postgresql://127.0.0.1:1/nobody"]):
        refused = call("export", "-o", tmp_path / "none" / "x.csv", *more, exits=1).stderr
        assert refused.startswith(f"tallystick: --output: cannot write {tmp_path}/none/x.csv: No such file")


def test_an_output_that_is_no_plain_file_is_written_into_and_not_replaced(shop: float, tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "out.csv"
    os.mkfifo(pipe)
    link.symlink_to(file)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        call("export", "-o", pipe)
        call("export", "-o", link)
        assert os.read(reader, 1 << 16).decode() == file.read_text() == call("export").stdout
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_an_export_that_fails_leaves_the_file_as_it_was(shop: float, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("before")
    database = tmp_path / "home" / "default" / "records.db"
    database.write_bytes(b"this is no database " * 500)
    call("export", "-o", file, exits=1)
    assert file.read_text() == "before"
    assert list(tmp_path.glob(".*.part")) == []
