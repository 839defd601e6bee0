"""What a model is known by: its files, whatever lies beside them, and not read twice where they are large."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from heed.artifacts import tree_hash
from heed.stages import identity
from heed.stages.identity import model_identity


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "part" / "weights").write_bytes(b"0" * 1000)
    return folder


def settle(folder: Path) -> None:
    """Wait until no file of the folder has been changed a moment ago: a clock has only so many ticks."""
    newest = max(path.stat().st_ctime for path in folder.rglob("*"))
    while time.time() <= newest + identity._SETTLED_SECONDS:
        time.sleep(0.02)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Path]]:
    """The files of each time that a model has been read through."""
    found: list[dict[str, Path]] = []

    def counted(files: dict[str, Path]) -> str:
        found.append(files)
        return tree_hash(files)

    monkeypatch.setattr(identity, "tree_hash", counted)
    monkeypatch.setattr(identity, "_WORTH_REMEMBERING", 500)
    monkeypatch.setattr(identity, "_SETTLED_SECONDS", 0.1)
    return found


def test_the_files_decide_and_not_what_lies_beside_them(model: Path) -> None:
    before = model_identity(model)
    (model / "README.md").write_text("about")
    (model / ".git").mkdir()
    (model / ".git" / "index").write_text("x")
    os.mkfifo(model / "pipe")
    assert model_identity(model) == before == model_identity(model / "part" / "..")
    (model / "part" / "weights").write_bytes(b"1" * 1000)
    changed = model_identity(model)
    assert changed != before
    (model / "part" / "weights").rename(model / "part" / "heights")
    assert model_identity(model) not in (before, changed)


def test_what_is_no_model_is_known_by_its_name_and_not_read(model: Path, read: list[dict[str, Path]]) -> None:
    (model / "config.json").unlink()
    assert model_identity(model) == str(model)
    assert model_identity("org/model") == "org/model"
    assert not read


def test_a_large_model_is_read_once_and_again_when_a_file_has_changed(model: Path, read: list[dict[str, Path]]) -> None:
    settle(model)
    first = model_identity(model)
    assert model_identity(model) == first
    assert len(read) == 1
    weights = model / "part" / "weights"
    times = weights.stat().st_mtime_ns
    weights.write_bytes(b"1" * 1000)
    os.utime(weights, ns=(times, times))  # as a copy that keeps times does: same size, same time of modification
    second = model_identity(model)
    assert second != first
    assert len(read) == 2


def test_files_that_may_be_changing_still_are_not_remembered(
    model: Path, read: list[dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_SETTLED_SECONDS", 3600)
    assert model_identity(model) == model_identity(model)
    assert len(read) == 2


def test_a_cache_that_is_damaged_or_in_the_way_costs_only_time(
    model: Path, read: list[dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(model)
    first = model_identity(model)
    (memory,) = (Path(os.environ["HEED_CACHE"]) / "models").iterdir()
    for content in ("", "[]", "{}", '{"files": 5}', json.dumps({"files": [], "identity": "lie"})):
        memory.write_text(content)
        assert model_identity(model) == first
    monkeypatch.setenv("HEED_CACHE", "/dev/null/x")
    assert model_identity(model) == first
