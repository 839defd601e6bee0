"""A consensus of votes as tables for people and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from heed.terminal.console import console
from heed.terminal.text import counted, one_line, safe

if TYPE_CHECKING:
    from heed.raters.choosing import Choice
    from heed.raters.consensus import Consensus

_SHOWN = 20
_NAME_WIDTH = 40

FEW_ANSWERS = 5
"""Answers of a rater below which the share of right ones says hardly anything: of two labels, chance alone gets four right one time
in sixteen."""


def item_values(consensus: Consensus) -> Iterator[dict[str, Any]]:
    """Each item as plain values; ``label`` is None where two labels are equally likely."""
    import numpy as np

    votes = consensus.votes
    counts = np.bincount(votes.item, minlength=len(votes.items))
    rows = zip(votes.items, consensus.labels().tolist(), consensus.probabilities.tolist(), counts.tolist(), strict=True)
    for item, label, chances, count in rows:
        yield {
            "item": item,
            "label": None if label < 0 else votes.labels[label],
            "probability": max(chances),
            "votes": count,
            "probabilities": dict(zip(votes.labels, chances, strict=True)),
        }


def rater_values(consensus: Consensus) -> list[dict[str, Any]]:
    """Each rater as plain values, the least accurate first; what is not known is None, and ``reason`` says why."""
    import numpy as np

    votes, table = consensus.votes, consensus.raters
    known = consensus.gold[votes.item] >= 0
    right = known & (votes.label == consensus.gold[votes.item])
    columns = {
        "rater": votes.raters,
        "answers": table.answers.tolist(),
        "accuracy": _numbers(table.accuracy),
        "low": _numbers(table.low),
        "high": _numbers(table.high),
        "known": np.bincount(votes.rater[known], minlength=len(votes.raters)).tolist(),
        "known_right": np.bincount(votes.rater[right], minlength=len(votes.raters)).tolist(),
        "reason": [table.reason] * len(votes.raters),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(rows, key=lambda row: 2.0 if row["accuracy"] is None else row["accuracy"])


def percent(share: float) -> str:
    """A share, 0 to 1, as people read it."""
    return f"{100 * share:.1f} %"


def _numbers(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def consensus_values(choice: Choice) -> dict[str, Any]:
    """All of a consensus as plain values."""
    consensus = choice.consensus
    votes, direction = consensus.votes, consensus.direction
    return {
        "method": choice.method,
        "reason": choice.reason,
        "candidates": [
            {"method": one.method, "score": one.score, "behind": one.behind.model_dump()} for one in choice.candidates
        ],
        "direction": {"by": direction.by, "reason": direction.reason},
        "votes": votes.size,
        "labels": list(votes.labels),
        "log_likelihood": consensus.log_likelihood,
        "iterations": consensus.iterations,
        "converged": consensus.converged,
        "interval": {"method": consensus.raters.method, "confidence": 0.95, "reason": consensus.raters.reason},
        "raters": rater_values(consensus),
        "items": list(item_values(consensus)),
    }


def print_choice(name: str, choice: Choice, whole: bool) -> None:
    """A consensus for people: how it was made, whom to trust, and the first items; ``whole`` says how to get the others."""
    import numpy as np
    from rich import box
    from rich.table import Table

    from heed.raters.choosing import EXPLAINED, TITLES

    consensus, screen = choice.consensus, console()
    votes, direction = consensus.votes, consensus.direction
    labels = ", ".join(votes.labels[:_SHOWN]) + (" ..." if len(votes.labels) > _SHOWN else "")
    counts = f"{counted(votes.size, 'answer')} of {counted(len(votes.raters), 'rater')} on {counted(len(votes.items), 'item')}"
    screen.print(safe(f"{name}: {counts}; labels {labels}"), soft_wrap=True)
    screen.print(safe(f"method: {TITLES[choice.method]} ({EXPLAINED[choice.method]}). {choice.reason}"), soft_wrap=True)
    if direction.by == "unidentifiable":
        screen.print(safe(f"which label is which: not known. {direction.reason}"), style="yellow", soft_wrap=True)
        if direction.lacks_labels:
            screen.print("Give the labels of ten items or more that most raters judged: --gold FILE", soft_wrap=True)
    else:
        screen.print(safe(f"which label is which: {direction.reason}"), soft_wrap=True)
    if not consensus.converged:
        told = f"It had not settled after {consensus.iterations} iterations; the numbers may still move."
        screen.print(told, style="yellow", soft_wrap=True)
    if choice.candidates:
        screen.print(_candidates(choice, Table(box=box.SIMPLE_HEAD, pad_edge=False)))
        others = [one.method for one in choice.candidates if one.method != choice.method]
        told = "; ".join(f"{TITLES[method]}: {EXPLAINED[method]}" for method in others)
        screen.print(f"what the others do: {told}", soft_wrap=True)
    if np.isfinite(consensus.raters.accuracy).any():
        screen.print("raters, those first who are right least often:")
    screen.print(_raters(consensus, Table(box=box.SIMPLE_HEAD, pad_edge=False)))
    _more(len(votes.raters), "rater", "--json")
    if consensus.raters.reason is not None:
        lacking = "no intervals" if np.isfinite(consensus.raters.accuracy).any() else "undefined"
        screen.print(safe(f"how far each rater is right: {lacking}. {consensus.raters.reason}"), soft_wrap=True)
    screen.print("items, in the order of the file:")
    screen.print(_items(consensus, Table(box=box.SIMPLE_HEAD, pad_edge=False)))
    _more(len(votes.items), "item", "--out FILE" if whole else "the file")


def _more(count: int, what: str, where: str) -> None:
    if count > _SHOWN:
        console().print(f"and {counted(count - _SHOWN, 'more ' + what)}: {where}", soft_wrap=True)


def _candidates(choice: Choice, table: Any) -> Any:
    import math

    from heed.raters.choosing import TITLES

    def lost(nats: float) -> str:
        return f"{-100 * math.expm1(-nats):.1f}"

    for heading in ("method", "chance of held-out answers", "lower than the best by"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for one in choice.candidates:
        behind = one.behind
        lower = "" if behind.low is None or behind.high is None else f" ({lost(behind.low)} to {lost(behind.high)} %)"
        best = one is choice.candidates[0]
        table.add_row(
            TITLES[one.method],
            percent(math.exp(one.score)),
            "" if best else f"{lost(behind.estimate or 0.0)} %{lower}",
        )
    return table


def _raters(consensus: Consensus, table: Any) -> Any:
    rows = rater_values(consensus)
    known = any(row["known"] for row in rows)
    headings = ["rater", "answers", "right", "95 % interval", *(["known labels"] if known else []), ""]
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("rater", "") else "right")
    for row in rows[:_SHOWN]:
        right = _right(row)
        ends = "" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}"
        of_known = [f"{row['known_right']} of {row['known']}" if row["known"] else ""] if known else []
        table.add_row(
            one_line(row["rater"], _NAME_WIDTH), f"{row['answers']:,}", right, ends, *of_known, _remark(row, consensus)
        )
    return table


def _right(row: dict[str, Any]) -> str:
    """How far a rater is right; nothing that looks like perfection where no interval says how little it rests on."""
    if row["accuracy"] is None:
        return "undefined"
    return percent(row["accuracy"]) if row["low"] is not None or row["answers"] >= FEW_ANSWERS else ""


def _remark(row: dict[str, Any], consensus: Consensus) -> str:
    """What a lead should see in a rater: that a share rests on hardly anything, or what both ends of the interval say."""
    if row["answers"] < FEW_ANSWERS:
        return "one answer: says nothing yet" if row["answers"] == 1 else "too few answers to judge by"
    chance = 1 / max(len(consensus.votes.labels), 2)
    if row["low"] is None:
        return ""
    if row["high"] < chance:
        return "worse than chance: labels turned around?"
    return "may be no better than chance" if row["low"] < chance else ""


def _items(consensus: Consensus, table: Any) -> Any:
    for heading in ("item", "label", "probability", "answers"):
        table.add_column(heading, justify="left" if heading in ("item", "label") else "right")
    for row, _ in zip(item_values(consensus), range(_SHOWN), strict=False):
        label = "open: two are equally likely" if row["label"] is None else one_line(row["label"], _NAME_WIDTH)
        table.add_row(one_line(row["item"], _NAME_WIDTH), label, percent(row["probability"]), f"{row['votes']:,}")
    return table
