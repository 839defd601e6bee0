"""``reward.json``: the card that every kind of reward has in its folder, and what is said where it cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from heed.errors import ModelError
from heed.texts import cut, shown

CARD = "reward.json"
NETWORK = "network"
"""The kind of a card that names none."""

_REASON_SHOWN = 300


def read_card(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The card in ``folder``.

    Args:
        kind: what the reward must be; None takes every kind.

    Raises:
        ModelError: there is none that can be read, or it is of another kind.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is no reward model",
            f"{CARD} cannot be read ({error}).",
            "Make one with 'heed train reward'.",
        ) from None
    if not isinstance(card, dict):
        raise damaged(folder, TypeError(f"{CARD} holds {type(card).__name__}, not an object"))
    found = card.get("kind", NETWORK)
    if kind is not None and found != kind:
        raise ModelError(
            f"{folder} holds another kind of reward",
            f"its kind is {shown(str(found))}, and {kind} is needed.",
            f"Name one of that kind (see 'heed runs'), or make one: heed train reward --backbone {kind}.",
        )
    return card


def damaged(folder: Path, error: Exception) -> ModelError:
    """The error about a reward whose files do not hold what its card announces."""
    return ModelError(
        f"the reward model {folder} is damaged",
        f"{type(error).__name__}: {cut(' '.join(str(error).split()), _REASON_SHOWN)}.",
        "Put it back from a copy, or make it again with 'heed train reward'.",
    )
