"""From ``ReportData`` to the page: what the template shows, worked out here so that the template only lays it out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from heed.evaluate.metrics import WORD
from heed.evaluate.report_charts import (
    Series,
    learning_chart,
    line_chart,
    number,
    reliability_chart,
    share_whisker,
    swatch,
    whiskers,
)
from heed.evaluate.verdict import percent
from heed.statistics import Interval, Undefined
from heed.texts import visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from heed.evaluate.report import Example, ReportData, TrainingPoint

LONGEST_SHOWN = 2000
"""Characters of a text that the page shows; ``report.json`` has it whole."""


@dataclass(frozen=True)
class Turn:
    """One turn of a prompt, ready to show."""

    role: str
    text: str


@dataclass(frozen=True)
class ShownExample:
    """One example, ready to show; ``cut`` counts the characters left out."""

    turns: list[Turn]
    before: Markup
    after: Markup
    before_scores: dict[str, float]
    after_scores: dict[str, float]
    cut: int


@dataclass(frozen=True)
class Chart:
    """A drawing with its caption, and a legend where it has several lines."""

    title: str
    drawing: Markup
    legend: list[tuple[Markup, str]]


def _shortened(text: str) -> tuple[str, int]:
    shown = visible(text)
    return shown[:LONGEST_SHOWN], max(0, len(shown) - LONGEST_SHOWN)


def _pieces(text: str) -> tuple[list[str], list[str]]:
    """The words and single signs of ``text``, and each with the white space after it (before it too, for the first);
    the second list joined is ``text``."""
    found = [(match.start(), match[0]) for match in WORD.finditer(text)] or [(0, "")]
    bounds = [0, *(start for start, _ in found[1:]), len(text)]
    return [word for _, word in found], [text[a:b] for a, b in pairwise(bounds)]


def marked_differences(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts as HTML, with the words that only the first has in ``<del>``, and those only the second has in
    ``<ins>``; white space makes no difference."""
    (old_words, old), (new_words, new) = _pieces(before), _pieces(after)
    left: list[Markup] = []
    right: list[Markup] = []
    # From 200 words on, difflib takes no very frequent word as a starting point: else a degenerate text takes seconds.
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, old_words, new_words).get_opcodes():
        left.append(_marked(tag != "equal", "del", "".join(old[a0:a1])))
        right.append(_marked(tag != "equal", "ins", "".join(new[b0:b1])))
    return Markup("").join(left), Markup("").join(right)


def _marked(differs: bool, element: str, text: str) -> Markup:
    body = text.rstrip()
    if not differs or not body:
        return Markup("{}").format(text)
    return Markup("<{0}>{1}</{0}>{2}").format(element, body, text[len(body) :])


def _example(example: Example) -> ShownExample:
    prompt = example.prompt
    spoken = [("prompt", prompt)] if isinstance(prompt, str) else [(turn.role, turn.content) for turn in prompt]
    turns, cut = [], 0
    for role, content in spoken:
        text, lost = _shortened(content)
        turns.append(Turn(role, text))
        cut += lost
    before, lost_before = _shortened(example.before)
    after, lost_after = _shortened(example.after)
    marked = marked_differences(before, after)
    return ShownExample(turns, *marked, example.before_scores, example.after_scores, cut + lost_before + lost_after)


def _training_charts(points: list[TrainingPoint]) -> list[Chart]:
    drawn = []
    for key, title in (
        ("reward", "Reward of the rollout by the reward model (reward units)"),
        ("constraint", "What constraints add to it, stated apart (reward units)"),
        ("kl", "KL to the reference (nats a completion)"),
        ("entropy", "Entropy (nats a token)"),
        ("length", "Length (tokens)"),
        ("proxy", "Audits: reward model’s score (reward units)"),
        ("true", "Audits: true utility (utility units)"),
    ):
        line = [(float(p.step), getattr(p, key)) for p in points if getattr(p, key) is not None]
        stated = key != "constraint" or any(p.constraint or p.constraints for p in points)
        if line and stated:
            style = "b" if key == "proxy" else "a"
            drawing = line_chart(
                f"training-{key}", title, "step", "step (a rollout with its updates)", [Series(title, line, style)]
            )
            drawn.append(Chart(title, drawing, []))
    return drawn


@dataclass(frozen=True)
class ConstraintRow:
    """One constraint at the first and at the last step: what it adds to the reward, and the share that breaks it."""

    name: str
    added: tuple[float, float]
    broken: tuple[float, float] | None


def _constraint_rows(points: list[TrainingPoint]) -> list[ConstraintRow]:
    first, last = points[0], points[-1]
    return [
        ConstraintRow(
            name,
            (first.constraints.get(name, 0.0), added),
            (first.broken.get(name, 0.0), last.broken[name]) if name in last.broken else None,
        )
        for name, added in last.constraints.items()
    ]


