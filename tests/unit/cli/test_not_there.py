"""A database or a pipeline's folder that is not there is told from an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.calling import answer, call

from tallystick import Metrics

NOWHERE = ["sqlite:///{}/nosuch.db", "parquet:///{}/nosuch"]


@pytest.mark.parametrize("url", NOWHERE)
def test_a_copy_from_a_database_that_is_not_there_is_an_error_and_makes_none(url: str, tmp_path: Path) -> None:
    if url.startswith("parquet"):
        pytest.importorskip("duckdb")
    source = url.format(tmp_path)
    refused = call("copy", source, f"sqlite:///{tmp_path}/to.db", exits=1).stderr
    assert refused.startswith(f"tallystick: FROM: there is no {tmp_path}/nosuch")
    assert "; give the path of a database that is there" in refused
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", NOWHERE)
@pytest.mark.parametrize(
    "words", [["query", "a"], ["query", "--json"], ["export"], ["tail", "--no-follow"], ["top"]], ids=" ".join
)
def test_a_mistyped_backend_is_no_empty_one(words: list[str], url: str, tmp_path: Path) -> None:
    if url.startswith("parquet"):
        pytest.importorskip("duckdb")
    call("send", "increment", "a")
    for more in ([], ["--pipeline", "default"]):
        done = call(*words, *more, "--backend", url.format(tmp_path), exits=1)
        assert done.stderr.startswith(f"tallystick: --backend: there is no {tmp_path}/nosuch")
        assert "; give the path of a database that is there" in done.stderr
        assert done.stdout == ""
    assert not list(tmp_path.glob("nosuch*"))


def test_what_a_pipeline_records_into_is_only_not_made_yet(home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    with Metrics(url, deliver="off") as metrics:
        metrics.increment("a")
    for words in (["query"], ["export"], ["tail", "--no-follow"]):
        for more in ([], ["--backend", url]):
            assert f"nothing was delivered to {url} yet" in call(*words, *more).stderr
    assert answer("query", "--backend", url) == {"series": []}
