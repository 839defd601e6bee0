"""Reading what stages work on from files: prompts, demonstrations, comparisons. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from heed.errors import DataError
from heed.feedback.formats import BrokenRow, FileFormat, Row, read_rows
from heed.feedback.formats.lines import load_object, read_lines
from heed.feedback.formats.rows import RowError, read_prompt
from heed.feedback.kinds import AnyFeedback, Comparison, Demonstration, Edit, PromptContent, Ranking, prompt_id
from heed.feedback.store import Store

FIRST, SECOND, TIE = 0, 1, 2

UNNAMED = "import"
"""The rater of rows that name none."""

_OWN_TEST_SHARE = 0.1


class PromptLine(NamedTuple):
    """A prompt of a file; ``split`` is None where the file names none."""

    content: PromptContent
    split: str | None


class ComparisonRow(NamedTuple):
    """Two completions of a prompt; 0 = the first preferred, 1 = the second, 2 = neither; how strongly, 1 to 3 (0: not
    said); by whom ("": not known); which of the two stood left, 0 or 1 (None: not known)."""

    prompt: PromptContent
    a: str
    b: str
    outcome: int
    strength: int = 0
    rater: str = ""
    left: int | None = None


class DemonstrationRow(NamedTuple):
    """An answer to a prompt that is to be learned.

    Attributes:
        whole: the prompt's earlier answers of the assistant are learned too.
        weight: how much it counts beside others.
    """

    prompt: PromptContent
    answer: str
    whole: bool = False
    weight: float = 1.0


Demonstrations = Sequence[DemonstrationRow | tuple[PromptContent, str]]


def read_prompts(path: str | Path) -> tuple[list[PromptLine], list[BrokenRow]]:
    """Prompts of a file of JSON lines ``{"prompt": text or messages, "split": "train" or "test"}``; each once.

    Raises:
        DataError: the file is missing, or has no good line.
    """
    good: dict[str, PromptLine] = {}
    broken: list[BrokenRow] = []
    for line in read_lines(Path(path)):
        if not line.data.strip() and not line.fault:
            continue
        try:
            if line.fault:
                raise RowError(line.fault)
            entry = load_object(line.data)
            if "prompt" not in entry:
                raise RowError(f"it has no 'prompt', only {', '.join(sorted(entry)) or 'nothing'}")
            split = entry.get("split")
            if split not in (None, "train", "test"):
                raise RowError(f"split is {split!r}; it must be 'train' or 'test'")
            content = read_prompt(entry["prompt"])
            key = prompt_id(content)
            if key in good and good[key].split != split:
                raise RowError("the same prompt stands in the file with another split")
            good.setdefault(key, PromptLine(content, split))
        except RowError as error:
            broken.append(BrokenRow(line.number, str(error)))
    if not good:
        first = f"line {broken[0].line}: {broken[0].reason}." if broken else "the file is empty."
        raise DataError(f"{path} has no prompt", first, 'Each line is JSON such as {"prompt": "Once upon a time"}.')
    return list(good.values()), broken


def load_prompts(store: Store, path: Path) -> list[BrokenRow]:
    """Put the prompts of a file into a store and return its broken lines; prompts that are there already stay as they are.

    Where the file names no split, a tenth of the prompts, chosen by their content, is held out for testing.

    Raises:
        DataError: the file is missing, or has no good line.
    """
    lines, broken = read_prompts(path)
    store.add_prompts(
        [
            (content, split or ("test" if share_of(content, "split") < _OWN_TEST_SHARE else "train"), path.name)
            for content, split in lines
        ]
    )
    return broken


def share_of(prompt: PromptContent, purpose: str) -> float:
    """A number in [0, 1) that depends on the prompt alone: a prompt stays on its side of a split for ever."""
    digest = hashlib.sha256(f"{purpose}:{prompt_id(prompt)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read_demonstrations(
    path: str | Path, format: FileFormat | str = "auto"
) -> tuple[list[DemonstrationRow], list[BrokenRow]]:
    """Every demonstration in a file of any feedback format.

    Raises:
        DataError: the file is missing, or holds no demonstration.
    """
    rows, broken = read_feedback(path, format)
    found = [
        DemonstrationRow(row.prompt, row.feedback.text, row.whole)
        for row in rows
        if isinstance(row.feedback, Demonstration)
    ]
    if not found:
        raise DataError(
            f"{path} has no demonstration",
            f"its {len(rows)} readable rows are of other kinds." if rows else told_first(broken),
            'Each line is JSON with "prompt" and "completion".',
        )
    return found, broken


def read_comparisons(
    path: str | Path, format: FileFormat | str = "auto"
) -> tuple[list[ComparisonRow], list[BrokenRow]]:
    """Comparisons in a file of any feedback format; rankings and edits count as the comparisons they imply.

    Raises:
        DataError: the file is missing, or nothing in it compares completions.
    """
    rows, broken = read_feedback(path, format)
    found = [pair for row in rows for pair in comparisons_of(row.feedback, row.prompt, row.completions)]
    if not found:
        raise DataError(
            f"{path} has no comparison",
            f"its {len(rows)} readable rows are of other kinds." if rows else told_first(broken),
            'Each line is JSON with "prompt", "chosen" and "rejected", or another format that heed imports.',
        )
    return found, broken


def read_feedback(path: str | Path, format: FileFormat | str = "auto") -> tuple[list[Row], list[BrokenRow]]:
    """All rows of a file of any feedback format, the good and the broken ones.

    Raises:
        DataError: the file is missing, or of no format that heed knows.
    """
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    for row in read_rows(path, format, rater=UNNAMED):  # type: ignore[arg-type]
        if isinstance(row, Row):
            rows.append(row)
        else:
            broken.append(row)
    return rows, broken


def once(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Rows without those in which a named rater says the same of the same texts again, and how many those were.

    Of rows that name nobody, two that say the same may be of two people, and both count.
    """
    kept: list[Row] = []
    seen: set[str] = set()
    repeated = 0
    for row in rows:
        if row.feedback.rater != UNNAMED and row.feedback.id in seen:
            repeated += 1
            continue
        seen.add(row.feedback.id)
        kept.append(row)
    return kept, repeated


