"""The demonstration: the whole loop on the built-in world, with nothing downloaded and nobody to ask."""

from __future__ import annotations

from pathlib import Path

from heed.config import (
    EvaluateSettings,
    PolicySettings,
    ProjectSettings,
    RatersSettings,
    RewardSettings,
    SamplingSettings,
    SFTSettings,
    SimulatedRaterSettings,
)
from heed.loop import run_loop
from heed.project import Project
from heed.rounds import Rounds
from heed.train.progress import Watcher

_LONGEST_REPLY = 72


def sandbox_settings(name: str, model: Path, seed: int) -> ProjectSettings:
    """Settings of a project in the built-in world: 2,000 comparisons by careful and noisy simulated raters."""
    raters = [
        SimulatedRaterSettings(name="ada", behaviour="careful"),
        SimulatedRaterSettings(name="ben", behaviour="noisy"),
        SimulatedRaterSettings(name="cleo", behaviour="careful", group="hurried"),
        SimulatedRaterSettings(name="dan", behaviour="noisy", group="courteous"),
    ]
    judges = [
        SimulatedRaterSettings(name="judge-hurried", behaviour="careful", group="hurried"),
        SimulatedRaterSettings(name="judge-courteous", behaviour="careful", group="courteous"),
    ]
    return ProjectSettings(
        name=name,
        model=str(model),
        demonstrations="demonstrations.jsonl",
        seed=seed,
        sampling=SamplingSettings(prompts=1000, samples_per_prompt=4, max_new_tokens=_LONGEST_REPLY),
        raters=RatersSettings(
            kind="simulated", utility="support_desk", simulated=raters, held_out=judges, comparisons=2000
        ),
        sft=SFTSettings(epochs=1, prompts_per_step=64, learning_rate=5e-4),
        reward=RewardSettings(pooling="last", epochs=2, prompts_per_step=64, learning_rate=1e-3),
        policy=PolicySettings(
            steps=40,
            prompts_per_step=64,
            samples_per_prompt=2,
            max_new_tokens=_LONGEST_REPLY,
            epochs=2,
            learning_rate=5e-4,
            value_model="shared",
            kl_target=8.0,
            entropy_coefficient=0.02,
            kl_budget=25.0,
        ),
        evaluate=EvaluateSettings(prompts=400),
    )


def create_sandbox(folder: Path, name: str, seed: int, watcher: Watcher) -> Project:
    """A new project in the built-in world; its base model is trained first where it is not in the cache.

    Raises:
        ProjectError: the folder is a project already, is not empty, or cannot be written.
    """
    from heed.sandbox.world import base_model, write_project_files
    from heed.stages.results import prepare_machine

    prepare_machine("cpu")
    project = Project.create(folder, sandbox_settings(name, base_model(watcher), seed))
    write_project_files(folder, seed)
    return project


def run_demo(folder: str | Path = "demo", seed: int = 0, watcher: Watcher | None = None) -> tuple[Path, Path]:
    """Run the loop once in ``folder``/seed-N and write ``folder``/report.json and report.html; goes on where it stopped.

    Raises:
        HeedError: see its message. Stopped: on Ctrl-C.
    """
    watcher, place = watcher or Watcher(), Path(folder) / f"seed-{seed}"
    if (place / "heed.yaml").is_file():
        project = Project.open(place)
    else:
        project = create_sandbox(place, f"demo, seed {seed}", seed, watcher)
    with project:
        run_loop(project, 1, watcher)
        return Rounds(project, watcher).report(folder)
