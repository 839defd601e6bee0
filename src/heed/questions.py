"""What a project asks its raters, and what their judgments come to. No torch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from heed.errors import DataError, ProjectError
from heed.feedback.adjudication import overruled_judgments
from heed.feedback.answers import KNOWN, texts_of
from heed.feedback.asked import form_of
from heed.feedback.excluded import names_excluded
from heed.feedback.forms import feedback_of
from heed.feedback.kinds import AnyFeedback, Comparison, Demonstration, PromptContent
from heed.feedback.store import CompletionRecord, PromptRecord, Store, StoredFeedback
from heed.feedback.studio_schema import answers, items, one_of, showings
from heed.people.exclusions import excluded
from heed.project import Project
from heed.raters.simulated import simulated_raters, utility_by_name
from heed.runs import Run
from heed.stages.data import ComparisonRow, comparisons_of
from heed.stages.judgments import WITHOUT_SAMPLES, Judgment, Known, Learned, judgment_of, learned_from, with_samples
from heed.train.progress import Watcher

HELD_OUT = "about test prompts"
EXCLUDED = "of excluded raters"
OVERRULED = "overruled by a lead"
# Judgments of simulated raters go into the store in transactions of this many.
_PIECE = 250


@dataclass(frozen=True)
class Item:
    """What a rater is asked about: two completions of a prompt, in the item's own order."""

    prompt: PromptRecord
    a: CompletionRecord
    b: CompletionRecord

    @property
    def pair(self) -> frozenset[str]:
        """Ids of the two completions, in no order."""
        return frozenset((self.a.id, self.b.id))


def pairs_of(project: Project, run_id: str) -> list[Item]:
    """Disjoint pairs of each prompt's completions of a run; equal texts are no question."""
    by_prompt: dict[str, list[CompletionRecord]] = {}
    for completion in project.store.completions(run_id=run_id):
        by_prompt.setdefault(completion.prompt_id, []).append(completion)
    prompts = {p.id: p for p in project.store.prompts(ids=list(by_prompt))}
    return [
        Item(prompts[key], a, b)
        for key, found in by_prompt.items()
        for a, b in zip(found[::2], found[1::2], strict=False)
        if a.text != b.text
    ]


def judged_pairs(store: Store, rater: str | None = None) -> set[frozenset[str]]:
    """The pairs of completions, each as ``Item.pair``, that ``rater`` (None: anybody) has judged."""
    raters = None if rater is None else [rater]
    return {frozenset(s.feedback.completion_ids) for s in store.feedback(kinds=["comparison"], raters=raters)}


def open_items(project: Project, limit: int | None = None, rater: str | None = None) -> list[Item]:
    """Pairs of sampled completions that ``rater`` (None: anybody) has not judged, newest samples first."""
    judged = judged_pairs(project.store, rater)
    items: list[Item] = []
    sampled = [run for run in project.runs() if run.stage == "sample"]
    for run in sorted(sampled, key=lambda run: run.started, reverse=True):
        items += [item for item in pairs_of(project, run.id) if item.pair not in judged]
        if limit is not None and len(items) >= limit:
            return items[:limit]
    return items


def choices_of_people(project: Project, items: Sequence[Item]) -> dict[str, int]:
    """How often each choice was made by whoever has judged these items."""
    asked = {item.pair for item in items}
    judged = (stored.feedback for stored in project.store.feedback(kinds=["comparison"]))
    return dict(Counter(f.choice for f in judged if isinstance(f, Comparison) and frozenset(f.completion_ids) in asked))


