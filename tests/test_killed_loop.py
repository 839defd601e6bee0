"""kill -9 at any moment of ``heed loop``, in any stage: the same command again ends with the very same numbers."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from heed.project import Project
from heed.train import checkpoint
from tiny_project import begin, command_line, finish, make_project, start

LOOP = ("loop", "--rounds", "2")
STAGES = [f"{stage}-{n}" for n in (1, 2) for stage in ("sample", "ask", "reward", "labels", "policy", "evaluate")]
RUNS = ["sft-1", *STAGES]
_TIMES = re.compile(r"seconds|peak_memory_mib|created|started|ended")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that two rounds leave behind when nobody disturbs them."""
    folder = tmp_path_factory.mktemp("whole")
    project = make_project(folder)
    assert finish(project, folder / "log", *LOOP) == 0, (folder / "log").read_text()
    return outcome(project)


def outcome(folder: Path) -> dict[str, Any]:
    """Every number of a project that is no time: weights, metrics, completions, judgments, costs."""
    with Project.open(folder) as project:
        runs = {run.id: run for run in project.runs()}
        weights = {
            f"{run}/{file.relative_to(project.artifact('model', run)).as_posix()}": digest(file)
            for run in runs
            if run.startswith(("sft", "reward", "policy"))
            for file in sorted(project.artifact("model", run).rglob("*.safetensors"))
        }
        return {
            "states": {name: run.state for name, run in runs.items()},
            "parents": {name: run.parents for name, run in runs.items()},
            "metrics": {name: without_times(run.metrics) for name, run in runs.items()},
            "costs": {name: (run.cost.labels, run.cost.tokens) for name, run in runs.items()},
            "learned from": {name: run.feedback for name, run in runs.items()},
            "weights": weights,
            "completions": [vars(completion) for completion in project.store.completions()],
            "judgments": [
                (s.feedback.rater, s.feedback.completion_ids, s.feedback.shown_order, s.feedback.model_dump()["choice"])
                for s in project.store.feedback()
            ],
            "files": sorted(
                file.relative_to(project.artifact("model", run)).as_posix()
                for run in runs
                if run.startswith(("sft", "reward", "policy"))
                for file in project.artifact("model", run).rglob("*")
            ),
        }


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if not _TIMES.search(key)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for part, value in expected.items():
        assert found[part] == value, part


def kill_in(run: str, folder: Path, log: Path, delay: float, how: signal.Signals = signal.SIGKILL) -> bool:
    """Start the loop and send a signal ``delay`` seconds after ``run`` was begun; whether it was still at work."""
    before = log.stat().st_size if log.exists() else 0
    process, deadline = begin(folder, log, *LOOP), time.monotonic() + 120
    told = f"{run}: ".encode()
    while process.is_alive() and (not log.exists() or told not in log.read_bytes()[before:]):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    if process.is_alive():
        os.kill(process.pid, how)
    process.join(120)
    if how == signal.SIGINT:
        return process.exitcode == 130
    assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
    return bool(process.exitcode == -signal.SIGKILL)


def done_already(folder: Path, run: str) -> bool:
    with Project.open(folder) as project:
        return any(record.id == run and record.state == "done" for record in project.runs())


def test_the_loop_these_tests_rely_on_has_learned_something(uninterrupted: dict[str, Any]) -> None:
    assert list(uninterrupted["states"]) == RUNS
    assert set(uninterrupted["states"].values()) == {"done"}
    assert len(set(uninterrupted["weights"].values())) == len(uninterrupted["weights"]), (
        "each training gave new weights"
    )
    assert len(uninterrupted["completions"]) == 36


@pytest.mark.slow
def test_killed_in_every_stage(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    project, log, chance = make_project(tmp_path), tmp_path / "log", random.Random(1)
    killed = []
    for run in RUNS:
        # A kill that came late may have let the next runs end as well: there is nothing left of those to kill.
        if not done_already(project, run) and kill_in(run, project, log, chance.random() * 0.03):
            killed.append(run)
    assert len(killed) >= 6, killed
    assert len({run.split("-")[0] for run in killed}) >= 4, killed
    assert finish(project, log, *LOOP) == 0, log.read_text()
    assert_same(outcome(project), uninterrupted)


def dying_command(folder: Path, log: Path, left: int) -> None:
    """The loop in this process, which kills itself before the ``left``-th change it makes on the disk."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **named)

        return instead

    from heed.feedback.store import Store
    from heed.models.policy import Policy
    from heed.models.reward import RewardModel

    # Writing weights is one change, and so is a transaction: both are done outside Python.
    vars(checkpoint)["save_file"] = counted(vars(checkpoint)["save_file"])
    for owner, name in ((Store, "write"), (Policy, "save"), (RewardModel, "save"), (Path, "write_text")):
        setattr(owner, name, counted(getattr(owner, name)))
    for name in ("fsync", "rename", "replace", "link", "mkdir", "unlink", "rmdir", "pwrite"):
        setattr(os, name, counted(getattr(os, name)))
    command_line(folder, log, list(LOOP))


@pytest.mark.slow
def test_killed_before_changes_on_the_disk(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    project, log, chance = make_project(tmp_path), tmp_path / "log", random.Random(2)
    deaths = 0
    for _ in range(60):
        process = start(dying_command, project, log, chance.randint(40, 160))
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, log.read_text()
        deaths += 1
    assert deaths >= 6
    assert finish(project, log, *LOOP) == 0, log.read_text()
    assert_same(outcome(project), uninterrupted)
    with closing(sqlite3.connect(project / "heed.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "run", ["policy-1", *(pytest.param(run, marks=pytest.mark.slow) for run in ("sft-1", "evaluate-1"))]
)
def test_ctrl_c_ends_with_130_says_how_to_go_on_and_loses_nothing(
    run: str, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    project, log = make_project(tmp_path), tmp_path / "log"
    assert kill_in(run, project, log, 0.02, signal.SIGINT), log.read_text()
    told = log.read_text()
    assert "the same command goes on" in told
    assert "Traceback" not in told
    with Project.open(project) as opened:
        assert opened.run(run).state == "stopped"
    assert finish(project, log, *LOOP) == 0, log.read_text()
    assert f"{run}: going on" in log.read_text()
    assert_same(outcome(project), uninterrupted)