def told_first(broken: Sequence[BrokenRow]) -> str:
    """The first fault of a file that has no good row."""
    return f"line {broken[0].line}: {broken[0].reason}." if broken else "it is empty."


def comparisons_of(feedback: AnyFeedback, prompt: PromptContent, completions: Sequence[str]) -> list[ComparisonRow]:
    """The comparisons that a judgment implies: itself, the pairs of a ranking, an edit above its original; else none.

    "Both bad" says no more about which is better than a tie.
    """
    rater = feedback.rater
    if isinstance(feedback, Comparison):
        outcome = {"a": FIRST, "b": SECOND}.get(feedback.choice, TIE)
        left = None if feedback.shown_order is None else feedback.shown_order[0]
        first, second = completions
        return [ComparisonRow(prompt, first, second, outcome, feedback.strength or 0, rater, left)]
    if isinstance(feedback, Ranking):
        place = {position: rank for rank, group in enumerate(feedback.groups) for position in group}
        return [
            ComparisonRow(prompt, completions[i], completions[j], order_of(place[i], place[j]), rater=rater)
            for i, j in combinations(sorted(place), 2)
        ]
    if isinstance(feedback, Edit):
        return [ComparisonRow(prompt, feedback.edited, completions[0], FIRST, rater=rater)]
    return []


def order_of(first: int, second: int) -> int:
    """The outcome of a comparison by the places of both in a ranking."""
    return TIE if first == second else FIRST if first < second else SECOND


def report_broken(path: str | Path, broken: Iterable[BrokenRow], shown: int = 5) -> list[str]:
    """Lines for people about rows that were left out; empty where none were."""
    rows = list(broken)
    lines = [f"{path}, line {row.line}: {row.reason}" for row in rows[:shown]]
    if len(rows) > shown:
        lines.append(f"{path}: {len(rows) - shown} more broken lines")
    return lines
