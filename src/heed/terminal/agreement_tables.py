"""Agreement of raters measured for the command line, in words and tables for people and as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heed.errors import DataError
from heed.terminal.console import console
from heed.terminal.text import counted, one_line, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heed.raters.agreement import Codes, Level, Measured
    from heed.raters.kappa import PairKappa, PartAgreement, Weights
    from heed.raters.vote_files import VoteFile
    from heed.raters.votes import Votes
    from heed.statistics import Array

RELIABLE, TENTATIVE = 0.8, 0.667
"""Krippendorff's own marks for alpha ("Content Analysis", 4th edition 2018, chapter 12): labels to rely on, and labels for cautious
conclusions only."""

_SHOWN = 10
_NAME_WIDTH = 30
_WEIGHTS: dict[str, Weights] = {"nominal": "equal", "ordinal": "linear", "interval": "quadratic", "ratio": "quadratic"}


_WHY: dict[str, str] = {
    "nothing": "no answers",
    "one_rater": "one rater alone",
    "no_overlap": "no item in common",
    "no_variety": "too little variety",
    "few": "too few items",
    "alike": "all items agree alike",
    "not_asked": "not asked for",
}


@dataclass(frozen=True)
class Agreed:
    """All that is measured of the agreement in a file of votes; ``fleiss`` is of names alone."""

    level: Level
    percent: Measured
    alpha: Measured
    fleiss: Measured | None
    pairs: list[PairKappa]
    more_pairs: int
    parts: dict[str, list[PartAgreement]]


def measure(read: VoteFile, values: Codes | Array, level: Level, window: float, seed: int) -> Agreed:
    """Measure agreement of all votes, of every two raters, and by the columns that the file has beside them.

    Args:
        read: the file.
        values: what is compared [votes].
        level: of measurement.
        window: length of a stretch of time (seconds).
        seed: of all draws.

    Raises:
        DataError: the values do not fit the level, or a time cannot be read.
    """
    from heed.raters.agreement import krippendorff_alpha, percent_agreement
    from heed.raters.kappa import agreement_by, fleiss_kappa, pairwise_kappas

    votes = read.votes
    columns = votes.item, votes.rater, values
    pairs, more = pairwise_kappas(votes.item, votes.rater, values, weights=_WEIGHTS[level], seed=seed)
    names = {str(code): name for code, name in enumerate(votes.raters)}
    return Agreed(
        level,
        percent_agreement(*columns, seed=seed),
        krippendorff_alpha(*columns, level, seed=seed),
        fleiss_kappa(votes.item, values, seed=seed) if level == "nominal" else None,
        [pair.model_copy(update={"first": names[pair.first], "second": names[pair.second]}) for pair in pairs],
        more,
        {
            part: agreement_by(_begins(cells, window) if part == "time" else cells, *columns, level, seed=seed)
            for part, cells in read.beside.items()
        },
    )


def _begins(cells: list[str], window: float) -> list[str]:
    """The day on which the stretch of time of each vote begins."""
    from datetime import UTC, datetime

    import numpy as np

    from heed.raters.kappa import time_windows

    moments = []
    for cell in cells:
        try:
            moments.append(float(cell))
        except ValueError:
            try:
                moment = datetime.fromisoformat(cell)
            except ValueError:
                raise DataError(
                    f"time {cell!r}",
                    "it is neither seconds since 1970 nor a date.",
                    "Write it as 2026-01-31T12:00:00Z.",
                ) from None
            moments.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    begun = time_windows(np.array(moments), window)
    return [datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M") for moment in begun.tolist()]


def agreement_values(found: Agreed) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "level": found.level,
        "percent": found.percent.model_dump(),
        "alpha": found.alpha.model_dump(),
        "fleiss": found.fleiss and found.fleiss.model_dump(),
        "pairs": [pair.model_dump() for pair in found.pairs],
        "more_pairs": found.more_pairs,
        "by": {part: [one.model_dump() for one in ones] for part, ones in found.parts.items()},
    }


def print_agreement(name: str, votes: Votes, found: Agreed) -> None:
    """What it comes to, in words first."""
    screen = console()
    counts = f"{counted(votes.size, 'answer')} of {counted(len(votes.raters), 'rater')} on {counted(len(votes.items), 'item')}"
    screen.print(safe(f"{name}: {counts}"), soft_wrap=True)
    screen.print(safe(f"Two raters of one item say the same: {_share(found.percent)}."), soft_wrap=True)
    beyond = "" if found.alpha.estimate is None else " Agreement beyond chance: 1 is full, 0 is chance."
    screen.print(
        safe(f"Krippendorff's alpha ({found.level}): {_number(found.alpha)}.{beyond}"),
        soft_wrap=True,
    )
    screen.print(safe(meaning(found.alpha)), style="bold", soft_wrap=True)
    if found.level == "nominal" and _are_points(votes.labels):
        hint = "The labels are numbers, and were taken as names. If they are points of a scale: --level ordinal, or interval."
        screen.print(safe(hint), soft_wrap=True)
    if found.fleiss is not None:
        same = "" if found.fleiss.estimate is None else " The same, where every item counts once."
        screen.print(safe(f"Fleiss' kappa: {_number(found.fleiss)}.{same}"), soft_wrap=True)
    _print_pairs(found)
    for part, ones in found.parts.items():
        _print_parts(part, ones)


def meaning(alpha: Measured) -> str:
    """What alpha says, for somebody who is no statistician."""
    if alpha.estimate is None:
        return "How far the raters agree cannot be said yet."
    if alpha.low is None or alpha.high is None:
        return (
            "Whether single labels can be relied on cannot be said yet: without an interval the number may be chance."
        )
    low, high = alpha.low, alpha.high
    if high < 0:
        return "They agree less than if they chose by chance: look for raters who turn labels around (heed aggregate)."
    reached = f"Of the agreement that chance does not give, the raters reach {100 * max(alpha.estimate, 0.0):.0f} %"
    if low >= RELIABLE:
        return f"{reached}: single labels can be relied on."
    if low >= TENTATIVE:
        return f"{reached}: good enough for cautious conclusions, not for the fine ones."
    advice = "Make the guidelines clearer, or ask several raters an item and use heed aggregate"
    if high <= TENTATIVE:
        doubt = "which may be none at all" if low <= 0 else "too little to rely on single labels"
        return f"{reached}, {doubt}. {advice}."
    return f"{reached}; with so few answers it is open whether single labels can be relied on. {advice}."


def _are_points(labels: Sequence[str]) -> bool:
    """Whether labels are numbers, and more than the two that a yes and a no may be written as."""
    try:
        return len({float(label) for label in labels}) > 2
    except ValueError:
        return False


def _number(measured: Measured, in_full: bool = True) -> str:
    """A coefficient with its interval, or why there is none: in full, or in a table's few words."""
    reason = (measured.reason or "").rstrip(".") if in_full else _WHY.get(measured.why or "few", "")
    if measured.estimate is None:
        return f"undefined: {reason}"
    if measured.low is None or measured.high is None:
        return f"{measured.estimate:.3f} (no interval: {reason})"
    return f"{measured.estimate:.3f} ({measured.low:.3f} to {measured.high:.3f})"


