"""``heed select`` and ``heed labels``: what is asked next, and whether asking goes on being worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.terminal.console import console, note
from heed.terminal.options import Choices, Config, Device, Fresh, Quiet, Seed, Set, rounds
from heed.terminal.show import interval, print_json, print_run, run_values
from heed.terminal.text import safe

if TYPE_CHECKING:
    from heed.evaluate.learning import LearningCurve

_WIDTH, _HEIGHT = 56, 11


def select(
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Let the newest reward model say what is asked next, in the studio and by heed ask.

    The studio's questions whose selector goes by a reward model get new scores of their open items, which also happens
    after each heed train reward. Where asking.selector is not random, pairs of the newest samples are chosen for heed ask.
    """
    with rounds(Choices("asking", config, sets or (), seed, device), quiet, fresh) as (stages, _):
        weighed = stages.weigh()
        by_chance = stages.settings.asking.selector == "random"
        chosen = None if by_chance or stages.project.latest("sample") is None else stages.choose()
    for run in (weighed, chosen):
        if run is not None:
            print_run(run)
    if weighed is None:
        note("no question of the studio goes by a reward model: set its selector on the board")
    if by_chance:
        note("asking.selector in heed.yaml is random: heed ask takes the pairs as they come")


def labels(
    further: Annotated[
        int, typer.Option("--next", min=1, max=10**6, help="Further labels to ask about (count).")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    sets: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """What the labels have taught, and what the next ones would bring: the learning curve, in a sentence and a picture.

    With asking.label_cost and asking.accuracy_value in heed.yaml it also says whether they are worth their cost.
    """
    with rounds(Choices("asking", config, sets or (), seed, device), quiet, fresh) as (stages, _):
        run = stages.labels(further)
    if as_json:
        print_json(run_values(run))
        return
    screen, metrics = console(), run.metrics
    screen.print(safe(metrics["verdict"]), style="bold")
    if "points" in metrics["curve"]:
        for line in _lines(metrics["curve"], metrics["earlier"]):
            screen.print(safe(line), soft_wrap=True, highlight=False)
    if metrics["overall"].get("estimate") is not None:
        screen.print(
            safe(f"the newest reward model is right on {interval(metrics['asked'])} of the held-out pairs asked")
        )
        screen.print(safe(f"  and, corrected for how they were chosen, on {interval(metrics['overall'])} of all pairs"))


def _lines(values: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> list[str]:
    """The picture of a curve, line by line, with its legend."""
    from heed.evaluate.learning import LearningCurve

    curve = LearningCurve.model_validate(values)
    known = [(run["labels"], run["accuracy"]["estimate"]) for run in earlier if run["accuracy"]["estimate"] is not None]
    lines = picture(curve, known)
    legend = f"{' ' * 8}o {curve.learner}, held out; . the law through it; + with {curve.further:,} labels more"
    return [*lines, legend + ("; x the project's reward models" if known else "")]


def picture(curve: LearningCurve, known: Sequence[tuple[float, float]] = (), width: int = _WIDTH) -> list[str]:
    """A curve in signs that every terminal has: accuracy upwards, labels to the right in steps of equal ratio.

    Args:
        curve: what was measured.
        known: (labels, accuracy) that others reached.
        width: of the picture (characters).
    """
    last = float(curve.labels + curve.further)
    spots = [(point.labels, point.accuracy.estimate or 0.0, "o") for point in curve.points]
    spots += [(float(labels), accuracy, "x") for labels, accuracy in known if labels > 0]
    spots.append((last, curve.law.accuracy(last), "+"))
    begin, end = math.log(min(spot[0] for spot in spots)), math.log(max(spot[0] for spot in spots))
    places = [math.exp(begin + (end - begin) * column / (width - 1)) for column in range(width)]
    spots = [(labels, curve.law.accuracy(labels), ".") for labels in places] + spots
    low, high = math.floor(100 * min(spot[1] for spot in spots)), math.ceil(100 * max(spot[1] for spot in spots))
    low, high = max(low - 1, 0), min(max(high, low + 2), 100)
    grid = [[" "] * width for _ in range(_HEIGHT)]
    for labels, accuracy, sign in spots:
        column = round((width - 1) * (math.log(labels) - begin) / max(end - begin, 1e-9))
        row = round((_HEIGHT - 1) * (high - 100 * accuracy) / (high - low))
        grid[min(max(row, 0), _HEIGHT - 1)][min(max(column, 0), width - 1)] = sign
    lines = []
    for number, signs in enumerate(grid):
        value = high - (high - low) * number / (_HEIGHT - 1)
        lines.append(f"{value:5.1f} % |{''.join(signs)}")
    first, final = f"{places[0]:,.0f}", f"{places[-1]:,.0f} labels"
    lines.append(f"{' ' * 8}+{'-' * width}")
    return [*lines, f"{' ' * 9}{first}{final.rjust(width - len(first))}"]
