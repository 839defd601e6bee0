"""The demonstration: the whole loop on the built-in world, with nothing downloaded and nobody to ask."""

from __future__ import annotations

from pathlib import Path

from heed.config import (
    EvaluateSettings,
    PolicySettings,
    ProjectSettings,
    RewardSettings,
    SamplingSettings,
    SFTSettings,
)
from heed.folder import check_new_folder, is_project
from heed.loop import run_loop
from heed.project import Project
from heed.rater_settings import RatersSettings, SimulatedRaterSettings
from heed.rounds import Rounds
from heed.train.progress import Watcher

_LONGEST_REPLY = 72

RATERS = RatersSettings(
    kind="simulated",
    utility="support_desk",
    simulated=[
        SimulatedRaterSettings(name="careful-1", behaviour="careful"),
        SimulatedRaterSettings(name="noisy-1", behaviour="noisy"),
        SimulatedRaterSettings(name="careful-2", behaviour="careful"),
        SimulatedRaterSettings(name="noisy-2", behaviour="noisy"),
    ],
    held_out=[
        SimulatedRaterSettings(name="judge-1", behaviour="careful"),
        SimulatedRaterSettings(name="judge-2", behaviour="careful"),
    ],
    comparisons=2000,
    guidelines="Which reply would you rather have received from the support desk?",
)
"""Half of the raters are careful and half are noisy, as people are; those who judge evaluations never train."""


def sandbox_settings(name: str, model: Path, seed: int) -> ProjectSettings:
    """Settings of a project in the built-in world: 2,000 comparisons by careful and noisy simulated raters."""
    return ProjectSettings(
        name=name,
        model=str(model),
        demonstrations="demonstrations.jsonl",
        seed=seed,
        sampling=SamplingSettings(prompts=1000, samples_per_prompt=4, max_new_tokens=_LONGEST_REPLY),
        raters=RATERS.model_copy(deep=True),
        sft=SFTSettings(epochs=1, prompts_per_step=64, learning_rate=5e-4),
        reward=RewardSettings(pooling="last", members=3, epochs=2, prompts_per_step=64, learning_rate=1e-3),
        policy=PolicySettings(
            steps=40,
            prompts_per_step=64,
            samples_per_prompt=2,
            max_new_tokens=_LONGEST_REPLY,
            epochs=2,
            learning_rate=5e-4,
            value_model="shared",
            kl_coefficient=0.1,
            entropy_coefficient=0.05,
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

    check_new_folder(folder)  # before the base model is trained, for a minute
    prepare_machine("cpu")
    settings = sandbox_settings(name, base_model(watcher), seed)
    return Project.create(folder, settings, lambda place: write_project_files(place, seed))


def run_demo(folder: str | Path = "demo", seed: int = 0, watcher: Watcher | None = None) -> tuple[Path, Path]:
    """Run the loop once in ``folder``/seed-N and write ``folder``/report.json and report.html; goes on where it stopped.

    Raises:
        HeedError: see its message. Stopped: on Ctrl-C.
    """
    watcher, place = watcher or Watcher(), Path(folder) / f"seed-{seed}"
    if is_project(place):
        project = Project.open(place)
    else:
        project = create_sandbox(place, f"demo, seed {seed}", seed, watcher)
    with project:
        run_loop(project, 1, watcher)
        return Rounds(project, watcher).report(folder)