def _share(measured: Measured, in_full: bool = True) -> str:
    from heed.terminal.show import interval

    reason = (measured.reason or "").rstrip(".") if in_full else _WHY.get(measured.why or "few", "")
    return interval(measured.model_dump() | {"reason": reason})


def _print_pairs(found: Agreed) -> None:
    """Every two raters, or of many those who agree least and most."""
    from rich import box
    from rich.table import Table

    known = [pair for pair in found.pairs if pair.kappa.estimate is not None]
    if not known:
        why = found.pairs[0].kappa.reason if found.pairs else "No two raters share enough items for one."
        console().print(safe(f"Cohen's kappa of two raters: undefined: {why}"), soft_wrap=True)
        return
    ranked = sorted(known, key=lambda pair: pair.kappa.estimate or 0.0)
    many = len(ranked) > 2 * _SHOWN
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("rater", "and rater", "items", "same", "Cohen's kappa"):
        table.add_column(heading, justify="left" if "rater" in heading else "right")
    for pair in [*ranked[:_SHOWN], *ranked[-_SHOWN:]] if many else ranked:
        names = (one_line(name, _NAME_WIDTH) for name in (pair.first, pair.second))
        table.add_row(*names, f"{pair.items:,}", f"{100 * pair.same:.1f} %", _number(pair.kappa, in_full=False))
    weights = "" if found.level == "nominal" else f", {_WEIGHTS[found.level]} weights"
    chosen = f": the {_SHOWN} that agree least and the {_SHOWN} that agree most" if many else ""
    more = f", those with the most of them of {len(found.pairs) + found.more_pairs:,}" if found.more_pairs else ""
    few = len(found.pairs) - len(known)
    without = f"; of {few:,} more there is none, as they share too few items or say too much alike" if few else ""
    order = "" if many else ", those who agree least first"
    told = f"Cohen's kappa (agreement beyond chance) of {counted(len(ranked), 'pair')} of raters with items in common{more}{weights}{chosen}{order}{without}"
    console().print(told, soft_wrap=True)
    console().print(table)


def _print_parts(part: str, ones: list[PartAgreement]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    heading = {"time": "from", "group": "within group"}.get(part, part)
    for name in (heading, "answers", "same", "alpha"):
        table.add_column(name, justify="left" if name == heading else "right")
    for one in ones:
        table.add_row(
            one_line(one.part, _NAME_WIDTH), f"{one.votes:,}", _share(one.percent, False), _number(one.alpha, False)
        )
    console().print(table)
