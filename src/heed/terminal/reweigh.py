"""``heed reweigh``: a reward model with other weights of what it knows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from heed.errors import ConfigError
from heed.terminal.stages import print_result


def reweigh(
    weight: Annotated[
        list[str],
        typer.Option(metavar="NAME=NUMBER", help="What it knows, and what the whole of it is worth; repeatable."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    reward: Annotated[
        str | None, typer.Option(metavar="RUN|PATH", help="A reward model; the project's newest one.")
    ] = None,
) -> None:
    """Make the reward the sum of other attributes and defects, without training again.

    Names are those of the ratings' attributes, of the critiques' defects, and 'reward' for what all kinds say together.
    """
    from heed.stages.reweighing import reweigh_reward
    from heed.terminal.models import reward_folder

    print_result(reweigh_reward(reward_folder(reward), _weights(weight), out))


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, value in map(_weight, texts):
        if name in weights:
            raise ConfigError(
                f"--weight {name}={value:g}",
                f"{name} has the weight {weights[name]:g} already.",
                "Give each name once.",
            )
        weights[name] = value
    return weights


def _weight(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (equals and name.strip() and math.isfinite(number)):
        raise ConfigError(
            f"--weight {text}", "it is not of the form NAME=NUMBER.", "Write for example --weight helpful=2."
        )
    return name.strip(), number
