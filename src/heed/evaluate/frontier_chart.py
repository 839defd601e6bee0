"""The picture of a sweep as one SVG that stands alone: what was gained against the KL to the reference, a line a setting."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from heed.evaluate.frontier import Setting, Sweep, frontier, settings_of
from heed.evaluate.report_charts import number, tick_labels, ticks, widened

_WIDTH, _HEIGHT = 860, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 220, 40, 54
_FEW = 6
"""Settings whose ways of training can be followed by eye (count)."""
_ROW = 14
"""Least distance of two names (pixels)."""
_HUES = 8
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# Told apart on white and on black, and by their order of lightness where colours are not seen.
_LIGHT = ("#1b5a9e", "#a34a08", "#1d7a4c", "#8e2f7b", "#6b5b00", "#b3261e", "#3f4e5c", "#0f7286")
_DARK = ("#86b6ee", "#f0a565", "#7fd1a4", "#e39ad3", "#d9c65a", "#ff9d94", "#b9c4ce", "#74cfe0")

_STYLE = (
    "<style>svg{background:#fff;color:#1d2024;font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',Arial,sans-serif}"
    ".ink{fill:currentColor}.soft{fill:#565d66}.grid{stroke:#e4e7ea}.axis{stroke:#565d66}.zero{stroke:#565d66;stroke-dasharray:2 4}"
    ".line{fill:none;stroke-width:1.6;stroke-opacity:.75}.faint{stroke-width:1;stroke-opacity:.3}.lead{stroke-opacity:.55;stroke-width:1}.front{fill:none;stroke:#565d66;"
    "stroke-opacity:.25;stroke-width:9;stroke-linejoin:round}"
    + "".join(f".c{place}{{stroke:{hue};fill:{hue}}}" for place, hue in enumerate(_LIGHT))
    + ".line{fill:none}"
    + "@media(prefers-color-scheme:dark){svg{background:#16181b;color:#e6e6e3}.soft{fill:#a6adb5}.grid{stroke:#2c3136}"
    ".axis,.zero,.front{stroke:#a6adb5}"
    + "".join(f".c{place}{{stroke:{hue};fill:{hue}}}" for place, hue in enumerate(_DARK))
    + ".line{fill:none}}</style>"
)
_SHAPES = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M0 -5.6l5.6 5.6l-5.6 5.6l-5.6 -5.6z",
    "M-4.2 -4.2h8.4v8.4h-8.4z",
    "M0 -5.4l5.4 9.4h-10.8z",
)


def picture(sweep: Sweep, title: str) -> Markup:
    """The whole drawing; a sentence in place of it where no run came to an end."""
    settings = settings_of(sweep)
    if not settings:
        return _svg(title, "No run came to an end.", Markup(""))
    xs = [0.0] + [x for s in settings for run in s.runs for x, _ in _path(run.track, sweep)]
    ys = [sweep.nothing] + [y for s in settings for run in s.runs for _, y in _path(run.track, sweep)]
    xs += [run.kl.estimate or 0.0 for s in settings for run in s.runs]
    ys += [end for s in settings for end in (s.low, s.high, s.gain)]
    # As high as the names need, one below the other.
    height = max(_HEIGHT, _TOP + _BOTTOM + _ROW * (len(settings) - 1))
    frame = _Frame(widened(xs), widened(ys), height)
    parts = [_axes(frame, sweep)]
    edge = frontier(settings, sweep.nothing)
    if len(edge) > 1:
        points = " ".join(f"{frame.x(s.kl)},{frame.y(s.gain)}" for s in edge)
        parts.append(Markup('<polyline class="front" points="{}"/>').format(points))
    names = _apart([frame.y(s.gain) for s in settings], height)
    for place, (setting, y) in enumerate(zip(settings, names, strict=True)):
        parts.append(_drawn(frame, setting, sweep, place, y, " faint" if len(settings) > _FEW else ""))
    told = "; ".join(f"{_written(s.name)}: {number(s.gain)} at a KL of {number(s.kl)}" for s in settings)
    return _svg(title, told + ".", Markup("").join(parts), height)


def _written(name: str) -> str:
    """A name without the control characters that no SVG may hold."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", name)


class _Frame:
    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], height: int) -> None:
        self.x_range, self.y_range, self.height = x_range, y_range, height

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM), 1)


