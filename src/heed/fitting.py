"""Settings that were chosen for one algorithm, taken over to another."""

from __future__ import annotations

from typing import Any

from heed.algorithms import ALGORITHMS
from heed.config import GROUPED, ONE_UPDATE, OWN_SAMPLES, PolicySettings, parse_settings


def fitted(settings: PolicySettings, algorithm: str) -> tuple[PolicySettings, dict[str, str]]:
    """The settings with another algorithm; those that it cannot have are as it has them, and told.

    Returns:
        The settings, and by the name of each that differs the name with both values, in words.

    Raises:
        ConfigError: there is no such algorithm.
    """
    if algorithm == settings.algorithm:
        return settings, {}
    values = settings.model_dump()
    changes = {key: value for key, value in _needed(values, algorithm).items() if values[key] != value}
    told = {key: f"{key} {_written(value)} (not {_written(values[key])})" for key, value in changes.items()}
    return parse_settings(PolicySettings, values | changes | {"algorithm": algorithm}, f"algorithm {algorithm}"), told


# What the KL penalty is multiplied by where rewards are counted in the spread of their group: that spread is some third of a unit
# where the groups' prompts tell more apart than their texts do, and a penalty in units of the reward would be a third of itself.
_IN_SPREADS, _SPREADS_IN_A_UNIT = ("grpo", "dapo", "gspo"), 3.0


def _needed(values: dict[str, Any], algorithm: str) -> dict[str, Any]:
    """What the algorithm has otherwise than the one that the settings were chosen for."""
    needed: dict[str, Any] = {}
    spreads = (algorithm in _IN_SPREADS) - (values["algorithm"] in _IN_SPREADS)
    if spreads and _has_penalty(algorithm) and _has_penalty(values["algorithm"]):
        needed["kl_coefficient"] = float(f"{values['kl_coefficient'] * _SPREADS_IN_A_UNIT**spreads:.6g}")
    if algorithm in GROUPED:
        needed["samples_per_prompt"] = max(2, values["samples_per_prompt"])
    if algorithm in ONE_UPDATE:
        needed |= {"epochs": None, "minibatches": 1}
    if algorithm in OWN_SAMPLES and values["staleness"]:
        needed["staleness"] = None
    if algorithm in ("trpo", "online_dpo"):
        needed["entropy_coefficient"] = 0.0
    if algorithm == "trpo":
        needed["value_model"] = "separate"
    if algorithm in ("trpo", "dqn"):
        needed |= {"dtype": "float32", "pretraining_coefficient": 0.0}
    if algorithm == "dqn":
        needed |= {"temperature": 1.0, "staleness": None}
    return needed


def _has_penalty(algorithm: str) -> bool:
    """Whether ``kl_coefficient`` weighs a KL penalty: online DPO's is its beta, and algorithms on judgments and by values have none."""
    return ALGORITHMS[algorithm].family == "online" and algorithm != "online_dpo"


def _written(value: Any) -> str:
    return "its own" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
