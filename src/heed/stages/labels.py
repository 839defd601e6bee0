"""What labels have taught so far: the learning curve of a quick reward, linear in what a frozen model makes of the texts.

Training the reward model itself at every size would cost more than it tells; a linear reward trains in milliseconds, and the
shape of its curve is what the question is about. Held-out comparisons are weighted by how they were chosen, so that the curve
is one of all pairs and not of those that a selector liked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heed.config import RewardSettings
from heed.errors import DataError
from heed.evaluate.learning import LearningCurve, learning_curve
from heed.feedback.kinds import prompt_id
from heed.stages.data import FIRST, TIE, ComparisonRow
from heed.stages.results import prepare_machine
from heed.statistics import Undefined
from heed.train.optimise import memory_errors
from heed.train.progress import Stopped, Watcher, stop_on_interrupt

if TYPE_CHECKING:
    from heed.models.reward import Encoded
    from heed.statistics import Array

REPETITIONS, FOLDS = 4, 5
_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_FEWEST_LEARNED, _FEWEST_LABELS = 16, 40
_PENALTIES = np.geomspace(1e-3, 10.0, 5)
"""Inverse strengths of the ridge penalty that are tried."""


@memory_errors()
def label_curve(
    backbone: str | Path,
    comparisons: Sequence[ComparisonRow],
    weights: Array,
    settings: RewardSettings,
    further: int = 100,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
    name: str = "",
) -> LearningCurve | Undefined:
    """The learning curve of comparisons, on the frozen features of ``backbone``.

    Args:
        backbone: a model folder or hub id that has learned from none of the comparisons.
        comparisons: N, ties among them, which are labels as well though nothing is learned from them here.
        weights: [N], how many of a uniform draw each stands for.
        settings: how features are pooled.
        further: how many further labels are asked about (count).
        seed: of the splits and orders.
        name: of the backbone, for people; empty takes that of its folder.

    Raises:
        ModelError: the backbone cannot be loaded. Stopped: on Ctrl-C.
    """
    decided = [place for place, row in enumerate(comparisons) if row.outcome != TIE]
    if len(decided) < _FEWEST_LABELS:
        return Undefined(reason=f"A curve takes {_FEWEST_LABELS} comparisons with a winner; there are {len(decided)}.")
    rows = [comparisons[place] for place in decided]
    differences, fits = _differences(backbone, rows, settings, device, watcher or Watcher())
    kept = [row for row, fit in zip(rows, fits, strict=True) if fit]
    first = np.array([row.outcome == FIRST for row in kept])
    prompts = np.unique([prompt_id(row.prompt) for row in kept], return_inverse=True)[1]
    if len(np.unique(prompts)) < FOLDS or first.all() or not first.any():
        return Undefined(reason=f"A curve takes {FOLDS} prompts and winners on both sides.")
    sizes, right, counted = probe(differences, first, prompts, weights[decided][fits], seed)
    per_label = len(comparisons) / len(decided)
    learner = f"a linear reward on the frozen features of {name or Path(backbone).name}"
    return learning_curve(
        [size * per_label for size in sizes], right, counted, len(comparisons), further, learner, seed=seed
    )


def _differences(
    backbone: str | Path, rows: Sequence[ComparisonRow], settings: RewardSettings, device: str, watcher: Watcher
) -> tuple[Array, NDArray[np.bool_]]:
    """Features of the first minus those of the second completion [K, D], in deviations of each, and which rows fit [N]."""
    from heed.models.head_features import features_and_scores
    from heed.models.reward import RewardModel

    network = RewardModel.new(backbone, settings.pooling, 1, 0, prepare_machine(device))
    fits = np.ones(len(rows), bool)
    encoded: list[Encoded] = []
    for place, row in enumerate(rows):
        try:
            encoded += [network.reader.encode(row.prompt, text) for text in (row.a, row.b)]
        except DataError:  # longer than the context
            fits[place] = False
            encoded = encoded[: 2 * int(fits[:place].sum())]
    with stop_on_interrupt() as flag:

        def progress(done: int) -> None:
            if flag.asked:
                raise Stopped
            watcher.advance(done, len(encoded), "texts looked at")

        found, _ = features_and_scores(network, encoded, settings.tokens_per_microbatch, progress)
    pairs = found.double().numpy().reshape(-1, 2, found.shape[1])
    differences = pairs[:, 0] - pairs[:, 1]
    return differences / np.maximum(differences.std(axis=0), 1e-9), fits


def probe(
    differences: Array, first: NDArray[np.bool_], prompts: NDArray[np.intp], weights: Array, seed: int
) -> tuple[list[int], Array, Array]:
    """Train at every size and test on held-out prompts: sizes [S], and what :func:`learning_curve` takes.

    In each repetition the prompts are dealt into folds anew; each fold is tested by what was trained on the others', on the
    first so many of their comparisons in an order of prompts.

    Args:
        differences: [N, D], features of the first minus the second completion.
        first: [N], whether the first was preferred.
        prompts: [N], codes from 0.
        weights: [N], of the comparisons in the test.
        seed: of the folds and orders.
    """
    rng, groups = np.random.default_rng(seed), int(prompts.max()) + 1
    penalty = _penalty(differences, first, prompts % FOLDS)
    folds = [rng.permutation(groups) for _ in range(REPETITIONS)]
    least = min(int((order % FOLDS != fold)[prompts].sum()) for order in folds for fold in range(FOLDS))
    sizes = [size for size in (round(least * share) for share in _SHARES) if size >= _FEWEST_LEARNED]
    right, counted = np.zeros((REPETITIONS, groups, len(sizes))), np.zeros((REPETITIONS, groups))
    for repetition, order in enumerate(folds):
        turn = rng.permutation(groups)[prompts]
        for fold in range(FOLDS):
            held = (order % FOLDS == fold)[prompts]
            learned = np.flatnonzero(~held)
            learned = learned[np.argsort(turn[learned], kind="stable")]
            np.add.at(counted[repetition], prompts[held], weights[held])
            for place, size in enumerate(sizes):
                head = fit_head(differences[learned[:size]], first[learned[:size]], penalty)
                lead = differences[held] @ head
                hit = np.where(lead == 0, 0.5, (lead > 0) == first[held])
                np.add.at(right[repetition, :, place], prompts[held], weights[held] * hit)
    return sizes, right, counted


def fit_head(differences: Array, first: NDArray[np.bool_], penalty: float) -> Array:
    """Weights [D] of a linear reward by Bradley-Terry with a ridge penalty; ``penalty`` is the inverse of its strength."""
    from sklearn.linear_model import LogisticRegression

    if first.all() or not first.any():
        # Sides are arbitrary: turned around, every second comparison has the other winner.
        turned = np.where(np.arange(len(first)) % 2 == 0, 1.0, -1.0)
        differences, first = differences * turned[:, None], first ^ (turned < 0)
    if len(first) < 2:
        return np.asarray(differences[0] * (1.0 if first[0] else -1.0))
    model: Any = LogisticRegression(C=penalty, fit_intercept=False, solver="newton-cholesky", tol=1e-6)
    return np.asarray(model.fit(differences, first).coef_[0])


def _penalty(differences: Array, first: NDArray[np.bool_], folds: NDArray[np.intp]) -> float:
    """The penalty whose predictions of held-out folds are the likeliest; one for all sizes, as a prior would be."""
    losses = []
    for penalty in _PENALTIES:
        total = 0.0
        for fold in np.unique(folds):
            learned, held = folds != fold, folds == fold
            if not learned.any():
                continue
            lead = differences[held] @ fit_head(differences[learned], first[learned], float(penalty))
            total += float(np.logaddexp(0, np.where(first[held], -lead, lead)).sum())
        losses.append(total)
    return float(_PENALTIES[int(np.argmin(losses))])
