"""What the project asks next: the pairs of a round, the scores of the studio's items, and what further labels would bring.

The reward model looks at what may be asked and a selector draws from it (:mod:`heed.stages.selecting`). Without a reward model
chance decides, and says so. The studio's server loads no model: its queue reads what was put down here after training.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from sqlalchemy import select

from heed.chosen import (
    ARTIFACT,
    STAGE,
    Choice,
    candidate_pairs,
    choices_of,
    choosing_runs,
    items_at,
    items_of,
    write_choices,
)
from heed.errors import ModelError, ProjectError
from heed.feedback import asked, item_scores, selectors
from heed.feedback.asked import Question
from heed.feedback.database import batches
from heed.feedback.kinds import Comparison, PromptContent
from heed.feedback.studio_schema import items
from heed.questions import Item, judged_pairs, open_items, pairs_of, unique
from heed.round_runs import RoundRuns
from heed.runs import Cost, Run, RunRecord
from heed.stages import selecting
from heed.stages.results import content_hash
from heed.stages.selecting import Pairs

T = TypeVar("T")


@dataclass(frozen=True)
class _OpenItem:
    """An item of the studio that may be handed out: its id, question, prompt and completions."""

    id: str
    question: str
    prompt: str
    completions: tuple[str, ...]


@dataclass
class Asking(RoundRuns):
    """The stages that decide what is asked."""

    # Which pairs

    def items_to_ask(self, sampled: RunRecord, round_: int) -> tuple[list[Item], list[str]]:
        """The pairs of a round, and the runs that they come from."""
        most = self.settings.raters.comparisons
        if self.settings.asking.selector == selectors.RANDOM.name:
            return pairs_of(self.project, sampled.id)[:most], [sampled.id]
        chosen = self.choose(round_)
        return items_of(self.project, choices_of(self.project, chosen.id)), [sampled.id, chosen.id]

    def open_items(self, limit: int | None = None, rater: str | None = None) -> list[Item]:
        """Pairs of sampled completions that ``rater`` (None: anybody) has not judged: those chosen, then the newest samples."""
        runs = [choices_of(self.project, run.id) for run in reversed(choosing_runs(self.project))]
        if not runs:
            return open_items(self.project, limit, rater)
        judged = judged_pairs(self.project.store, rater)
        first = [item for choices in runs for item in items_of(self.project, choices) if item.pair not in judged]
        seen = {item.pair for item in first}
        rest = [item for item in open_items(self.project, None, rater) if item.pair not in seen]
        return [*first, *rest][:limit]

    def choose(self, round_: int = 0) -> RunRecord:
        """Choose which pairs of the newest samples are asked about, by the selector of ``heed.yaml``.

        Any two completions of a prompt are a pair; what earlier runs have chosen of the same samples is not chosen again.

        Raises:
            ProjectError: nothing has been sampled, or there is no pair left.
        """
        if (before := self._done(STAGE, round_)) is not None:
            return before
        sampled, reward = self.project.latest("sample"), self.project.latest("reward")
        if sampled is None:
            raise ProjectError(
                "nothing to choose from", "no completions have been sampled.", "Run 'heed sample' first."
            )
        settings, most = self.settings.asking, self.settings.raters.comparisons
        config = settings.model_dump(include={"selector", "chance_share", "pool"}) | {"comparisons": most}
        parents = [sampled.id, *([reward.id] if reward is not None else [])]
        with self._run(STAGE, config, round_, parents) as run:
            if run.state == "running":
                self._choose(run, sampled, reward, most)
        return self._record(run)

    def _choose(self, run: Run, sampled: RunRecord, reward: RunRecord | None, most: int) -> None:
        started, settings, seed = time.monotonic(), self.settings.asking, self.settings.seed
        taken = {
            choice.pair
            for earlier in choosing_runs(self.project)
            if sampled.id in earlier.parents
            for choice in choices_of(self.project, earlier.id)
        }
        pool = [item for item in candidate_pairs(self.project, sampled.id) if item.pair not in taken]
        pool = _some(pool, settings.pool, seed)
        metrics: dict[str, Any] = {"pool": len(pool), "selector": settings.selector, "by": settings.selector}
        if reward is None:
            metrics |= {"by": selectors.RANDOM.name, "why": "there is no reward model yet"}
            batch = selecting.by_chance(_pairs(pool, {}).prompts, most, seed)
        else:
            judged = self._judged_items()
            rows = [(c.id, (item.prompt.content, c.text)) for item in [*pool, *judged] for c in (item.a, item.b)]
            texts, places = selecting.unique_texts(rows)
            model, _ = self._model_of(reward)
            sight = selecting.look_at(model, texts, self._device(), self.watcher)
            pool = [item for item in pool if sight.seen[places[item.a.id]] and sight.seen[places[item.b.id]]]
            pairs, past = _pairs(pool, places), _pairs(judged, places)
            metrics |= {"reward": reward.id, "too_long": metrics["pool"] - len(pool), "features_kept": sight.kept}
            batch = selecting.draw(settings.selector, sight, pairs, past, most, settings.chance_share, seed)
        columns = (batch.pairs, batch.probability, batch.eligible, batch.speaks_for, batch.by_chance)
        choices = [
            Choice(pool[at].prompt.id, pool[at].a.id, pool[at].b.id, metrics["by"], *told)
            for at, *told in zip(*(column.tolist() for column in columns), strict=True)
        ]
        if not choices:
            raise ProjectError(
                f"nothing to choose from in {sampled.id}",
                "every pair of different completions was chosen before, or there is none.",
                "Sample more: heed sample",
            )
        path = run.folder / f"{ARTIFACT}.jsonl"
        write_choices(path, choices)
        metrics |= {"chosen": len(choices), "by_chance": sum(choice.by_chance for choice in choices)}
        metrics["prompts"] = len({choice.prompt for choice in choices})
        metrics["verdict"] = _told(metrics)
        run.finish(metrics, Cost(0, 0, time.monotonic() - started), {ARTIFACT: path})
        self.watcher.say(metrics["verdict"])

    def _judged_items(self) -> list[Item]:
        """Pairs that anybody has compared, which the next ones should add to."""
        stored = [entry.feedback for entry in self.project.store.feedback(kinds=["comparison"])]
        judged = [
            (one.prompt_id, one.completion_ids[0], one.completion_ids[1])
            for one in stored
            if isinstance(one, Comparison)
        ]
        return items_at(self.project, list({frozenset(pair): pair for pair in judged}.values()))

    # The studio's items

    def weigh_after_training(self, round_: int) -> None:
        """:meth:`weigh`, where a question asks for it; a reward model that cannot be looked into leaves things as they are."""
        if not self._weighing_questions():
            return
        try:
            self.weigh(round_)
        except ModelError as error:
            self.watcher.alarm(f"the studio's items keep the scores they had: {error.what}: {error.why}")

    def weigh(self, round_: int = 0) -> RunRecord | None:
        """Put down what asking each open item of the studio is worth by the newest reward model.

        None where no open question goes by scores.

        Raises:
            ProjectError: there is no reward model.
        """
        questions = self._weighing_questions()
        if not questions:
            return None
        reward = self._latest("reward", "heed train reward")
        open_now = [item for question in questions for item in self._open_items_of(question)]
        config = {"pool": self.settings.asking.pool, "open": content_hash([item.id for item in open_now])}
        with self._run("weigh", config, round_, [reward.id]) as run:
            if run.state == "running":
                self._weigh(run, reward, open_now)
        return self._record(run)

    def _weighing_questions(self) -> list[Question]:
        with self.project.store.reading() as connection:
            found = asked.questions_asked(connection)
        by_scores = [isinstance(selectors.selector_named(q.form.selector), selectors.ScoredSelector) for q in found]
        return [q for q, scored in zip(found, by_scores, strict=True) if scored and q.state != "closed"]

    def _open_items_of(self, question: Question) -> list[_OpenItem]:
        """Items with something to compare, at most ``asking.pool``."""
        columns = (items.c.id, items.c.prompt_id, items.c.completion_ids)
        query = select(*columns).where(items.c.question_id == question.id, items.c.available).order_by(items.c.number)
        with self.project.store.reading() as connection:
            rows = connection.execute(query).all()
        found = [_OpenItem(row.id, question.id, row.prompt_id, tuple(row.completion_ids)) for row in rows]
        return _some(
            [item for item in found if len(item.completions) > 1], self.settings.asking.pool, self.settings.seed
        )

    def _weigh(self, run: Run, reward: RunRecord, open_now: Sequence[_OpenItem]) -> None:
        started, judged = time.monotonic(), self._judged_items()
        texts, places = selecting.unique_texts(self._texts_of(open_now, judged))
        model, _ = self._model_of(reward)
        sight = selecting.look_at(model, texts, self._device(), self.watcher)
        past = _pairs(judged, places)
        most, seed, written = self.settings.raters.comparisons, self.settings.seed, 0
        for question in unique(item.question for item in open_now):
            mine = [item for item in open_now if item.question == question]
            rows = [
                (number, places[a], places[b], item.prompt)
                for number, item in enumerate(mine)
                for a, b in combinations(item.completions, 2)
                if sight.seen[places[a]] and sight.seen[places[b]]
            ]
            codes = {prompt: code for code, prompt in enumerate(unique(row[3] for row in rows))}
            pairs = Pairs.of((a, b, codes[prompt]) for _, a, b, prompt in rows)
            scores = selecting.item_scores(sight, pairs, [row[0] for row in rows], past, most, seed)
            for piece in batches(scores, item_scores.ITEMS_PER_TRANSACTION):
                told = {mine[number].id: values for number, values in piece}
                self.project.store.write(lambda connection, told=told: item_scores.put_down(connection, run.id, told))  # type: ignore[misc]
                written += len(told)
        while self.project.store.write(lambda connection: item_scores.forget_others(connection, run.id)):
            pass
        told_of = f"{written:,} open items of the studio looked at by {reward.id}"
        metrics = {"items": written, "left_out": len(open_now) - written, "features_kept": sight.kept}
        run.finish(metrics | {"verdict": told_of}, Cost(0, 0, time.monotonic() - started))
        self.watcher.say(told_of)

    def _texts_of(
        self, open_now: Sequence[_OpenItem], judged: Sequence[Item]
    ) -> list[tuple[str, tuple[PromptContent, str]]]:
        """Ids of completions, each with its prompt and text."""
        store = self.project.store
        prompts = {p.id: p.content for p in store.prompts(ids=unique(item.prompt for item in open_now))}
        ids = unique(identity for item in open_now for identity in item.completions)
        found = [(c.id, (prompts[c.prompt_id], c.text)) for c in store.completions(ids=ids)]
        return found + [(c.id, (item.prompt.content, c.text)) for item in judged for c in (item.a, item.b)]


def _some(pool: list[T], most: int, seed: int) -> list[T]:
    """Up to ``most`` of a pool by chance, in its order."""
    if len(pool) <= most:
        return pool
    return [pool[place] for place in sorted(random.Random(f"pool:{seed}").sample(range(len(pool)), most))]


def _pairs(chosen: Sequence[Item], places: Mapping[str, int]) -> Pairs:
    """Items as pairs of the completions at ``places``; 0 for one that is not there."""
    codes = {prompt: code for code, prompt in enumerate(unique(item.prompt.id for item in chosen))}
    return Pairs.of((places.get(i.a.id, 0), places.get(i.b.id, 0), codes[i.prompt.id]) for i in chosen)


def _told(metrics: Mapping[str, Any]) -> str:
    """What was chosen, in words."""
    text = f"chose {metrics['chosen']:,} of {metrics['pool']:,} pairs, of {metrics['prompts']:,} prompts, "
    if "why" in metrics:
        return f"{text}by chance instead of {metrics['selector']}: {metrics['why']}"
    return f"{text}by {metrics['by']}, {metrics['by_chance']:,} of them by chance"
