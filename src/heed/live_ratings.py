"""Raters as the reward: what the policy writes is put before them while the run waits, and their ratings are its scores. No torch.

People find the texts in the studio's queue, under a question of their own; simulated raters answer at once. What has been rated once is
not asked again, so a run that was stopped goes on with the answers that it has.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count

from sqlalchemy import Connection, select

from heed.errors import ConfigError, DataError
from heed.feedback import asked
from heed.feedback.database import rows_among
from heed.feedback.fields.rating import Attribute, RatingField
from heed.feedback.forms import Form
from heed.feedback.items import NewItem, add_known_items, searchable
from heed.feedback.kinds import AnyFeedback, PromptContent, Rating, Scale, Thumb, completion_id
from heed.feedback.records import CompletionRecord
from heed.feedback.schema import feedback, feedback_completions
from heed.people.exclusions import excluded
from heed.project import Project
from heed.questions import unique
from heed.raters.simulated import SimulatedRater, simulated_raters
from heed.raters.utilities import utility_by_name
from heed.runs import Run
from heed.train.progress import Stopped, Watcher, stop_on_interrupt
from heed.train.text_rewards import TextReward

_LOW, _HIGH = 1.0, 5.0
_POLL_SECONDS = 1.0
_FIRST = 2
"""Priority of texts that a run waits for: before all else."""


def _form(overlap: int) -> Form:
    quality = Attribute(name="quality", label="Quality", low=_LOW, high=_HIGH, low_label="bad", high_label="good")
    return Form(
        title="How good is this answer?",
        fields=(RatingField(name="quality", label="How good is it?", attributes=(quality,)),),
        overlap=overlap,
    )


class LiveRatings:
    """The ratings of a project's raters as a reward.

    Args:
        project: whose raters are asked.
        run: the run that the texts are of.
        watcher: hears what is waited for.
        ratings: that each text is to have (count).
        reliability: how much each rater's answers tell; who is not named counts 1, and nobody less than 0.
    """

    def __init__(
        self, project: Project, run: Run, watcher: Watcher, ratings: int, reliability: Mapping[str, float]
    ) -> None:
        self.project, self.run, self.watcher, self.ratings = project, run, watcher, ratings
        self.reliability = reliability
        self._numbers = count(len(project.store.completions(run_id=run.id)))

    @property
    def reward(self) -> TextReward:
        """As the policy's training takes it: the mean rating, from -1 (the worst there is) to 1."""
        return TextReward("raters", self.scores, scaled=False, asks=True)

    def scores(self, prompts: Sequence[PromptContent], texts: Sequence[str]) -> list[float]:
        """Have all texts [N] rated and give their scores [N].

        Raises:
            Stopped: on Ctrl-C; what has been rated until then is kept. DataError: the question that people are asked does not
                rate.
        """
        records = self._put_down(prompts, texts)
        lacking = self._lacking(records)
        if lacking:
            if self.project.settings.raters.kind == "simulated":
                self._simulate(lacking)
            else:
                self._ask(lacking)
                self._wait(records)
        told = self._told(records)
        return [self._score(told[record.id]) for record in records]

    def judgments(self) -> list[str]:
        """Ids of the judgments that were the reward, those before a stop of the run too."""
        told = self._told(self.project.store.completions(run_id=self.run.id))
        return [identity for given in told.values() for identity, _ in given]

    def _put_down(self, prompts: Sequence[PromptContent], texts: Sequence[str]) -> list[CompletionRecord]:
        """The completions [N] as the store has them; a text that the run wrote twice for a prompt is there once."""
        store = self.project.store
        keys = store.add_prompts((prompt, None, "") for prompt in prompts)
        records = [
            CompletionRecord(completion_id(key, text, self.run.id), key, text, self.run.id, number)
            for key, text, number in zip(keys, texts, self._numbers, strict=False)
        ]
        store.add_completions(_once(records))
        return records

    def _told(self, records: Sequence[CompletionRecord]) -> dict[str, list[tuple[str, AnyFeedback]]]:
        """Ratings and thumbs of each completion as they stand, by its id, with their own ids; one of each rater."""
        ids = unique(record.id for record in records)
        link = feedback_completions
        query = (
            select(feedback.c.id)
            .join(link, link.c.feedback_id == feedback.c.id)
            .where(feedback.c.kind.in_(("rating", "thumb")))
        )
        with self.project.store.reading() as connection:
            found = [row.id for row in rows_among(connection, query, link.c.completion_id, ids)]
            out = excluded(connection)
        told: dict[str, dict[str, tuple[str, AnyFeedback]]] = {identity: {} for identity in ids}
        for entry in self.project.store.feedback(ids=found) if found else ():
            if entry.feedback.rater not in out:
                told[entry.feedback.completion_ids[0]][entry.feedback.rater] = (entry.id, entry.feedback)
        return {identity: list(by_rater.values()) for identity, by_rater in told.items()}

    def _lacking(self, records: Sequence[CompletionRecord]) -> list[CompletionRecord]:
        """Those that have not been rated often enough, each once."""
        told = self._told(records)
        return [record for record in _once(records) if len(told[record.id]) < self.ratings]

    def _score(self, told: Sequence[tuple[str, AnyFeedback]]) -> float:
        values = [_share(given) * 2 - 1 for _, given in told]
        weights = [max(0.0, self.reliability.get(given.rater, 1.0)) for _, given in told]
        if not sum(weights):
            weights = [1.0] * len(values)
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    # Simulated raters

    def _simulate(self, lacking: Sequence[CompletionRecord]) -> None:
        settings, store = self.project.settings, self.project.store
        everybody = simulated_raters(settings.raters.simulated, utility_by_name(settings.raters.utility), settings.seed)
        with store.reading() as connection:
            out = excluded(connection)
        raters = [rater for rater in everybody if rater.name not in out]
        store.add_raters([(rater.name, "simulated", rater.group) for rater in raters])
        contents = {p.id: p.content for p in store.prompts(ids=unique(record.prompt_id for record in lacking))}
        created = self.project.run(self.run.id).started
        scale = Scale(low=_LOW, high=_HIGH, step=1.0)

        def rating(record: CompletionRecord, rater: SimulatedRater) -> Rating:
            return Rating(
                rater=rater.name,
                prompt_id=record.prompt_id,
                completion_ids=(record.id,),
                shown_order=(0,),
                created=created,
                scores={"quality": rater.rate(contents[record.prompt_id], record.text, record.id)},
                scales={"quality": scale},
                source=self.run.id,
            )

        store.add_feedback(
            rating(record, rater) for record in lacking for rater in _chosen(raters, record.id, self.ratings)
        )

    # People

    def _ask(self, lacking: Sequence[CompletionRecord]) -> None:
        store, now, rng = self.project.store, datetime.now(UTC), random.Random(self.run.id)
        contents = {p.id: p.content for p in store.prompts(ids=unique(record.prompt_id for record in lacking))}
        new = [
            NewItem(
                record.prompt_id,
                (record.id,),
                searchable(contents[record.prompt_id], (record.text,)),
                self.run.id,
                priority=_FIRST,
                overlap=self.ratings,
            )
            for record in lacking
        ]

        def add(connection: Connection) -> asked.Question:
            question = asked.question_named(connection, asked.TRAINING_QUESTION) or asked.create_question(
                connection, asked.TRAINING_QUESTION, _form(self.ratings), "heed", now
            )
            if not any(field.kind in ("rating", "thumb") for field in question.form.fields):
                raise DataError(
                    f"question '{asked.TRAINING_QUESTION}'",
                    "it asks for neither a rating nor a thumb, and these are the reward.",
                    "Add a field of one of these kinds to it on the board, or give it another name.",
                )
            add_known_items(connection, question.id, new, now, rng)
            return question

        question = store.write(add)
        # As an alarm: without it a quiet run would wait for people who do not know.
        self.watcher.alarm(
            f"{len(lacking)} texts wait to be rated: people find them with 'heed serve', under '{asked.TRAINING_QUESTION}'. Ctrl-C stops; the "
            "same command goes on with what has been rated"
        )
        if question.state != "open":
            self.watcher.alarm(
                f"question '{asked.TRAINING_QUESTION}' is {question.state}: nobody is asked before a lead opens it"
            )

    def _wait(self, records: Sequence[CompletionRecord]) -> None:
        wanted = len(_once(records))
        rated = -1
        with stop_on_interrupt() as flag:
            while (lacking := self._lacking(records)) and not flag.asked:
                if wanted - len(lacking) != rated:
                    rated = wanted - len(lacking)
                    self.watcher.advance(rated, wanted, "texts rated")
                time.sleep(_POLL_SECONDS)
        if lacking:
            raise Stopped
        self.watcher.advance(wanted, wanted, "texts rated")


def _once(records: Sequence[CompletionRecord]) -> list[CompletionRecord]:
    """Each completion once, as it first came."""
    return list({record.id: record for record in reversed(records)}.values())[::-1]


def _chosen(raters: Sequence[SimulatedRater], text: str, ratings: int) -> list[SimulatedRater]:
    """Who rates a text: told by its id, and not by whose turn it is, so that a run that goes on asks the same raters.

    Raises:
        ConfigError: there are fewer raters than ratings.
    """
    if len(raters) < ratings:
        raise ConfigError(
            f"policy.ratings_per_text {ratings}",
            f"there are {len(raters)} simulated raters who are not excluded, and each rates a text once.",
            "Lower it, or add raters to raters.simulated.",
        )
    start = int(text[1:], 16)
    return [raters[(start + place) % len(raters)] for place in range(ratings)]


def _share(given: AnyFeedback) -> float:
    """How good a judgment calls a text, 0 to 1."""
    if isinstance(given, Thumb):
        return float(given.up)
    assert isinstance(given, Rating)
    scales = given.scales
    shares = [
        (score - scales[name].low) / (scales[name].high - scales[name].low) for name, score in given.scores.items()
    ]
    return sum(shares) / len(shares)
