"""Scores of things from very many comparisons: time, memory and agreement with the truth, beside crowd-kit on the same data.

Each figure is taken in a process of its own, so that the memory is its own; data are drawn before the clock starts.

    python benchmarks/trust_comparisons.py TASK SEED     one figure, as JSON
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import Report, Row

_SEEDS = (0, 1, 2)
_ITEMS, _COMPARISONS, _RATERS, _NOISY = 10_000, 1_000_000, 500, 50_000


def rows(report: Report) -> None:
    """The rows of this part."""
    plain = [_measured("bradley-terry", seed) for seed in _SEEDS]
    peer = _measured("crowd-kit-bt", 0)
    _add(report, "Bradley-Terry on 1,000,000 comparisons of 10,000 items", plain, 2.0, peer, "crowd-kit")
    crowd = [_measured("crowd-bt", seed) for seed in _SEEDS]
    noisy = _measured("crowd-kit-noisy", 0)
    _add(report, "Crowd-BT on 1,000,000 comparisons by 500 raters", crowd, 10.0, noisy, "crowd-kit noisy, 50,000")


def _add(
    report: Report, what: str, found: list[dict[str, Any]], target: float, peer: dict[str, Any], peer_name: str
) -> None:
    seconds = [one["seconds"] for one in found]
    details = {
        "correlation": min(one["correlation"] for one in found),
        "peak_mb": max(one["peak_mb"] for one in found),
        **{f"{peer_name} {key}": value for key, value in peer.items()},
    }
    report.add(
        Row(
            what,
            float(np.median(seconds)),
            "s",
            min(seconds),
            max(seconds),
            target,
            "most",
            _SEEDS,
            sum(seconds),
            details,
        )
    )


def _measured(task: str, seed: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(Path(__file__)), task, str(seed)], capture_output=True, text=True)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["it failed"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _data(seed: int, n: int, items: int) -> tuple[np.ndarray, ...]:
    """Comparisons by raters of whom most heed, some guess, some say left and some invert."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=items)
    left = rng.integers(items, size=n)
    right = (left + rng.integers(1, items, size=n)) % items
    rater = rng.integers(_RATERS, size=n)
    ways = np.array([(0.9, 0.03, 0.04, 0.03), (0.4, 0.2, 0.2, 0.2), (0.25, 0.03, 0.7, 0.02), (0.04, 0.9, 0.03, 0.03)])
    mine = ways[rng.choice(4, size=_RATERS, p=[0.5, 0.2, 0.2, 0.1])]
    heeded = rng.random(n) < 1 / (1 + np.exp(truth[right] - truth[left]))
    way = (rng.random(n)[:, None] > np.cumsum(mine, axis=1)[rater, :3]).sum(axis=1)
    return truth, left, right, rater, np.select([way == 0, way == 1, way == 2], [heeded, ~heeded, True], False) * 1.0


def _run(task: str, seed: int) -> dict[str, Any]:
    n = _NOISY if task == "crowd-kit-noisy" else _COMPARISONS
    truth, left, right, rater, outcome = _data(seed, n, _ITEMS)
    if task.startswith("bradley") or task == "crowd-kit-bt":
        rng = np.random.default_rng(seed + 1)
        outcome = (rng.random(n) < 1 / (1 + np.exp(truth[right] - truth[left]))) * 1.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scores, seconds = _fitted(task, left, right, rater, outcome)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "correlation": float(np.corrcoef(scores, truth)[0, 1]),
        "peak_mb": peak / 1024,
        "data_mb": before / 1024,
    }


def _fitted(task: str, left: Any, right: Any, rater: Any, outcome: Any) -> tuple[np.ndarray, float]:
    from heed.raters.bradley_terry import Duels, bradley_terry
    from heed.raters.crowd_bt import crowd_bradley_terry

    if task == "bradley-terry":
        start = time.perf_counter()
        return bradley_terry(Duels(left, right, outcome, _ITEMS)).scores, time.perf_counter() - start
    if task == "crowd-bt":
        start = time.perf_counter()
        return crowd_bradley_terry(left, right, outcome, rater).scores, time.perf_counter() - start
    return _peer(task, left, right, rater, outcome)


def _peer(task: str, left: Any, right: Any, rater: Any, outcome: Any) -> tuple[np.ndarray, float]:
    import pandas as pd
    from crowdkit.aggregation import BradleyTerry, NoisyBradleyTerry

    table = pd.DataFrame({"worker": rater, "left": left, "right": right, "label": np.where(outcome == 1, left, right)})
    model = BradleyTerry(n_iter=100, tol=1e-5) if task == "crowd-kit-bt" else NoisyBradleyTerry(n_iter=100)
    start = time.perf_counter()
    scores = model.fit_predict(table)
    seconds = time.perf_counter() - start
    found = np.asarray(scores.reindex(range(_ITEMS)).fillna(scores.min()), dtype=float)
    return np.log(np.maximum(found, 1e-12)) if task == "crowd-kit-bt" else found, seconds


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]))))
