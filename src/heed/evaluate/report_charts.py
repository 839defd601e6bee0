"""Charts of the report as inline SVG.

Not plotly: its script alone weighs over 4 MB in every report, needs JavaScript, and neither prints nor follows dark and
light by itself. These take their colours from the page's style sheet and carry their text alternative with them. Shape
and dash tell lines apart, not colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from heed.statistics import Interval

if TYPE_CHECKING:
    from heed.evaluate.learning import LabelsWorth
    from heed.evaluate.metrics import ReliabilityBin

WIDTH, HEIGHT = 320, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 40
_MOST_MARKED = 24
_LAW_POINTS = 40


@dataclass(frozen=True)
class Series:
    """One line: points (x, y) in order of x; ``style`` is a class of the style sheet, ``a`` or ``b``."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "a"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within ``low`` to ``high``, 1, 2 or 5 times a power of ten apart, some ``about`` of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * about >= (high - low) * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """``value`` with three significant digits, all digits before the point, and a true minus sign; whole numbers
    without a point, numbers under a ten-thousandth as a power of ten."""
    if 0 < abs(value) < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    digits = 0 if value == round(value) else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace("-", "−")


def tick_labels(places: Sequence[float]) -> list[str]:
    """Labels of evenly spaced ticks, all with as many decimals as their distance needs; short ones for extremes."""
    step = places[1] - places[0] if len(places) > 1 else abs(places[0]) or 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 3 or max(abs(place) for place in places) >= 1e5:
        return [f"{place:.3g}".replace("-", "−") for place in places]
    return [f"{place + 0.0:,.{digits}f}".replace("-", "−") for place in places]


def widened(values: Sequence[float]) -> tuple[float, float]:
    """The range of ``values`` with a little room on either side."""
    low, high = min(values), max(values)
    room = 0.04 * (high - low)
    if room <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) * 0.1 or 1.0
    return low - room, high + room


class _Frame:
    """Axes: turns data coordinates into places on the drawing."""

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str,
        x_ticks: Sequence[tuple[float, str]] = (),
    ) -> None:
        self.x_range, self.y_range, self.x_label, self.x_ticks = x_range, y_range, x_label, x_ticks

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(_LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    def axes(self) -> Markup:
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
        text = Markup('<text class="{}" text-anchor="{}" x="{}" y="{}">{}</text>')
        parts = []
        y_ticks, places = ticks(*self.y_range, about=4), ticks(*self.x_range)
        x_ticks = self.x_ticks or list(zip(places, tick_labels(places), strict=True))
        for tick, label in zip(y_ticks, tick_labels(y_ticks), strict=True):
            y = self.y(tick)
            parts.append(line.format("grid", _LEFT, right, y, y))
            parts.append(text.format("tick", "end", _LEFT - 6, y + 4, label))
        parts.append(line.format("axis", _LEFT, right, bottom, bottom))
        for tick, label in x_ticks:
            parts.append(line.format("axis", self.x(tick), self.x(tick), bottom, bottom + 4))
            parts.append(text.format("tick", "middle", self.x(tick), bottom + 17, label))
        parts.append(text.format("label", "middle", (_LEFT + right) / 2, HEIGHT - 5, self.x_label))
        return Markup("").join(parts)


def _svg(identity: str, title: str, description: str, body: Markup) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-title {i}-text">'
        '<title id="{i}-title">{t}</title><desc id="{i}-text">{d}</desc>{b}</svg>'
    ).format(w=WIDTH, h=HEIGHT, i=identity, t=title, d=description, b=body)


def _marker(style: str, x: float, y: float) -> Markup:
    """A disc for series ``a``, a diamond for series ``b``, a hollow one for ``c``."""
    if style == "a":
        return Markup('<circle class="dot a" cx="{}" cy="{}" r="3.5"/>').format(x, y)
    path = Markup('<path class="dot {}" d="M{} {}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>')
    return path.format(style, x, round(y - 4.5, 1))


def swatch(style: str, line: bool = True, mark: bool = True) -> Markup:
    """The sample of a line and its marks for the legend, or of one of the two."""
    drawn = Markup('<line class="line {}" x1="1" x2="33" y1="6" y2="6"/>').format(style) if line else Markup("")
    return Markup('<svg class="swatch" width="34" height="12" aria-hidden="true">{}{}</svg>').format(
        drawn, _marker(style, 17, 6) if mark else ""
    )


def _told(series: Series, x_name: str) -> str:
    ys = [y for _, y in series.points]
    (x0, y0), (x1, y1) = series.points[0], series.points[-1]
    return (
        f"{series.name}: {number(y0)} at {x_name} {number(x0)}, {number(y1)} at {x_name} {number(x1)}; "
        f"lowest {number(min(ys))}, highest {number(max(ys))}."
    )


def line_chart(identity: str, title: str, x_name: str, x_label: str, lines: Sequence[Series]) -> Markup:
    """Lines over one pair of axes; points are marked where they are few enough to tell apart.

    Args:
        identity: unique in the page; names the text alternative.
        title: what is drawn, with its unit.
        x_name: what x is, in a word, for the text alternative.
        x_label: what x is, with its unit.
        lines: at least one, each with at least one point.
    """
    frame = _Frame(
        widened([x for s in lines for x, _ in s.points]), widened([y for s in lines for _, y in s.points]), x_label
    )
    parts = [frame.axes()]
    for series in lines:
        places = [(frame.x(x), frame.y(y)) for x, y in series.points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(series.style, path))
        if len(places) <= _MOST_MARKED:
            parts += [_marker(series.style, x, y) for x, y in places]
    return _svg(identity, title, " ".join(_told(series, x_name) for series in lines), Markup("").join(parts))


def reliability_chart(identity: str, title: str, curve: Sequence[ReliabilityBin]) -> Markup:
    """Observed against predicted preference, a disc with its interval a bin, and the diagonal of perfect calibration."""
    frame = _Frame((0.49, 1.01), (0.0, 1.0), "predicted probability")
    parts = [
        frame.axes(),
        Markup('<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            frame.x(0.5), frame.y(0.5), frame.x(1.0), frame.y(1.0)
        ),
    ]
    told = []
    for part in curve:
        observed = part.observed
        if observed.estimate is None:
            continue
        x = frame.x(part.predicted)
        if observed.low is not None and observed.high is not None:
            parts.append(
                Markup('<line class="whisker a" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                    frame.y(observed.low), frame.y(observed.high), x=x
                )
            )
        parts.append(_marker("a", x, frame.y(observed.estimate)))
        told.append(f"predicted {number(part.predicted)}, observed {number(observed.estimate)}")
    return _svg(identity, title, "; ".join(told) + ".", Markup("").join(parts))


def learning_chart(identity: str, title: str, worth: LabelsWorth) -> Markup:
    """Accuracy over labels, in steps of equal ratio: what was measured with its intervals, the law through it, a hollow
    diamond with so many labels more, and the project's own reward models as diamonds."""
    curve, law = worth.curve, worth.curve.law
    last = float(curve.labels + curve.further)
    first = min([point.labels for point in curve.points] + [max(known.labels, 1) for known in worth.rewards])
    steps = [first * (last / first) ** (place / _LAW_POINTS) for place in range(_LAW_POINTS + 1)]
    spans = [(point.accuracy.low, point.accuracy.high) for point in curve.points]
    seen = [law.accuracy(labels) for labels in steps] + [known.accuracy for known in worth.rewards]
    seen += [end for span in spans for end in span if end is not None]
    marks = [point.labels for point in curve.points]
    frame = _Frame(
        widened([math.log(first), math.log(last)]),
        widened([100 * value for value in seen]),
        "comparisons learned from (count)",
        [(math.log(labels), f"{labels:,.0f}") for labels in marks],
    )
    line = " ".join(f"{frame.x(math.log(labels))},{frame.y(100 * law.accuracy(labels))}" for labels in steps)
    parts = [frame.axes(), Markup('<polyline class="line b" points="{}"/>').format(line)]
    for labels, (low, high), point in zip(marks, spans, curve.points, strict=True):
        x = frame.x(math.log(labels))
        if low is not None and high is not None:
            bar = Markup('<line class="whisker a" x1="{x}" x2="{x}" y1="{}" y2="{}"/>')
            parts.append(bar.format(frame.y(100 * low), frame.y(100 * high), x=x))
        if point.accuracy.estimate is not None:
            parts.append(_marker("a", x, frame.y(100 * point.accuracy.estimate)))
    for known in worth.rewards:
        parts.append(_marker("b", frame.x(math.log(max(known.labels, 1))), frame.y(100 * known.accuracy)))
    parts.append(_marker("c", frame.x(math.log(last)), frame.y(100 * law.accuracy(last))))
    told = [
        f"{100 * point.accuracy.estimate:.1f} % with {point.labels:,.0f}"
        for point in curve.points
        if point.accuracy.estimate is not None
    ]
    return _svg(identity, title, f"{'; '.join(told)}. {worth.verdict}", Markup("").join(parts))


