"""A whole project that goes around the loop in a second, and the command line as a process that starts in no time.

The model knows the letters a to p and an end; the raters like the letter a. Processes are forked from a server that has
imported everything and run nothing.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from heed.config import (
    EvaluateSettings,
    PolicySettings,
    ProjectSettings,
    RewardSettings,
    SamplingSettings,
    SFTSettings,
)
from heed.project import Project
from heed.rater_settings import RatersSettings, SimulatedRaterSettings
from heed.train.progress import Watcher
from tiny_models import LETTERS, tiny_policy

# What the commands import when they need it; here the server of the processes does it once.
for _module in (
    *("alembic.command", "torch._dynamo", "heed.cli", "heed.reporting", "heed.rounds"),
    *("heed.evaluate.report_page", "heed.terminal.judge", "heed.terminal.stages", "heed.terminal.watcher"),
    *("heed.terminal.init", "heed.terminal.feedback", "heed.terminal.doctor", "heed.terminal.show"),
    *(f"heed.stages.{stage}" for stage in ("evaluation", "labels", "policy", "reward", "sampling", "supervised")),
):
    importlib.import_module(_module)
torch.set_num_threads(1)
tiny_policy()  # transformers loads a model's code when it is first made

TRAIN, TEST = 16, 6

# heed.yaml names it "liking:letter_a"; the module lies in the project's folder.
UTILITY = """
def letter_a(prompt, completion):
    return completion.count("a") / max(1, len(completion)) + 0.01 * completion.count("b")


letter_a.parts = lambda prompt, completion: {"a": float(completion.count("a")), "b": float(completion.count("b"))}
letter_a.group_weights = lambda group: {"a": 0.5, "b": 0.5}
"""


def letters(number: int, length: int) -> str:
    """A word that is different for each number."""
    return "".join(LETTERS[number // 16**place % 16] for place in range(length))


def write_lines(path: Path, rows: list[Any]) -> Path:
    """JSON lines; a text is written as it is."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def letter_likes(text: str) -> float:
    """What the raters of the tiny project like."""
    return text.count("a") / max(1, len(text)) + 0.01 * text.count("b")


def tiny_settings(model: Path, **changes: Any) -> ProjectSettings:
    """Settings of a loop of a second: every stage has several steps, pieces and checkpoints."""
    raters = [SimulatedRaterSettings(name=name, noise=0.02) for name in ("ann", "bob")]
    values: dict[str, Any] = {
        "name": "tiny",
        "model": str(model),
        "demonstrations": "demonstrations.jsonl",
        "threads": 1,
        "seed": 3,
        "device": "cpu",
        "sampling": SamplingSettings(prompts=9, samples_per_prompt=2, max_new_tokens=6, rows_per_batch=6),
        "raters": RatersSettings(
            kind="simulated",
            utility="liking:letter_a",
            simulated=raters,
            held_out=[SimulatedRaterSettings(name="gauge", noise=0.0)],
            comparisons=9,
        ),
        "sft": SFTSettings(prompts_per_step=6, epochs=2, checkpoint_every=1, learning_rate=1e-3),
        "reward": RewardSettings(
            prompts_per_step=4, epochs=2, members=2, checkpoint_every=1, test_fraction=0.3, validation_fraction=0.3
        ),
        "policy": PolicySettings(
            steps=4, prompts_per_step=3, max_new_tokens=6, epochs=2, minibatches=2, checkpoint_every=1, audit_every=2
        ),
        "evaluate": EvaluateSettings(prompts=6),
    }
    return ProjectSettings(**(values | changes))


def make_project(folder: Path, **changes: Any) -> Path:
    """A project in ``folder``/project whose model lies in ``folder``/model; nothing has been run in it."""
    model, place = folder / "model", folder / "project"
    if not model.exists():
        tiny_policy().save(model)
    Project.create(place, tiny_settings(model, **changes)).close()
    rows = [{"prompt": letters(n, 3), "split": "test" if n >= TRAIN else "train"} for n in range(TRAIN + TEST)]
    write_lines(place / "prompts.jsonl", rows)
    shown = [{"prompt": letters(n, 3), "completion": letters(7 * n + 1, 4)} for n in range(TRAIN)]
    write_lines(place / "demonstrations.jsonl", shown)
    (place / "liking.py").write_text(UTILITY, encoding="utf-8")
    return place


def command_line(
    folder: Path, log: Path, arguments: list[str], errors: Path | None = None, variables: dict[str, str] | None = None
) -> None:
    """``heed ARGUMENTS`` in this process, which goes into ``folder`` and writes both outputs to the end of ``log``.

    Args:
        errors: file for the second output; None for the same.
        variables: of the environment, beside those that are there.
    """
    from heed.cli import main

    os.chdir(folder)
    os.environ.update(variables or {})
    for stream, file in ((1, log), (2, errors or log)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    # What was forked has the streams of its parent: these belong to the log.
    sys.stdout = open(1, "w", closefd=False, buffering=1, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1, encoding="utf-8")  # noqa: SIM115
    sys.argv = ["heed", *arguments]
    main()


def start(target: Callable[..., None], *args: Any) -> Any:
    """A process that runs ``target(*args)``, started."""
    here = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, paths)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny_project"])
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def begin(folder: Path, log: Path, *arguments: str) -> Any:
    """A process at ``heed ARGUMENTS`` in ``folder``, started."""
    return start(command_line, folder, log, list(arguments))


def completed(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``heed ARGUMENTS`` in ``folder``, done, as ``subprocess.run`` tells it: a process forked where heed is loaded already."""
    with tempfile.TemporaryDirectory() as name:
        out, errors = Path(name) / "out", Path(name) / "errors"
        process = start(command_line, folder, out, list(arguments), errors, variables)
        process.join(120)
        assert process.exitcode is not None, f"heed {arguments} did not end"
        said, complained = (file.read_text(encoding="utf-8") if file.exists() else "" for file in (out, errors))
        return subprocess.CompletedProcess(arguments, process.exitcode, said, complained)


def finish(folder: Path, log: Path, *arguments: str) -> int:
    """``heed ARGUMENTS`` in ``folder``, done; its exit code."""
    process = begin(folder, log, *arguments)
    process.join(120)
    return int(process.exitcode)


class Listener(Watcher):
    """Keeps what it hears; interrupts at the ``stop_at``-th advance."""

    def __init__(self, stop_at: int = 0) -> None:
        self.heard: list[str] = []
        self.alarms: list[str] = []
        self.left = stop_at

    def say(self, text: str) -> None:
        self.heard.append(text)

    def alarm(self, text: str) -> None:
        self.alarms.append(text)

    def advance(self, done: int, total: int, line: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