def simulate(project: Project, items: Sequence[Item], run: Run, watcher: Watcher) -> dict[str, int]:
    """Each item is judged by one of the raters, in turn; left and right are shuffled for each showing."""
    settings = project.settings.raters
    raters = simulated_raters(settings.simulated, utility_by_name(settings.utility), project.settings.seed)
    if not raters:
        raise ProjectError(
            "no rater to ask", "raters.simulated in heed.yaml is empty.", "Add one, or set raters.kind to human."
        )
    store = project.store
    store.add_raters([(rater.name, "simulated", rater.group) for rater in raters])
    created = project.run(run.id).started
    choices: dict[str, int] = {}
    batch: list[AnyFeedback] = []
    for number, item in enumerate(items):
        rater = raters[number % len(raters)]
        key = f"{item.a.id}:{item.b.id}"
        swapped = random.Random(f"{project.settings.seed}:{rater.name}:{key}").random() < 0.5
        choice, strength = rater.compare(item.prompt.content, item.a.text, item.b.text, not swapped, key)
        batch.append(
            Comparison(
                rater=rater.name,
                prompt_id=item.prompt.id,
                completion_ids=(item.a.id, item.b.id),
                shown_order=(1, 0) if swapped else (0, 1),
                created=created,
                choice=choice,
                strength=strength,
                source=run.id,
            )
        )
        choices[choice] = choices.get(choice, 0) + 1
        if len(batch) == _PIECE or number == len(items) - 1:
            store.add_feedback(batch)
            batch = []
            watcher.advance(number + 1, len(items), "comparisons")
    return choices


def comparisons_in(store: Store) -> tuple[list[ComparisonRow], list[str], dict[str, int]]:
    """All comparisons in a store that may be learned from, the ids of the judgments they come from, and how many judgments
    are of no use: by reason where they are left out (see :func:`_chosen`), by kind where they compare nothing."""
    kept, prompts, unused = _chosen(store)
    completions = {
        c.id: c.text for c in store.completions(ids=unique(i for s in kept for i in s.feedback.completion_ids))
    }
    rows: list[ComparisonRow] = []
    ids: list[str] = []
    for entry in kept:
        texts = [completions[i] for i in entry.feedback.completion_ids]
        found = comparisons_of(entry.feedback, prompts[entry.feedback.prompt_id], texts)
        rows += found
        if found:
            ids.append(entry.id)
        elif entry.feedback.kind != "demonstration":
            unused[entry.feedback.kind] += 1
    return rows, ids, dict(unused)


def judgments_in(store: Store, kind: str) -> tuple[Learned, list[str]]:
    """All judgments in a store that a reward model of ``kind`` may learn from, with answers to gold items, and the ids of the
    judgments. Left out are those that :func:`_chosen` leaves out, those of other kinds, and demonstrations for whose prompt
    nothing has been sampled."""
    kept, prompts, unused = _chosen(store)
    completions = {
        c.id: c.text for c in store.completions(ids=unique(i for s in kept for i in s.feedback.completion_ids))
    }
    samples = _samples(store, unique(s.feedback.prompt_id for s in kept if s.feedback.kind == "demonstration"))
    rows: list[Judgment] = []
    ids: list[str] = []
    for entry in kept:
        texts = [completions[i] for i in entry.feedback.completion_ids]
        found = learned_from(entry.feedback, prompts[entry.feedback.prompt_id], texts, kind)
        if not found and not (kind == "comparison" and entry.feedback.kind == "demonstration"):
            unused[entry.feedback.kind] += 1
        found, alone = with_samples(found, samples)
        unused[WITHOUT_SAMPLES] += alone
        rows += found
        ids += [entry.id] * bool(found)
    return Learned(rows, {why: count for why, count in unused.items() if count}, known_answers_in(store)), ids


def _samples(store: Store, prompts: Sequence[str]) -> dict[str, list[str]]:
    """What was sampled for prompts, by their ids; of texts from elsewhere nobody knows whether a model wrote them."""
    wanted, found = set(prompts), dict[str, list[str]]()
    for completion in store.completions() if wanted else ():
        if completion.run_id is not None and completion.prompt_id in wanted:
            found.setdefault(completion.prompt_id, []).append(completion.text)
    return found


