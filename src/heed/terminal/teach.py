"""``heed teach``: reinforcement learning on a world small enough to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from heed.errors import ConfigError
from heed.terminal.console import console

if TYPE_CHECKING:
    from heed.teaching.tables import Learned, Table, World

_METHODS = {"q": "Q-learning", "reinforce": "REINFORCE"}
_WHAT = {
    "chain": "Five states in a row. Leaving on the left is worth 0.2, on the right 1, and each move makes what follows worth a tenth "
    "less. It begins in the middle.",
    "bandit": "Four arms, worth 0.1, 0.5, 0.9 and 0.4 on average, each time a little more or less.",
}
_SIGNS = {"left": "←", "right": "→"}
_BARS = "▁▂▃▄▅▆▇█"
_BLOCKS = 40
"""Bars of the picture of the returns, each the mean of so many episodes as make that number of them."""


def teach(
    world: Annotated[str, typer.Argument(metavar="WORLD", help="chain or bandit.")] = "chain",
    by: Annotated[str, typer.Option(metavar="METHOD", help="q or reinforce.")] = "q",
    episodes: Annotated[int, typer.Option(min=1, max=100_000, help="How many to learn from.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
) -> None:
    """Watch Q-learning or REINFORCE find its way in a world of a few states.

    The table shows, after more and more episodes, the best action of each state and what it is worth (q) or how likely it is
    (reinforce); the last row is what is to be found.
    """
    from heed.teaching.tables import METHODS, WORLDS

    for name, given, known in (("WORLD", world, list(WORLDS)), ("--by", by, list(METHODS))):
        if given not in known:
            raise ConfigError(
                f"heed teach: {name} {given}", "there is none of this name.", f"Take {' or '.join(known)}."
            )
    made = WORLDS[world]()
    looks = [count for power in range(6) for count in (10**power, 3 * 10**power) if count < episodes]
    learned = METHODS[by](made, episodes, seed, looks=looks)
    console().print(_WHAT[world])
    console().print(f"{_METHODS[by]}, after so many episodes:")
    console().print(_table(made, learned, values=by == "q"))
    console().print(f"rewards  {_bars(learned.returns)}  {_mean(learned.returns[-episodes // 4 :]):.2f} at last")


def _table(world: World, learned: Learned, values: bool) -> object:
    from rich.table import Table as Grid

    single = len(world.states) == 1
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("", justify="right")
    for name in world.actions if single else world.states:
        grid.add_column(name, justify="right")
    optimum = world.optimum()
    rows = [(f"{count:,}", table) for count, table in zip(learned.episodes, learned.tables, strict=True)]
    best = optimum if values else (optimum == optimum.max(1, keepdims=True)).astype(float)
    for label, table in [*rows, ("optimum", best)]:
        grid.add_row(label, *(_cells_of_arms(table) if single else _cells_of_states(world, table)))
    return grid


def _cells_of_arms(table: Table) -> list[str]:
    return [f"{value:.2f}" for value in table[0]]


def _cells_of_states(world: World, table: Table) -> list[str]:
    """The best action of each state, none where all are alike, and its number."""
    cells = []
    for row in table:
        action = world.actions[int(row.argmax())]
        sign = " " if row.max() == row.min() else _SIGNS.get(action, action)
        cells.append(f"{sign} {row.max():.2f}")
    return cells


def _bars(returns: list[float]) -> str:
    """The mean returns of blocks of episodes as bars, the lowest to the highest."""
    size = max(1, len(returns) // _BLOCKS)
    means = [_mean(returns[start : start + size]) for start in range(0, len(returns) - size + 1, size)]
    low, spread = min(means), max(means) - min(means) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((mean - low) / spread * len(_BARS)))] for mean in means)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
