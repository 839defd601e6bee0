"""Charts of the board as inline SVG that says in words what it draws. Colours come from the style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from heed.evaluate.report_charts import ticks
from heed.statistics import Interval


@dataclass(frozen=True)
class _Sheet:
    """What a chart is drawn on. Each is drawn on both; the style sheet shows the one that fits where it stands.

    Attributes:
        name: a class of the style sheet.
        width: of the drawing, in the pixels in which its letters are about as large as those beside it.
        height: of the drawing.
        days: that are named below it, at most.
    """

    name: str
    width: int
    height: int
    days: int

    @property
    def inside(self) -> float:
        """Width of the part with the columns."""
        return self.width - _LEFT - _RIGHT

    def x(self, index: int, count: int) -> float:
        """Middle of one of ``count`` columns."""
        return round(_LEFT + (index + 0.5) * self.inside / count, 1)

    def y(self, value: float, low: float, high: float) -> float:
        """Height of ``value`` on a scale from ``low`` to ``high``."""
        return round(self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM), 1)

    def frame(self, days: Sequence[date], low: float, high: float, places: Sequence[float]) -> list[Markup]:
        """Lines across at ``places`` with their values, and the names of days."""
        digits = 0 if all(place == round(place) for place in places) else 1
        parts = []
        for place in places:
            y = self.y(place, low, high)
            parts.append(_LINE.format("axis" if place == 0 else "grid", _LEFT, self.width - _RIGHT, y, y))
            parts.append(_TEXT.format("end", _LEFT - 6, y + 4, f"{place:,.{digits}f}".replace("-", "−")))
        every = max(1, math.ceil(len(days) / self.days))
        for index, day in enumerate(days):
            if (len(days) - 1 - index) % every == 0:
                parts.append(_TEXT.format("middle", self.x(index, len(days)), self.height - 8, f"{day:%m-%d}"))
        return parts


_SHEETS = (_Sheet("wide", 640, 200, 7), _Sheet("narrow", 320, 180, 3))
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 26

_LINE = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
_TEXT = Markup('<text class="tick" text-anchor="{}" x="{}" y="{}">{}</text>')


def _drawings(identity: str, title: str, told: str, draw: Callable[[_Sheet], Sequence[Markup]]) -> Markup:
    svg = Markup(
        '<svg class="chart {n}" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-{n}-title {i}-{n}-text">'
        '<title id="{i}-{n}-title">{t}</title><desc id="{i}-{n}-text">{d}</desc>{b}</svg>'
    )
    drawn = [
        svg.format(
            n=sheet.name, w=sheet.width, h=sheet.height, i=identity, t=title, d=told, b=Markup("").join(draw(sheet))
        )
        for sheet in _SHEETS
    ]
    return Markup('<div class="drawings">{}</div>').format(Markup("").join(drawn))


def bars(identity: str, title: str, days: Sequence[date], counts: Sequence[int], told: str) -> Markup:
    """A column for each day. ``told`` says the same in words."""
    high = max(*counts, 4) * 1.02
    places = [place for place in ticks(0, high, about=4) if place == round(place)]
    bar = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}" rx="2"><title>{}: {:,}</title></rect>')

    def draw(sheet: _Sheet) -> list[Markup]:
        wide = round(0.7 * sheet.inside / len(days), 1)
        parts = sheet.frame(days, 0, high, places)
        for index, count in enumerate(counts):
            top, x = sheet.y(count, 0, high), round(sheet.x(index, len(days)) - wide / 2, 1)
            if count:
                tall = round(sheet.height - _BOTTOM - top, 1)
                parts.append(bar.format(x, top, wide, tall, f"{days[index]:%Y-%m-%d}", count))
        return parts

    return _drawings(identity, title, told, draw)


def curve(identity: str, title: str, days: Sequence[date], values: Sequence[float | None], told: str) -> Markup:
    """A line over days; it is broken where a day has no value. Values are at most 1, as agreement is."""
    known = [value for value in values if value is not None]
    low = min(0.0, math.floor(min(known, default=0.0) * 2) / 2)

    def draw(sheet: _Sheet) -> list[Markup]:
        parts = sheet.frame(days, low, 1.02, ticks(low, 1.0, about=4))
        run: list[tuple[float, float]] = []
        for index, value in enumerate([*values, None]):
            if value is not None:
                run.append((sheet.x(index, len(days)), sheet.y(value, low, 1.02)))
                continue
            if len(run) > 1:
                points = " ".join(f"{x},{y}" for x, y in run)
                parts.append(Markup('<polyline class="line a" points="{}"/>').format(points))
            parts += [Markup('<circle class="dot a" cx="{}" cy="{}" r="3.5"/>').format(x, y) for x, y in run]
            run = []
        return parts

    return _drawings(identity, title, told, draw)


def whisker(interval: Interval, mark: float | None, told: str, warned: bool = False) -> Markup:
    """One share with its interval over 0 to 100 %, and a line at the value it is compared with."""
    parts = [_LINE.format("axis", "0%", "100%", 12, 12)]
    parts += [_LINE.format("grid", f"{x}%", f"{x}%", 8, 16) for x in (0, 25, 50, 75, 100)]
    if mark is not None:
        parts.append(_LINE.format("mark", f"{100 * mark:.1f}%", f"{100 * mark:.1f}%", 1, 23))
    style = "whisker warned" if warned else "whisker"
    if interval.low is not None and interval.high is not None:
        low, high = f"{100 * interval.low:.1f}%", f"{100 * interval.high:.1f}%"
        parts.append(_LINE.format(style, low, high, 12, 12))
        parts += [_LINE.format(style, end, end, 7, 17) for end in (low, high)]
    if interval.estimate is not None:
        dot = Markup('<circle class="{}" cx="{:.1f}%" cy="12" r="4.5"/>')
        parts.append(dot.format("dot warned" if warned else "dot a", 100 * interval.estimate))
    body = Markup("").join(parts)
    return Markup('<svg class="whiskers" width="100%" height="24" role="img" aria-label="{}">{}</svg>').format(
        told, body
    )


def told_days(days: Sequence[date], values: Sequence[float | None], say: Callable[[date, float], str]) -> str:
    """Each day that has a value in words."""
    return "; ".join(say(day, value) for day, value in zip(days, values, strict=True) if value is not None)
