"""The folder of a stage's result: who may write to it, and which folders are refused."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from heed.errors import ProjectError
from heed.stages.results import Output, output_folder
from tiny_models import tiny_policy
from tiny_project import begin, finish, letters, write_lines

TUNE = ["train", "sft", "--model", "model", "--data", "shown.jsonl", "--out", "out", "--set", "checkpoint_every=1"]
LONG = [*TUNE, "--set", "epochs=5", "--set", "prompts_per_step=4", "-q"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model and demonstrations."""
    tiny_policy().save(tmp_path / "model")
    shown = [{"prompt": letters(n, 3), "completion": letters(5 * n, 4)} for n in range(12)]
    write_lines(tmp_path / "shown.jsonl", shown)
    return tmp_path


def wait_for(process: Any, path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused_and_the_first_one_loses_nothing(place: Path) -> None:
    first = begin(place, place / "first", *LONG)
    wait_for(first, place / "out" / "checkpoints" / "main" / "step-2")
    os.kill(first.pid, signal.SIGSTOP)  # at work for as long as this test needs it
    for number, other in enumerate((["--seed", "5"], [])):
        log = place / f"second-{number}"
        assert finish(place, log, *LONG, *other) == 2
        told = log.read_text()
        assert "error: folder out" in told
        assert f"process {first.pid} on " in told
    os.kill(first.pid, signal.SIGKILL)
    first.join(60)
    assert first.exitcode == -signal.SIGKILL
    assert finish(place, place / "again", *LONG) == 0, (place / "again").read_text()
    undisturbed = [*LONG[: LONG.index("out")], "twin", *LONG[LONG.index("out") + 1 :]]
    assert finish(place, place / "twin-log", *undisturbed) == 0
    names = {entry.name for entry in (place / "out").iterdir()}
    assert names == {entry.name for entry in (place / "twin").iterdir()}
    assert not {"checkpoints", ".heed-run"} & names
    weights = [(place / folder / "model.safetensors").read_bytes() for folder in ("out", "twin")]
    assert weights[0] == weights[1]


def test_a_failed_run_lets_go_of_its_folder_and_can_be_given_again(tmp_path: Path) -> None:
    output = Output(tmp_path / "out", "sft", {"seed": 1})
    other = Output(tmp_path / "out", "sft", {})
    with output.claimed() as finished:
        assert finished is None
        with pytest.raises(ProjectError, match="this very process"), other.claimed():
            pass
    with pytest.raises(ZeroDivisionError), output.claimed():
        _ = 1 / 0
    assert output_folder(tmp_path / "out") == tmp_path / "out"
    with output.claimed():
        made = output.finish({"loss": 1.0}, "done", 5)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["heed.json"]
    with output.claimed() as finished:
        assert finished == made
    with pytest.raises(ProjectError, match="result of another sft run"), other.claimed():
        pass


def test_what_a_process_killed_at_the_very_end_left_is_cleared_away(tmp_path: Path) -> None:
    output = Output(tmp_path / "out", "sft", {})
    with output.claimed():
        output.finish({}, "done", 5)
    (tmp_path / "out" / ".heed-run").touch()
    (tmp_path / "out" / "checkpoints" / "main").mkdir(parents=True)
    with output.claimed() as finished:
        assert finished is not None
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["heed.json"]


def test_a_folder_with_something_else_in_it_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("thesis.txt", "data.csv", "photo.png", "checkpoints", "z"):
        (tmp_path / "full" / name).mkdir(parents=True)
    with pytest.raises(ProjectError, match=r"it has checkpoints, data\.csv, photo\.png and 2 more"):
        output_folder(tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="it is a file"):
        output_folder(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ProjectError, match=r"it is a link to .*gone, which does not exist"):
        output_folder(tmp_path / "link")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ProjectError, match="loop"):
        output_folder(tmp_path / "loop", [tmp_path / "full"])
    monkeypatch.chdir(tmp_path / "full")
    for current in ("", ".", Path()):
        with pytest.raises(ProjectError, match=r"current folder.* here are checkpoints"):
            output_folder(current)
    monkeypatch.chdir(tmp_path / "full" / "z")
    with pytest.raises(ProjectError, match="a folder of its own"):
        output_folder("")
    assert output_folder(tmp_path / "full" / "z") == tmp_path / "full" / "z"


@pytest.mark.parametrize("out", ["", ".", "full", "model"])
def test_an_unfit_folder_is_refused_before_the_model_is_read(place: Path, out: str) -> None:
    (place / "full").mkdir()
    (place / "full" / "thesis.txt").write_text("precious")
    (place / "model" / "model.safetensors").write_bytes(b"not looked at")
    before = {entry: entry.stat().st_mtime_ns for entry in sorted(place.rglob("*"))}
    command = [out if argument == "out" else argument for argument in TUNE]
    assert finish(place, place.parent / f"{place.name}.log", *command) == 2
    told = (place.parent / f"{place.name}.log").read_text()
    found = {"full": "it has thesis.txt", "model": "overwrite"}.get(out, "here are full, model, shown.jsonl")
    assert found in told
    assert {entry: entry.stat().st_mtime_ns for entry in sorted(place.rglob("*"))} == before