def whiskers(raw: Interval, controlled: Interval) -> Markup:
    """One row of the win-rate figure: the rate as a disc and, below it, at equal length, as a hollow diamond, each with
    its interval, over 0 to 100 %. Places are percentages, so it stretches to any width while marks keep their shape."""
    parts = [
        Markup('<line class="{}" x1="{x}%" x2="{x}%" y1="0" y2="44"/>').format("half" if x == 50 else "grid", x=x)
        for x in (0, 25, 50, 75, 100)
    ]
    for interval, y, style in ((raw, 14, "a"), (controlled, 31, "c")):
        if interval.low is not None and interval.high is not None:
            low, high = 100 * interval.low, 100 * interval.high
            bar = Markup('<line class="whisker {}" x1="{:.2f}%" x2="{:.2f}%" y1="{}" y2="{}"/>')
            parts.append(bar.format(style, low, high, y, y))
            parts += [bar.format(style, end, end, y - 4, y + 4) for end in (low, high)]
        if interval.estimate is not None:
            place = Markup('<svg x="{:.2f}%" y="{}" overflow="visible">{}</svg>')
            mark = (
                Markup('<circle class="dot a" r="5"/>')
                if style == "a"
                else Markup('<path class="dot c" d="M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>')
            )
            parts.append(place.format(100 * interval.estimate, y, mark))
    return Markup('<svg class="whiskers" width="100%" height="44" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def share_whisker(estimate: float | None, low: float | None, high: float | None) -> Markup:
    """One share as a disc with its interval, over 0 to 100 %, and a dotted line at one half."""
    parts = [
        Markup('<line class="{}" x1="{x}%" x2="{x}%" y1="2" y2="22"/>').format("half" if x == 50 else "grid", x=x)
        for x in (0, 25, 50, 75, 100)
    ]
    if low is not None and high is not None:
        bar = Markup('<line class="whisker a" x1="{:.2f}%" x2="{:.2f}%" y1="{}" y2="{}"/>')
        parts.append(bar.format(100 * low, 100 * high, 12, 12))
        parts += [bar.format(100 * end, 100 * end, 8, 16) for end in (low, high)]
    if estimate is not None:
        parts.append(Markup('<circle class="dot a" cx="{:.2f}%" cy="12" r="4.5"/>').format(100 * estimate))
    return Markup('<svg class="whiskers" width="100%" height="24" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )
