"""What the stages of the loop start from: the project's prompts, the models that its runs made, and the truth."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heed.config import NO_MODEL
from heed.errors import ConfigError, DataError, ProjectError
from heed.feedback.store import PromptRecord
from heed.folder import SETTINGS_FILE
from heed.preflight import base_identity, check_constraints, check_prompts, check_raters
from heed.project import Project
from heed.questions import unique
from heed.raters.utilities import Utility, utility_by_name
from heed.runs import RunRecord
from heed.stages.data import load_prompts, report_broken
from heed.stages.results import prepare_machine
from heed.train.progress import Watcher


@dataclass
class Sources:
    """What can be read from a project, and is checked as it is read; ``watcher`` hears what is left out."""

    project: Project
    watcher: Watcher

    @property
    def settings(self) -> Any:
        return self.project.settings

    def load_prompts(self) -> None:
        """Read the prompts file into the store, as :func:`heed.stages.data.load_prompts` does.

        Raises:
            DataError: the file is missing, or has no good line.
        """
        path = self.project.folder / self.settings.prompts
        for line in report_broken(path, load_prompts(self.project.store, path)):
            self.watcher.alarm(f"left out: {line}")

    def check(self) -> None:
        """Read the prompts, and refuse what would stop the loop only after hours: device, raters, constraints, model, long
        prompts.

        Raises:
            HeedError: what is wrong.
        """
        self._device()
        check_raters(self.project)
        check_constraints(self.project)
        base_identity(self.project, self._base_model())
        self.load_prompts()
        check_prompts(self.project, self._base_model())

    def newest_policy(self) -> tuple[str, str]:
        """Where the newest policy lies, and the run that made it ("base": the model of ``heed.yaml``)."""
        found = [run for stage in ("policy", "sft") if (run := self.project.latest(stage)) is not None]
        return self._model_of(found[0]) if found else (self._base_model(), "base")

    def reference_policy(self) -> tuple[str, str]:
        """The policy that optimisation starts from and the KL is measured to: the tuned one, else the base model."""
        tuned = self.project.latest("sft")
        return self._model_of(tuned) if tuned is not None else (self._base_model(), "base")

    def _base_model(self) -> str:
        """The model of ``heed.yaml``; a relative path that lies in the project starts there.

        Raises:
            ConfigError: none has been chosen.
        """
        if self.settings.model == NO_MODEL:
            raise ConfigError(
                f"{SETTINGS_FILE}: no model has been chosen",
                f"this project was made to collect feedback first, and says 'model: {NO_MODEL}'.",
                f"Set 'model' in {SETTINGS_FILE} to a model folder or a hub id; to sample, also write "
                f"{self.settings.prompts}.",
            )
        inside = self.project.folder / self.settings.model
        return str(inside if inside.is_dir() else self.settings.model)

    def _model_of(self, run: RunRecord) -> tuple[str, str]:
        return str(self.project.artifact("model", run.id)), run.id

    def _prompts(self, split: str) -> list[PromptRecord]:
        # Imported feedback brings prompts of its own, so some being there does not mean that the file has been read.
        if not any(prompt.source == Path(self.settings.prompts).name for prompt in self.project.store.prompts()):
            self.load_prompts()
        own = Path(self.settings.prompts).name
        found = [prompt for prompt in self.project.store.prompts(split=split) if prompt.source == own]
        if not found:
            raise DataError(
                f"the project has no {split} prompts",
                f"none in {self.settings.prompts} belongs to that split.",
                f'Add lines with "split": "{split}", or leave "split" out and heed holds a tenth out.',
            )
        return found

    def _chosen_prompts(self, turn: int, count: int) -> list[PromptRecord]:
        """The next ``count`` training prompts in a shuffled order that goes around."""
        prompts = self._prompts("train")
        random.Random(f"prompts:{self.settings.seed}").shuffle(prompts)
        count = min(count, len(prompts))
        start = turn * count % len(prompts)
        return (prompts + prompts)[start : start + count]

    def _reference_texts(self, maker: str) -> list[tuple[Any, str]] | None:
        """Samples of the reference policy, which the scores are centred and scaled to; None where it wrote none."""
        runs = [r for r in self.project.runs() if r.stage == "sample" and r.state == "done"]
        own = [r.id for r in runs if r.metrics.get("policy") == maker]
        if not own:
            return None
        found = self.project.store.completions(run_id=own[0])[:512]
        prompts = {p.id: p.content for p in self.project.store.prompts(ids=unique(c.prompt_id for c in found))}
        return [(prompts[c.prompt_id], c.text) for c in found]

    def truth(self) -> Utility | None:
        """The true utility, where the raters are simulated and there is one."""
        name = self.settings.raters.utility
        return utility_by_name(name) if name else None

    def _latest(self, stage: str, command: str) -> RunRecord:
        found = self.project.latest(stage)
        if found is None:
            raise ProjectError(f"no {stage} run is done", "this stage needs its result.", f"Run '{command}' first.")
        return found

    def _policy_of(self, run_id: str) -> RunRecord:
        """The run of this id, where it made a policy.

        Raises:
            ProjectError: it did not, or there is none.
        """
        found = self.project.run(run_id)
        if found.stage != "policy" or found.state != "done":
            raise ProjectError(
                f"run '{run_id}'",
                f"it is a run of the stage '{found.stage}' and {found.state}, and made no policy.",
                "Name a run of 'heed train policy' that is done: see 'heed runs'.",
            )
        return found

    def _device(self) -> str:
        """The device of ``heed.yaml``, after its threads have been set."""
        return prepare_machine(self.settings.device, self.settings.threads)
