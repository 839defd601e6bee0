"""What the stages of the loop have in common: a run record around each, begun, kept, and found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from heed.preflight import base_identity
from heed.round_sources import Sources
from heed.runs import Cost, Run, RunRecord
from heed.stages.results import StageResult


@dataclass
class RoundRuns(Sources):
    """Runs of one project; ``fresh``: do a stage anew even if it was done before with the same inputs."""

    fresh: bool = False

    def _done(self, stage: str, round_: int) -> RunRecord | None:
        """The run of this stage that the loop finished in this round; a later round's feedback does not undo it."""
        if not round_ or self.fresh:
            return None
        found = [r for r in self.project.runs() if (r.stage, r.round, r.state) == (stage, round_, "done")]
        same = [run for run in found if run.seed == self.settings.seed]
        if same:
            self.watcher.say(f"{same[-1].id} was done before in round {round_}")
        return same[-1] if same else None

    @contextmanager
    def _run(
        self,
        stage: str,
        config: dict[str, Any],
        round_: int,
        parents: Sequence[str],
        feedback: Sequence[str] = (),
    ) -> Iterator[Run]:
        """A run record around a stage, which calls ``finish``; in state "done" where it was done before."""
        settings = self.settings
        base = {"base": settings.model, "base_identity": base_identity(self.project, self._base_model())}
        machine = {**base, "device": settings.device, "threads": settings.threads}
        known = [parent for parent in parents if parent != "base"]
        run = self.project.begin_run(stage, {**config, **machine}, settings.seed, known, feedback, round_, self.fresh)
        if run.state == "done":
            self.watcher.say(f"{run.id} was done before with the same inputs")
            yield run
            return
        self.watcher.say(f"{run.id}: {'going on' if run.resumed else 'started'}")
        with run:
            yield run

    def _keep(self, run: Run, done: StageResult, feedback: Sequence[str] = (), **more: Any) -> None:
        """Finish a training run with the model it made; ``feedback`` are judgments that it has asked for itself, ``more`` goes
        into its record."""
        metrics = {**done.metrics, **more, "verdict": done.verdict}
        run.finish(metrics, Cost(len(feedback), done.tokens, done.seconds), {"model": done.folder}, feedback)
        self.watcher.say(done.verdict)

    def _record(self, run: Run) -> RunRecord:
        return self.project.run(run.id)
