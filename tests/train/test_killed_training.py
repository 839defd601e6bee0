"""Stop and go on, with real processes: kill -9 at any moment and the same again ends bit for bit where it would have."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny_training import STAGES, run_stage, start


def finish(stage: str, folder: Path) -> None:
    process = start(run_stage, stage, folder)
    process.join(120)
    assert process.exitcode == 0


class Uninterrupted(dict[str, Path]):
    """What each stage ends with when nobody disturbs it; run once it is asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory

    def __missing__(self, stage: str) -> Path:
        self[stage] = self.factory.mktemp(stage)
        finish(stage, self[stage])
        return self[stage]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Uninterrupted(tmp_path_factory)


def assert_same(folder: Path, other: Path) -> None:
    mine, theirs = load_file(folder / "final.safetensors"), load_file(other / "final.safetensors")
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name
    # Compared as text, for which one NaN equals another.
    assert (folder / "final.json").read_text() == (other / "final.json").read_text()


def steps_in(folder: Path) -> int:
    journal = folder / "journal"
    return sum(line.startswith("step ") for line in journal.read_text().splitlines()) if journal.exists() else 0


def kill_after(process: Any, folder: Path, steps: int, delay: float, how: signal.Signals) -> bool:
    """Send a signal once ``steps`` more steps and ``delay`` seconds are over; whether it was still running then."""
    goal, deadline = steps_in(folder) + steps, time.monotonic() + 120
    while steps_in(folder) < goal and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    running: bool = process.is_alive()
    if running:
        os.kill(process.pid, how)
    process.join(120)
    return running and process.exitcode != 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(stage: str, uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    chance = random.Random(stage)
    landed = 0
    for _ in range(4):
        process = start(run_stage, stage, tmp_path)
        landed += kill_after(process, tmp_path, chance.randint(1, 3), chance.random() * 0.05, signal.SIGKILL)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert landed
    finish(stage, tmp_path)
    assert "going on after step" in (tmp_path / "journal").read_text()
    assert_same(tmp_path, uninterrupted[stage])


@pytest.mark.slow
def test_killed_at_every_change_that_saving_makes_on_the_disk(uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    """The first process dies before the 1st write, the next before the 2nd, and so on through three and more saves."""
    stage, deaths = "sft", 0
    for point in range(1, 40):
        process = start(run_stage, stage, tmp_path, point)
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        deaths += 1
    finish(stage, tmp_path)
    assert deaths > 12, "three saves have more places to die than that"
    assert_same(tmp_path, uninterrupted[stage])
    assert not list((tmp_path / "c").glob(".draft-*")), "what the killed ones left is cleared away"


@pytest.mark.parametrize("stage", ["sft", "ppo-separate"])
def test_interrupted_it_finishes_the_step_saves_and_goes_on(
    stage: str, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    process = start(run_stage, stage, tmp_path)
    assert kill_after(process, tmp_path, 3, 0.0, signal.SIGINT)
    assert process.exitcode == 3, "Stopped was raised, nothing else"
    done = steps_in(tmp_path)
    newest = max((tmp_path / "c").glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))
    assert json.loads((newest / "state.json").read_text())["step"] == done, "no finished step is lost"
    finish(stage, tmp_path)
    assert f"going on after step {done} of" in (tmp_path / "journal").read_text()
    assert_same(tmp_path, uninterrupted[stage])


def test_the_stages_do_what_these_tests_rely_on(uninterrupted: dict[str, Path]) -> None:
    """Early stopping did stop early, and the KL coefficient did move."""
    fits = json.loads((uninterrupted["reward"] / "final.json").read_text())
    assert any(best < len(history) < 30 for history, best, _ in fits[:2])
    for stage in ("ppo-separate", "ppo-shared"):
        history, _, _, coefficient = json.loads((uninterrupted[stage] / "final.json").read_text())
        assert len(history) == 10
        assert coefficient != history[0]["kl_coefficient"]
