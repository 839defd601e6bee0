"""heed: the whole human-feedback loop in one install.

Names are imported when they are first used, so that ``import heed`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heed.errors import HeedError
    from heed.loop import run_loop
    from heed.project import Project
    from heed.rounds import Rounds
    from heed.stages.data import ComparisonRow
    from heed.stages.evaluation import Evaluation, evaluate_policy
    from heed.stages.ilql import train_ilql
    from heed.stages.policy import train_policy
    from heed.stages.preference import train_preferences
    from heed.stages.results import StageResult
    from heed.stages.reward import score, train_reward
    from heed.stages.sampling import Completion, sample
    from heed.stages.supervised import train_sft

_HOMES = {
    "ComparisonRow": "heed.stages.data",
    "Completion": "heed.stages.sampling",
    "Evaluation": "heed.stages.evaluation",
    "HeedError": "heed.errors",
    "Project": "heed.project",
    "Rounds": "heed.rounds",
    "StageResult": "heed.stages.results",
    "evaluate_policy": "heed.stages.evaluation",
    "run_loop": "heed.loop",
    "sample": "heed.stages.sampling",
    "score": "heed.stages.reward",
    "train_ilql": "heed.stages.ilql",
    "train_policy": "heed.stages.policy",
    "train_preferences": "heed.stages.preference",
    "train_reward": "heed.stages.reward",
    "train_sft": "heed.stages.supervised",
}

__all__ = [
    "ComparisonRow",
    "Completion",
    "Evaluation",
    "HeedError",
    "Project",
    "Rounds",
    "StageResult",
    "evaluate_policy",
    "run_loop",
    "sample",
    "score",
    "train_ilql",
    "train_policy",
    "train_preferences",
    "train_reward",
    "train_sft",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heed' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
