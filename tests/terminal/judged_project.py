"""A project with sampled pairs to be judged, made without any model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.config import ProjectSettings
from heed.feedback.kinds import Message, completion_id
from heed.feedback.store import CompletionRecord
from heed.project import Cost, Project
from heed.rater_settings import RatersSettings, SimulatedRaterSettings


def make_project(folder: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    """A project in ``folder`` in which a run has sampled each pair of texts for a prompt of its own."""
    raters = RatersSettings(
        guidelines="Which one is [bold]clearer[/bold]?", held_out=[SimulatedRaterSettings(name="gauge")]
    )
    settings = ProjectSettings(name="judged", model="nobody/none", raters=raters)
    with Project.create(folder, settings) as project:
        contents = [(Message(role="user", content=f"question {number}"),) for number in range(len(pairs))]
        prompts = project.store.add_prompts([(content, "train", "test") for content in contents])
        with project.begin_run("sample", {}, seed=0) as run:
            project.store.add_completions(
                [
                    CompletionRecord(completion_id(prompt, text, f"{run.id}:{place}"), prompt, text, run.id, place)
                    for number, (prompt, pair) in enumerate(zip(prompts, pairs, strict=True))
                    for place, text in enumerate(pair, 2 * number)
                ]
            )
            run.finish({"completions": 2 * len(pairs), "prompts": len(pairs)}, Cost())
    return folder
