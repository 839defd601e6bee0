"""Holding a reward model against judgments: those of a project that it has not learned from, or those of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heed.errors import DataError
from heed.evaluate.reward_claims import Judged, claims_of
from heed.evaluate.reward_diagnosis import RewardDiagnosis, diagnose
from heed.feedback.adjudication import overruled_judgments
from heed.feedback.asked import questions_asked
from heed.feedback.contested import STAGE, judgments_of_items
from heed.feedback.formats import BrokenRow, FileFormat
from heed.feedback.formats.lines import load_object, read_lines
from heed.feedback.formats.rows import RowError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.people.exclusions import excluded
from heed.project import Project
from heed.runs import Cost, RunRecord
from heed.stages.data import once, read_feedback, share_of
from heed.stages.results import content_hash, prepare_machine, trained_on
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

_AT_ONCE = 256
"""Texts that are scored between two looks at how far it is (count)."""


@memory_errors("Give fewer or shorter texts, or a device with more memory.")
def evaluate_reward(
    reward: str | Path,
    judged: Sequence[Judged],
    data: str = "",
    name: str = "",
    confidence: float = 0.95,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> RewardDiagnosis:
    """Score every text that the judgments are about, once, and say how the reward model stands to them.

    Args:
        reward: folder of the reward model.
        judged: from :func:`judged_in_file` or :func:`judged_in_project`.
        data, name: what the judgments and the model are called.
        confidence: coverage of all intervals.
        seed: of bootstraps.

    Raises:
        ModelError: ``reward`` is no reward model. DataError: there is no judgment.
    """
    from heed.models.rewards import load_reward

    if not judged:
        raise DataError("no judgment to hold the reward model against", "there is none.", "Give a file with --data.")
    watcher = watcher or Watcher()
    model: Any = load_reward(reward, prepare_machine(device))
    claims = claims_of(judged)
    pairs = _Leads(model, watcher) if hasattr(model, "leads") else None
    # What reads both texts of a pair may know no score of one alone.
    scores = scores_of(model, claims.texts, watcher) if pairs is None else [None] * len(claims.texts)
    return diagnose(claims, scores, model.temperature, pairs, name or str(reward), data, confidence, seed)


def scores_of(model: Any, texts: Sequence[tuple[PromptContent, str]], watcher: Watcher) -> list[float | None]:
    """The model's score of each text [N]; None for one that is too long for it."""

    def score(part: Sequence[tuple[PromptContent, str]]) -> Any:
        return model.score([prompt for prompt, _ in part], [text for _, text in part])

    return _in_pieces(score, texts, watcher, "texts scored")


class _Leads:
    """A model that reads both texts of a pair."""

    def __init__(self, model: Any, watcher: Watcher) -> None:
        self.model, self.watcher = model, watcher

    def leads(
        self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]
    ) -> list[float | None]:
        """How far each first text leads the second [N]; None where they are too long for the model."""

        def lead(part: Sequence[tuple[PromptContent, str, str]]) -> Any:
            return self.model.leads(*map(list, zip(*part, strict=True)))

        return _in_pieces(lead, list(zip(prompts, first, second, strict=True)), self.watcher, "pairs compared")


Measure = Callable[[Sequence[Any]], Any]


def _in_pieces(measure: Measure, rows: Sequence[Any], watcher: Watcher, what: str) -> list[float | None]:
    found: list[float | None] = []
    for start in range(0, len(rows), _AT_ONCE):
        found += _measured(measure, rows[start : start + _AT_ONCE])
        watcher.advance(len(found), len(rows), what)
    return found


def _measured(measure: Measure, rows: Sequence[Any]) -> list[float | None]:
    """What ``measure`` gives for each row; None for one that it refuses."""
    try:
        return [float(value) for value in measure(rows)]
    except DataError:
        if len(rows) == 1:
            return [None]
    # One of them is too long: halves, until it stands alone.
    middle = len(rows) // 2
    return [*_measured(measure, rows[:middle]), *_measured(measure, rows[middle:])]


# Judgments of a file


