"""A diagnosis of a reward model as a page for people: one self-contained HTML file without scripts, as the report is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from heed.evaluate.report_charts import number, reliability_chart
from heed.evaluate.reward_parts import FEWEST_SHOWN, telling
from heed.files import file_errors, write_text
from heed.statistics import Interval, Undefined

if TYPE_CHECKING:
    from heed.evaluate.reward_diagnosis import RewardDiagnosis

MOST_ROWS = 40
"""Parts of one division that the page shows; the JSON has them all."""
MOST_CONTESTED_SHOWN = 20

TITLES = {
    "kind": "Kind of judgment",
    "strength": "How much better, by the rater",
    "gap": "How far apart, by the reward model",
    "length": "Mean length of the two texts",
    "group": "Group of the rater",
    "rater": "Rater",
    "source": "Where it was given",
    "subset": "Subset of the benchmark",
}


@dataclass(frozen=True)
class Row:
    """A figure with its interval, drawn on a line."""

    name: str
    interval: Interval
    mark: Markup


@dataclass(frozen=True)
class Table:
    """Rows over one scale, whose ends are named; ``left_out`` counts rows that are not shown because there are so many, and
    ``few`` those of too few comparisons."""

    title: str
    rows: list[Row]
    ends: tuple[str, str]
    left_out: int = 0
    reason: str = ""
    few: int = 0


def mark(interval: Interval, low: float, high: float, ideal: float) -> Markup:
    """A disc at the estimate and a bar over its interval, on a line from ``low`` to ``high`` with a dotted line at ``ideal``.

    Places are percentages, so that it stretches to any width while the disc keeps its shape.
    """

    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - low) / (high - low)))

    parts = [Markup('<line class="half" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="20"/>').format(x=place(ideal))]
    if interval.low is not None and interval.high is not None:
        bar = Markup('<line class="whisker a" x1="{:.2f}%" x2="{:.2f}%" y1="10" y2="10"/>')
        parts.append(bar.format(place(interval.low), place(interval.high)))
    if interval.estimate is not None:
        disc = '<svg x="{:.2f}%" y="10" overflow="visible"><circle class="dot a" r="4.5"/></svg>'
        parts.append(Markup(disc).format(place(interval.estimate)))
    body = Markup("").join(parts)
    return Markup('<svg class="whiskers" width="100%" height="20" aria-hidden="true">{}</svg>').format(body)


def shares(title: str, named: Sequence[tuple[str, Interval]], reason: str = "", few: int = 0) -> Table:
    """Shares of 0 to 1."""
    rows = [Row(name, interval, mark(interval, 0.0, 1.0, 0.5)) for name, interval in named[:MOST_ROWS]]
    return Table(title, rows, ("0 %", "100 %"), max(0, len(named) - MOST_ROWS), reason, few)


def around_zero(title: str, named: Sequence[tuple[str, Interval]]) -> Table:
    """Figures that should be 0, on a scale that holds them all."""
    ends = [abs(end) for _, one in named for end in (one.estimate, one.low, one.high) if end is not None]
    reach = max(ends, default=1.0) or 1.0
    rows = [Row(name, interval, mark(interval, -reach, reach, 0.0)) for name, interval in named]
    return Table(title, rows, (number(-reach), number(reach)))


def tables(found: RewardDiagnosis) -> list[Table]:
    """What the page shows as rows."""
    made = []
    for division in found.by:
        parts, few = telling(division.parts)
        if division.parts and not (len(division.parts) == 1 and division.by in ("kind", "strength", "source")):
            reason = f"each of {few} has fewer than {FEWEST_SHOWN} comparisons; reward.json has them."
            made.append(shares(TITLES[division.by], [(part.name, part.accuracy) for part in parts], reason, few))
        elif not division.parts and division.by == "group":
            made.append(shares(TITLES["group"], [], division.reason or ""))
    if found.subset_mean is not None:
        made.append(shares("All subsets, each weighing alike", [("mean", found.subset_mean)]))
    if found.graded:
        title = "Single texts: of two by one rater, how often the better-judged scores higher"
        made.append(shares(title, [(part.name, part.accuracy) for part in found.graded]))
    return made


def bias_tables(found: RewardDiagnosis) -> list[Table]:
    """What the page shows of leanings."""
    made = []
    for title, one, sides in (
        ("Length", found.length, ("longer", "shorter")),
        ("Place on the screen", found.position, ("left", "right")),
    ):
        if isinstance(one, Undefined):
            made.append(shares(title, [], one.reason))
            continue
        first, second = sides
        named = [
            (f"Raters prefer the {first} one", one.raters),
            (f"The reward model prefers the {first} one", one.reward),
            (f"Right where raters preferred the {first} one", one.first),
            (f"Right where raters preferred the {second} one", one.second),
        ]
        made.append(shares(title, named))
    known = [(effect.style, effect) for effect in found.styles if effect.excess.estimate is not None]
    if known:
        title = "Of two texts otherwise as good: probability that it gives the one with more of a style (50 % is right)"
        made.append(shares(title, [(style, effect.favour) for style, effect in known]))
        title = "Correlation of score and style where raters chose alike (0 is none)"
        made.append(around_zero(title, [(style, effect.correlation) for style, effect in known]))
    if not isinstance(found.order, Undefined):
        made.append(shares("Asked in the other order, the model changes its mind on", [("pairs", found.order.changed)]))
    return made


def page(found: RewardDiagnosis, created: datetime | None = None) -> str:
    """The page of a diagnosis."""
    from heed.evaluate.report_page import environment

    fitted = found.calibration
    chart = None
    if not isinstance(fitted, Undefined):
        chart = reliability_chart("reliability", "Observed against predicted preference", fitted.curve)
    return (
        environment()
        .get_template("reward.html.jinja")
        .render(
            d=found,
            tables=tables(found),
            biases=bias_tables(found),
            reliability=chart,
            contested=found.contested[:MOST_CONTESTED_SHOWN],
            fewest=FEWEST_SHOWN,
            created=created or datetime.now(UTC),
        )
    )


def write(found: RewardDiagnosis, folder: Path) -> tuple[Path, Path]:
    """Write ``reward.json`` and ``reward.html`` into ``folder``, each as a whole or not at all; the two paths.

    Raises:
        ProjectError: the folder cannot be written to.
    """
    paths = folder / "reward.json", folder / "reward.html"
    with file_errors(f"folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(paths[0], found.model_dump_json(indent=2) + "\n")
        write_text(paths[1], page(found))
    return paths
