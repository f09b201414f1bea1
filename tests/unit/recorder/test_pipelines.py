"""Which folder records wait in: one for each place that they may be for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.pipelines.targets import Where, targets
from tallystick.recorder.metrics import Metrics
from tallystick.spool.folder import Folder, pipelines


def pipeline(home: Path, backend: str | None) -> str:
    with Metrics(backend, home=home, deliver="off") as metrics:
        metrics.increment("n")
    names = [folder.name for folder in pipelines(home)]
    (waiting,) = [name for name in names if Folder(home, name).segment_ids()]
    for identity in Folder(home, waiting).segment_ids():
        Folder(home, waiting).segment(identity).unlink()
    return waiting


def test_what_the_settings_describe_is_the_pipeline_default(home: Path) -> None:
    assert pipeline(home, None) == "default"


def test_each_database_has_a_pipeline_of_its_own_and_always_the_same(home: Path, tmp_path: Path) -> None:
    one, other = f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/other.db"
    names = [pipeline(home, backend) for backend in (one, other, one)]
    assert names[0] == names[2] != names[1]
    assert all(name.startswith("sqlite-") for name in names)


def test_a_pipelines_name_and_description_know_no_secret(home: Path) -> None:
    """A new password leads to the same place; neither the one nor the other is written down."""
    urls = [f"postgresql://writer:{secret}@127.0.0.1/shop" for secret in ("hunter2", "correct-horse")]
    first, second = (pipeline(home, url) for url in urls)
    assert first == second
    assert first.startswith("postgresql-")
    held = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"127.0.0.1" in held
    assert b"hunter2" not in held
    assert b"correct-horse" not in held


@pytest.mark.parametrize("user", ["ada@", "ada:@", ""])
def test_a_name_without_a_password_is_kept_for_whoever_delivers_later(home: Path, user: str) -> None:
    url = f"postgresql://{user}127.0.0.1/shop"
    name = pipeline(home, url)
    assert Folder(home, name).description()["url"] == url
    (found,) = targets(Where(home=str(home)))
    assert (found.url, found.unknown) == (url, "")