_KNOWN = (
    select(
        answers.c.answer,
        answers.c.rater,
        answers.c.question_id,
        answers.c.form_version,
        answers.c.created,
        showings.c.shown_order,
        items.c.prompt_id,
        items.c.completion_ids,
        items.c.expected,
    )
    .join(showings, showings.c.id == answers.c.showing_id)
    .join(items, items.c.id == answers.c.item_id)
    .where(one_of(answers.c.purpose, *KNOWN), items.c.expected.is_not(None))
    .where(answers.c.rater.not_in(names_excluded()))
    .order_by(answers.c.number)
)
_CORRECTED = answers.alias("corrected")


def known_answers_in(store: Store) -> list[Known]:
    """What raters who are not excluded answered to items whose answer is known, as they stand, beside what is known."""
    query = _KNOWN.where(~select(_CORRECTED.c.number).where(_CORRECTED.c.supersedes == answers.c.id).exists())
    found: list[Known] = []
    with store.reading() as connection:
        for row in connection.execute(query):
            texts = texts_of(connection, row.completion_ids)
            common = {"rater": row.rater, "prompt_id": row.prompt_id, "completion_ids": row.completion_ids}
            common |= {"texts": texts, "shown_order": row.shown_order, "created": row.created}
            common |= {"seconds": None, "confidence": None, "source": row.question_id}
            try:
                form = form_of(connection, row.question_id, row.form_version)
                given, right = (feedback_of(form, said, **common) for said in (row.answer, row.expected))
            except DataError:
                continue  # the question has changed since the answer became known, or is of another version of heed
            # The prompt decides nothing here: nothing is learned from what the item is about.
            by_item = {(f.kind, f.completion_ids): judgment_of(f, row.prompt_id, _of(f, row, texts)) for f in right}
            for feedback in given:
                if (expected := by_item.get((feedback.kind, feedback.completion_ids))) is not None:
                    found.append(Known(judgment_of(feedback, row.prompt_id, _of(feedback, row, texts)), expected))
    return [known for known in found if known.given.kind not in ("edit", "demonstration")]


def _of(feedback: AnyFeedback, row: Any, texts: Sequence[str]) -> list[str]:
    """The texts of a judgment of an item."""
    place = {key: number for number, key in enumerate(row.completion_ids)}
    return [texts[place[key]] for key in feedback.completion_ids]


def demonstrations_in(store: Store) -> tuple[list[tuple[PromptContent, str]], list[str], dict[str, int]]:
    """All demonstrations in a store that may be learned from, as (prompt, answer), the ids of the judgments they come from,
    and how many are left out, by reason (see :func:`_chosen`)."""
    kept, prompts, unused = _chosen(store, ["demonstration"])
    rows = [(prompts[s.feedback.prompt_id], s.feedback.text) for s in kept if isinstance(s.feedback, Demonstration)]
    return rows, [s.id for s in kept], dict(unused)


def _chosen(
    store: Store, kinds: Sequence[str] | None = None
) -> tuple[list[StoredFeedback], dict[str, PromptContent], Counter[str]]:
    """What may be learned from, the prompts it is about, and how many judgments are left out, each by the first reason that
    holds: it is about a test prompt, of an excluded rater, or overruled by a lead who decided on the item."""
    with store.reading() as connection:
        left_out, overruled = excluded(connection), overruled_judgments(connection)
    stored = store.feedback(kinds)
    prompts = {p.id: p for p in store.prompts(ids=unique(s.feedback.prompt_id for s in stored))}
    kept: list[StoredFeedback] = []
    unused: Counter[str] = Counter()
    for entry in stored:
        if prompts[entry.feedback.prompt_id].split == "test":
            unused[HELD_OUT] += 1
        elif entry.feedback.rater in left_out:
            unused[EXCLUDED] += 1
        elif entry.id in overruled:
            unused[OVERRULED] += 1
        else:
            kept.append(entry)
    return kept, {p.id: p.content for p in prompts.values()}, unused


def unjudged(store: Store, items: Sequence[Item]) -> int:
    """How many of ``items`` nobody has judged."""
    judged = judged_pairs(store)
    return sum(item.pair not in judged for item in items)


def unique(ids: Iterable[str]) -> list[str]:
    """``ids`` without repeats, in the order of their first appearance."""
    return list(dict.fromkeys(ids))