def _path(track: Sequence[tuple[float, float]], sweep: Sweep) -> list[tuple[float, float]]:
    """The audits of a run, in the order of training, from where every run begins."""
    return [(0.0, sweep.nothing), *track] if track else []


def _axes(frame: _Frame, sweep: Sweep) -> Markup:
    right, bottom = _WIDTH - _RIGHT, frame.height - _BOTTOM
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    text = Markup('<text class="soft" text-anchor="{}" x="{}" y="{}">{}</text>')
    rows, columns = ticks(*frame.y_range, about=6), ticks(*frame.x_range, about=7)
    parts = []
    for tick, label in zip(rows, tick_labels(rows), strict=True):
        parts.append(line.format("grid", _LEFT, right, frame.y(tick), frame.y(tick)))
        parts.append(text.format("end", _LEFT - 8, frame.y(tick) + 4, label))
    for tick, label in zip(columns, tick_labels(columns), strict=True):
        parts.append(line.format("axis", frame.x(tick), frame.x(tick), bottom, bottom + 5))
        parts.append(text.format("middle", frame.x(tick), bottom + 20, label))
    parts.append(line.format("axis", _LEFT, right, bottom, bottom))
    parts.append(line.format("zero", _LEFT, right, frame.y(sweep.nothing), frame.y(sweep.nothing)))
    parts.append(
        text.format("middle", (_LEFT + right) / 2, frame.height - 10, "KL to the reference (nats a completion)")
    )
    parts.append(Markup('<text class="ink" x="{}" y="22">{}</text>').format(_LEFT, sweep.measure))
    return Markup("").join(parts)


def _drawn(frame: _Frame, setting: Setting, sweep: Sweep, place: int, label_y: float, faint: str) -> Markup:
    hue, shape = place % _HUES, _SHAPES[place // _HUES % len(_SHAPES)]
    parts = []
    for run in setting.runs:
        path = _path(run.track, sweep)
        if path:
            path = [*path, (run.kl.estimate or 0.0, run.gain.estimate or 0.0)]
            points = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in path)
            parts.append(Markup('<polyline class="line c{}{}" points="{}"/>').format(hue, faint, points))
        elif len(setting.runs) > 1:
            dot = Markup('<circle class="c{}" fill-opacity=".4" stroke="none" cx="{}" cy="{}" r="2.5"/>')
            parts.append(dot.format(hue, frame.x(run.kl.estimate or 0.0), frame.y(run.gain.estimate or 0.0)))
    x, y = frame.x(setting.kl), frame.y(setting.gain)
    bar = Markup('<line class="c{}" x1="{x}" x2="{x}" y1="{}" y2="{}"/>')
    parts.append(bar.format(hue, frame.y(setting.low), frame.y(setting.high), x=x))
    parts.append(Markup('<path class="c{}" transform="translate({} {})" d="{}"/>').format(hue, x, y, shape))
    edge = _WIDTH - _RIGHT + 26
    lead = Markup('<line class="lead c{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    parts.append(lead.format(hue, x + 7, y, edge - 12, label_y))
    parts.append(Markup('<path class="c{}" transform="translate({} {})" d="{}"/>').format(hue, edge, label_y, shape))
    parts.append(
        Markup('<text class="ink" x="{}" y="{}">{}</text>').format(edge + 10, label_y + 4.5, _written(setting.name))
    )
    return Markup("").join(parts)


def _apart(wanted: Sequence[float], height: int) -> list[float]:
    """Heights of names near those wanted, far enough apart to be read, within the drawing."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    found = [0.0] * len(wanted)
    last = float(_TOP - _ROW)
    for place in order:
        last = found[place] = max(wanted[place], last + _ROW)
    least = float(height - _BOTTOM + _ROW)
    for place in reversed(order):
        least = found[place] = min(found[place], least - _ROW)
    return found


def _svg(title: str, told: str, body: Markup, height: int = _HEIGHT) -> Markup:
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" role="img" aria-labelledby="t d"><title id="t">{t}</title>'
        '<desc id="d">{d}</desc>{s}{b}</svg>'
    ).format(w=_WIDTH, h=height, t=title, d=told, s=Markup(_STYLE), b=body)