def judged_in_file(
    path: str | Path, format: FileFormat | str = "auto", learned: frozenset[str] = frozenset()
) -> tuple[list[Judged], list[BrokenRow]]:
    """The judgments of a file in any format that heed imports, and its broken rows. What a named rater says again counts once.

    JSON lines may name a ``subset`` each, as RewardBench's do (Lambert et al. 2024).

    Args:
        path: the file.
        format: how to read it.
        learned: ids of the prompts that the reward model learned from.

    Raises:
        DataError: the file is missing, or no row of it is a judgment.
    """
    rows, broken = read_feedback(path, format)
    if not rows:
        first = f"line {broken[0].line}: {broken[0].reason}." if broken else "it is empty."
        raise DataError(f"{path} has no judgment", first, "Give judgments in a format that heed imports.")
    subsets = _subsets(Path(path))
    rows, _ = once(rows)
    judged = [
        Judged(
            f"line {row.line}",
            row.prompt,
            row.completions,
            row.feedback,
            source=source_of(row.feedback.source),
            subset=subsets.get(row.line, ""),
            held_out=prompt_id(row.prompt) not in learned,
        )
        for row in rows
    ]
    return judged, broken


def _subsets(path: Path) -> dict[int, str]:
    """The subset that each line names. A pipe is read only once, and names none."""
    found: dict[int, str] = {}
    for line in read_lines(path) if path.is_file() else ():
        try:
            subset = load_object(line.data).get("subset")
        except RowError:
            continue  # a table, or a row that has been reported
        if isinstance(subset, str):
            found[line.number] = subset
    return found


def source_of(source: str, names: Mapping[str, str] = {}) -> str:
    """Where a judgment was given, for people: a file without the line, a question by its name."""
    head, _, line = source.rpartition(":")
    return names.get(source, head if head and line.isdigit() else source)


# Judgments of a project


def judged_in_project(project: Project, reward: RunRecord) -> list[Judged]:
    """The project's judgments of whoever is not excluded, without those that a lead has overruled.

    Those of a prompt that ``reward`` learned from are not held out: they are looked at only for what it contradicts.
    """
    with project.store.reading() as connection:
        out, overruled = excluded(connection), overruled_judgments(connection)
        names = {question.id: question.name for question in questions_asked(connection)}
        answered = judgments_of_items(connection)
    stored = [one for one in project.store.feedback() if one.feedback.rater not in out and one.id not in overruled]
    groups = {rater.name: rater.group for rater in project.store.raters()}
    prompts = {p.id: p.content for p in project.store.prompts(ids=_unique(s.feedback.prompt_id for s in stored))}
    ids = _unique(identity for one in stored for identity in one.feedback.completion_ids)
    texts = {completion.id: completion.text for completion in project.store.completions(ids=ids)}
    learned = _learned_in(project, reward)
    return [
        Judged(
            one.id,
            prompts[one.feedback.prompt_id],
            tuple(texts[identity] for identity in one.feedback.completion_ids),
            one.feedback,
            groups.get(one.feedback.rater, ""),
            source_of(one.feedback.source, names),
            held_out=one.feedback.prompt_id not in learned,
            asked=one.id in answered,
        )
        for one in stored
    ]


def _learned_in(project: Project, reward: RunRecord) -> frozenset[str]:
    """Ids of the prompts that a run of the project learned from: as it left them, else all of its judgments' but those that
    its settings hold out."""
    left = trained_on(project.artifact("model", reward.id))
    if left is not None:
        return left
    used = project.store.feedback(ids=project.feedback_of(reward.id), include_superseded=True)
    contents = {p.id: p.content for p in project.store.prompts(ids=_unique(s.feedback.prompt_id for s in used))}
    share = 0.0 if reward.config.get("cross_fit") else float(reward.config.get("test_fraction", 0.0))
    return frozenset(identity for identity, content in contents.items() if share_of(content, "test") >= share)


def evaluate_project_reward(
    project: Project, reward: RunRecord, watcher: Watcher | None = None, fresh: bool = False
) -> RunRecord:
    """Hold a reward model of a project against its judgments, as a run of its own; the board shows what it contests.

    Raises:
        DataError: the project has no judgment. ProjectError: the run left no model.
    """
    watcher, settings = watcher or Watcher(), project.settings
    judged = judged_in_project(project, reward)
    config = {
        "confidence": settings.evaluate.confidence,
        "judged": content_hash([[j.id, j.held_out, j.asked] for j in judged]),
    }
    run = project.begin_run(STAGE, config, settings.seed, [reward.id], fresh=fresh)
    if run.state == "done":
        watcher.say(f"{run.id} was done before with the same inputs")
        return project.run(run.id)
    with run:
        started = time.monotonic()
        found = evaluate_reward(
            project.artifact("model", reward.id),
            judged,
            f"project {settings.name}",
            reward.id,
            settings.evaluate.confidence,
            settings.seed,
            prepare_machine(settings.device, settings.threads),
            watcher,
        )
        run.finish(found.model_dump(mode="json"), Cost(seconds=time.monotonic() - started))
    return project.run(run.id)


def _unique(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(ids))
