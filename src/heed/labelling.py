"""What the labels of a project have taught, and what further ones would bring: the learning curve, and accuracy over all pairs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from heed.asking import Asking
from heed.chosen import judgment_weights
from heed.errors import DataError
from heed.evaluate.learning import sentence, surely_too_dear
from heed.feedback.chances import corrected_mean, weights_of
from heed.feedback.kinds import prompt_id
from heed.questions import comparisons_in, unique
from heed.runs import Cost, RunRecord
from heed.stages.data import FIRST, TIE, ComparisonRow, comparisons_of, share_of
from heed.statistics import Array, Interval, undefined_interval

STAGE = "labels"
FURTHER = 100
"""Labels that are asked about where nobody says how many (count)."""


class _Labels(NamedTuple):
    """Comparisons that may be learned from, the ids of their judgments, and how many of a uniform draw each stands for."""

    rows: list[ComparisonRow]
    ids: list[str]
    weights: Array


@dataclass
class Labelling(Asking):
    """The stage that says what labels are worth."""

    def labels(self, further: int = FURTHER) -> RunRecord:
        """Measure the learning curve of all comparisons, and say what ``further`` labels would bring.

        Raises:
            DataError: there is no comparison.
        """
        given = self._labels()
        if not given.rows:
            raise DataError(
                "no comparison to learn from", "the project has none.", "Run 'heed ask' or 'heed feedback import FILE'."
            )
        return self._worth(given, further, 0)

    def worth_of_labels(self, round_: int) -> RunRecord | None:
        """The same in a turn of the loop, of the next ``FURTHER``; None where there are no comparisons."""
        if (before := self._done(STAGE, round_)) is not None:
            return before
        given = self._labels()
        return self._worth(given, FURTHER, round_) if given.rows else None

    def _worth(self, given: _Labels, further: int, round_: int) -> RunRecord:
        from heed.stages.labels import label_curve

        backbone, maker = self.reference_policy()
        asking, reward = self.settings.asking, self.project.latest("reward")
        config = {
            "further": further,
            "pooling": self.settings.reward.pooling,
            "label_cost": asking.label_cost,
            "accuracy_value": asking.accuracy_value,
        }
        parents = [maker, *([reward.id] if reward is not None else [])]
        with self._run(STAGE, config, round_, parents, unique(given.ids)) as run:
            if run.state == "running":
                started = time.monotonic()
                curve = label_curve(
                    backbone,
                    given.rows,
                    given.weights,
                    self.settings.reward,
                    further,
                    self.settings.seed,
                    self._device(),
                    self.watcher,
                    maker,
                )
                told = sentence(curve, asking.label_cost, asking.accuracy_value)
                dear = surely_too_dear(curve, asking.label_cost, asking.accuracy_value)
                metrics = {
                    "curve": curve.model_dump(mode="json"),
                    "earlier": self._earlier(),
                    "verdict": told,
                    "stop": dear,
                }
                run.finish(metrics | self._accuracy(given, reward), Cost(0, 0, time.monotonic() - started))
        return self._record(run)

    def _labels(self) -> _Labels:
        store = self.project.store
        _, ids, _ = comparisons_in(store)
        stored = [entry for entry in store.feedback(ids=ids) if entry.feedback.kind == "comparison"]
        prompts = {p.id: p.content for p in store.prompts(ids=unique(s.feedback.prompt_id for s in stored))}
        texts = {
            c.id: c.text for c in store.completions(ids=unique(i for s in stored for i in s.feedback.completion_ids))
        }
        rows, owners = list[ComparisonRow](), list[str]()
        for entry in stored:
            told = entry.feedback
            found = comparisons_of(told, prompts[told.prompt_id], [texts[i] for i in told.completion_ids])
            rows += found
            owners += [entry.id] * len(found)
        return _Labels(rows, owners, weights_of(owners, judgment_weights(self.project)))

    def _earlier(self) -> list[dict[str, Any]]:
        """What the reward models trained so far reached, beside the labels that they had."""
        done = [run for run in self.project.runs() if run.stage == "reward" and run.state == "done"]
        return [
            {"run": run.id, "labels": run.metrics["comparisons"], "accuracy": run.metrics["accuracy"]["clustered"]}
            for run in done
            if "accuracy" in run.metrics
        ]

    def _accuracy(self, given: _Labels, reward: RunRecord | None) -> dict[str, Any]:
        """Accuracy of the newest reward model on held-out comparisons as they were asked, and over all pairs."""
        asked, overall = self._measured(given, reward)
        return {"asked": asked.model_dump(mode="json"), "overall": overall.model_dump(mode="json")}

    def _measured(self, given: _Labels, reward: RunRecord | None) -> tuple[Interval, Interval]:
        from heed.stages.reward import score

        share = 0.0 if reward is None or reward.config.get("cross_fit") else reward.config.get("test_fraction", 0.0)
        held = [
            place for place, row in enumerate(given.rows) if row.outcome != TIE and share_of(row.prompt, "test") < share
        ]
        if reward is None or not held:
            why = "There is no reward model." if reward is None else "The newest reward model held no comparison out."
            nothing = undefined_interval(why, "corrected for how pairs were chosen", 0.95)
            return nothing, nothing
        rows = [given.rows[place] for place in held]
        model, _ = self._model_of(reward)
        told = score(model, [(row.prompt, text) for row in rows for text in (row.a, row.b)], self._device())
        right = [_right(row, told[2 * place], told[2 * place + 1]) for place, row in enumerate(rows)]
        prompts = [prompt_id(row.prompt) for row in rows]
        weights = given.weights[held]
        even: Sequence[float] = [1.0] * len(rows)
        return corrected_mean(right, even, prompts, shares=True), corrected_mean(right, weights, prompts, shares=True)


def _right(row: ComparisonRow, a: float, b: float) -> float:
    """Whether scores order a comparison with a winner as the rater did; half where they are equal."""
    if a == b:
        return 0.5
    return float((a > b) == (row.outcome == FIRST))
