"""Which pairs of samples were chosen to be asked about, and with what probability. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from heed.feedback.chances import studio_weights
from heed.feedback.store import CompletionRecord
from heed.files import write_text
from heed.project import Project
from heed.questions import Item
from heed.runs import RunRecord

STAGE = "choose"
ARTIFACT = "chosen"


@dataclass(frozen=True)
class Choice:
    """A pair that was chosen.

    Attributes:
        prompt, a, b: ids of the prompt and the completions.
        selector: what chose it; "random" where no reward model could be asked.
        probability, eligible: with which it was drawn at its turn, and from how many pairs.
        speaks_for: how many pairs of a uniform draw it stands for (see :class:`heed.feedback.drawing.Batch`).
        by_chance: whether it is from the share that is left to chance.
    """

    prompt: str
    a: str
    b: str
    selector: str
    probability: float
    eligible: int
    speaks_for: float
    by_chance: bool

    @property
    def pair(self) -> frozenset[str]:
        """Ids of the two completions, in no order."""
        return frozenset((self.a, self.b))


def write_choices(path: Path, choices: Iterable[Choice]) -> None:
    """Write choices as JSON lines, in their order."""
    write_text(path, "".join(json.dumps(asdict(choice)) + "\n" for choice in choices))


def choices_of(project: Project, run_id: str) -> list[Choice]:
    """What a run has chosen, in its order.

    Raises:
        ProjectError: its file is gone.
    """
    lines = project.artifact(ARTIFACT, run_id).read_text(encoding="utf-8").splitlines()
    return [Choice(**json.loads(line)) for line in lines]


def choosing_runs(project: Project) -> list[RunRecord]:
    """Runs that have chosen pairs, oldest first."""
    return [run for run in project.runs() if run.stage == STAGE and run.state == "done"]


def candidate_pairs(project: Project, run_id: str) -> list[Item]:
    """Every pair of each prompt's completions of a run that differ; what is written twice is asked about once."""
    by_prompt: dict[str, dict[str, CompletionRecord]] = {}
    for completion in project.store.completions(run_id=run_id):
        by_prompt.setdefault(completion.prompt_id, {}).setdefault(completion.text, completion)
    prompts = {p.id: p for p in project.store.prompts(ids=list(by_prompt))}
    return [Item(prompts[key], a, b) for key, found in by_prompt.items() for a, b in combinations(found.values(), 2)]


def items_of(project: Project, choices: Sequence[Choice]) -> list[Item]:
    """The pairs of choices as items, in their order."""
    return items_at(project, [(one.prompt, one.a, one.b) for one in choices])


def items_at(project: Project, pairs: Sequence[tuple[str, str, str]]) -> list[Item]:
    """Items of the ids of a prompt and two completions each, in their order."""
    completions = {c.id: c for c in project.store.completions(ids=[i for _, *both in pairs for i in both])}
    prompts = {p.id: p for p in project.store.prompts(ids=[prompt for prompt, _, _ in pairs])}
    return [Item(prompts[prompt], completions[a], completions[b]) for prompt, a, b in pairs]


def judgment_weights(project: Project) -> dict[str, float]:
    """How many of a uniform draw each judgment stands for, by its id: of comparisons of chosen pairs, and of the studio's
    answers. Whatever is not in it was chosen by chance, or by nobody."""
    with project.store.reading() as connection:
        known = studio_weights(connection)
    speaks_for = {
        choice.pair: choice.speaks_for for run in choosing_runs(project) for choice in choices_of(project, run.id)
    }
    if not speaks_for:
        return known
    for stored in project.store.feedback(kinds=["comparison"]):
        pair = frozenset(stored.feedback.completion_ids)
        if pair in speaks_for:
            known[stored.id] = known.get(stored.id, 1.0) * speaks_for[pair]
    return known