def _frontier_chart(data: ReportData) -> Chart | None:
    points = data.reward_against_kl
    if isinstance(points, Undefined) or not points:
        return None
    points = sorted(points, key=lambda p: p.step)  # joined as training went: its end is the line's end
    lines = [Series("Reward model (proxy)", [(p.kl, p.proxy) for p in points], "b")]
    truth = [(p.kl, p.true) for p in points if p.true is not None]
    if truth:
        lines.append(Series("True utility", truth, "a"))
    title = "Gain over the reference (its standard deviations)"
    drawing = line_chart("frontier", title, "KL", "KL to the reference (nats a completion)", lines)
    return Chart(title, drawing, [(swatch(line.style), line.name) for line in lines])


def _learning_chart(data: ReportData) -> Chart | None:
    worth = data.worth
    if isinstance(worth, Undefined):
        return None
    title = "Held-out comparisons ordered rightly (percent)"
    legend = [
        (swatch("a", line=False), "measured, with 95 % intervals"),
        (swatch("b", mark=False), "the law through it"),
    ]
    legend.append((swatch("c", line=False), f"with {worth.curve.further:,} more"))
    if worth.rewards:
        legend.append((swatch("b", line=False), "this project’s reward models"))
    return Chart(title, learning_chart("learning", title, worth), legend)


def _value(value: float, shown: str) -> Markup:
    """A number as shown, with the number itself for machines."""
    return Markup('<data value="{}">{}</data>').format(repr(value), shown)


def show_number(value: float | int | Undefined | None) -> Markup:
    """A number in three digits; a whole one in full."""
    if value is None or isinstance(value, Undefined):
        return Markup("–")
    return _value(value, f"{value:,}" if isinstance(value, int) else number(value))


def show_percent(value: float | Undefined | None) -> Markup:
    """A share of 0 to 1 as a percentage."""
    return Markup("–") if value is None or isinstance(value, Undefined) else _value(value, percent(value))


def show_interval(interval: Interval, share: bool = False) -> Markup:
    """An interval's ends, or nothing where there are none."""
    if interval.low is None or interval.high is None:
        return Markup("")
    ends = (f"{100 * v:.1f}" if share else number(v) for v in (interval.low, interval.high))
    low, high = (_value(v, text) for v, text in zip((interval.low, interval.high), ends, strict=True))
    return Markup('<span class="range">{} to {}{}</span>').format(low, high, " %" if share else "")


def show_right(found: Interval) -> Markup:
    """A reliability, -1 to 1, as right ones of 100 choices between two, with its interval."""
    ends = [value for value in (found.estimate, found.low, found.high) if value is not None]
    shown = [_value(value, f"{50 * (1 + value):.0f}") for value in ends]
    if len(shown) < 3:
        return shown[0] if shown else Markup("–")
    return Markup('{}<br><span class="range small">{} to {}</span>').format(*shown)


def show_seconds(seconds: float) -> Markup:
    """A duration: seconds up to two minutes, then minutes and seconds, then hours and minutes."""
    if seconds < 120:
        return _value(seconds, f"{number(seconds)} s")
    if seconds < 7200:
        minutes, rest = divmod(round(seconds), 60)
        return _value(seconds, f"{minutes} min {rest} s")
    hours, rest = divmod(round(seconds / 60), 60)
    return _value(seconds, f"{hours:,} h {rest} min")


def trust_whisker(found: Interval) -> Markup:
    """A reliability, -1 to 1, as a mark with its interval, over 0 to 100 right choices of a hundred."""
    ends = (found.estimate, found.low, found.high)
    estimate, low, high = (None if value is None else (1 + value) / 2 for value in ends)
    return share_whisker(estimate, low, high)


def reason(value: Any) -> str | None:
    """Why ``value`` is not there, or None where it is."""
    if isinstance(value, Undefined):
        return value.reason
    return value.reason if isinstance(value, Interval) else None


def unbroken(text: str) -> str:
    """``text`` with numbers and their percent signs kept on one line."""
    return text.replace(" %", "\u00a0%")


@cache
def environment() -> Environment:
    """What turns templates into pages, with the ways to show figures that all of them share."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("heed.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "num": show_number,
        "pct": show_percent,
        "ends": show_interval,
        "duration": show_seconds,
        "visible": visible,
        "unbroken": unbroken,
        "right_of": show_right,
    }
    environment.globals |= {"whiskers": whiskers, "reason": reason, "trust_whisker": trust_whisker}
    return environment


def page(data: ReportData) -> str:
    """The page of ``data``: one self-contained HTML file without scripts or links to anything outside."""
    calibration = data.calibration
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            d=data,
            examples=[_example(example) for example in data.examples],
            training_charts=[] if isinstance(data.training, Undefined) else _training_charts(data.training),
            constraints=[]
            if isinstance(data.training, Undefined) or not data.training
            else _constraint_rows(data.training),
            frontier=_frontier_chart(data),
            learning=_learning_chart(data),
            reliability=None
            if isinstance(calibration, Undefined)
            else reliability_chart("reliability", "Observed against predicted preference", calibration.curve),
        )
    )
