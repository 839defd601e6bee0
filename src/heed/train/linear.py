"""Fitting a reward that is linear in features, to comparisons and to judgments of single texts.

Each block of features (words, characters, length, style, frozen) gets weights and a penalty of its own, chosen by the loss
on prompts that were left out; what the blocks then say of texts they were not fitted to decides how much each counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heed.errors import DataError

Learner = Literal["logistic", "ridge", "svm"]
Array: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.intp]

# Penalties a row, from one that leaves little of the weights to one that leaves nearly all.
_PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Where there is nothing to measure on.
_UNTRIED = 1e-2
# Then those beside the best of them are tried.
_BETWEEN = 10**0.5
_FOLDS = 5
# Rows that penalties and shares are chosen on (count), of whole groups: more say the same.
_ENOUGH = 10_000
# The column of ones for single texts: so large that the penalty on its weight is next to nothing.
_UNPENALISED = 30.0
_STEPS = 50
_FEW_COLUMNS = 64


@dataclass(frozen=True)
class Judged:
    """What a linear reward is fitted to. A row is a comparison of two texts, or a judgment of one.

    Attributes:
        first, second: [N] row numbers of texts in the blocks; ``second`` is -1 where the judgment is of one text.
        better: [N], 0 to 1: the share that preferred the first (0.5: a tie), or how good the one text is said to be.
        weight: [N], how much each row counts, at least 0.
        lead: [N], how far the preferred one led, 1 where nothing is known; only least squares reads it.
        group: [N], of the same name where rows belong together (a prompt): never on both sides of a split.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    better: Array
    weight: Array
    lead: Array
    group: NDArray[Any]

    @classmethod
    def of(
        cls,
        first: Sequence[int],
        second: Sequence[int],
        better: Sequence[float],
        group: Sequence[str],
        weight: Sequence[float] | None = None,
        lead: Sequence[float] | None = None,
    ) -> Judged:
        """From plain lists; see the attributes."""
        ones = np.ones(len(first))
        return cls(
            np.asarray(first, dtype=np.intp),
            np.asarray(second, dtype=np.intp),
            np.asarray(better, dtype=np.float64),
            ones if weight is None else np.asarray(weight, dtype=np.float64),
            ones if lead is None else np.asarray(lead, dtype=np.float64),
            np.asarray(group, dtype=object).astype(str),
        )

    def take(self, rows: NDArray[Any]) -> Judged:
        """Some of the rows, by number or by mask."""
        return Judged(*(getattr(self, f.name)[rows] for f in fields(self)))

    def joined(self, other: Judged) -> Judged:
        """These rows and then those of ``other``, about the same texts."""
        return Judged(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def weighed(self, factor: Array) -> Judged:
        """The same with the weights multiplied."""
        return replace(self, weight=self.weight * factor)


class Fitted(NamedTuple):
    """Weights by block [F], the penalty chosen for each, how much each counts (inside the weights already), and the leads
    [N] that weights fitted without a row's prompt give it: NaN where no weights were fitted without it."""

    weights: dict[str, Array]
    penalties: dict[str, float]
    shares: dict[str, float]
    left_out_leads: Array


class Block(NamedTuple):
    """Weights [F] of one block, its penalty, and its leads [N] of rows left out: 0 where none were."""

    weights: Array
    penalty: float
    leads: Array


class BlockFits(NamedTuple):
    """Blocks fitted each by itself, and the rows that each was measured on when left out."""

    each: dict[str, Block]
    told: Rows


def check_judged(judged: Judged) -> None:
    """Refuse what no reward can be learned from.

    Raises:
        DataError: there is no row with weight, or only ties.
    """
    told = judged.weight > 0
    if not told.any():
        raise DataError(
            "no judgment to learn from", "the list is empty.", "Collect some with 'heed ask' or import them."
        )
    if (judged.better[told] == 0.5).all() and (judged.second[told] >= 0).all():
        raise DataError(
            f"all {int(told.sum())} comparisons are ties",
            "ties alone do not say which completion is better.",
            "Collect comparisons of completions that differ more (raise the sampling temperature).",
        )


def fit_linear(blocks: Mapping[str, Any], judged: Judged, learner: Learner = "logistic", parts: int = _FOLDS) -> Fitted:
    """Fit weights of every block.

    The sum over blocks is a stack of linear models (Breiman 1996, "Stacked Regressions", section 2): the blocks' leads on
    rows left out are combined by a logistic regression with weights of at least 0, so that leads come out as log-odds.

    Args:
        blocks: features [T, F] of all texts, by block; dense or sparse.
        judged: N rows about these texts.
        learner: logistic regression, where a share between 0 and 1 counts to either side (Papke and Wooldridge 1996); ridge
            regression of the leads; or a linear support vector machine with squared hinge loss.
        parts: into how many the groups are dealt to choose on those left out (count).

    Raises:
        DataError: see ``check_judged``.
    """
    return combined(fit_blocks(blocks, judged, learner, parts), judged)


def fit_blocks(
    blocks: Mapping[str, Any], judged: Judged, learner: Learner = "logistic", parts: int = _FOLDS
) -> BlockFits:
    """Fit weights of every block by itself. Arguments and errors: see ``fit_linear``."""
    check_judged(judged)
    chosen = _some(judged)
    splits = [(chosen[to_fit], chosen[to_measure]) for to_fit, to_measure in folds(judged.take(chosen), parts)]
    told = np.unique(np.concatenate([np.zeros(0, np.intp), *(to_measure for _, to_measure in splits)]))
    return BlockFits({name: _fit_block(features, judged, learner, splits) for name, features in blocks.items()}, told)


def combined(fits: BlockFits, judged: Judged, names: Sequence[str] | None = None) -> Fitted:
    """The stack of the blocks of these names, or of all."""
    each = {name: fits.each[name] for name in (fits.each if names is None else names)}
    told = fits.told
    leads = np.stack([found.leads for found in each.values()], axis=1)
    if len(told):
        shares = stack(leads[told], judged.better[told], judged.weight[told])
    else:
        shares = np.full(len(each), 1 / len(each))
    weights = {name: share * found.weights for (name, found), share in zip(each.items(), shares, strict=True)}
    penalties = {name: found.penalty for name, found in each.items()}
    left_out = np.full(len(leads), np.nan)
    left_out[told] = leads[told] @ shares
    return Fitted(weights, penalties, dict(zip(each, map(float, shares), strict=True)), left_out)


def refit(blocks: Mapping[str, Any], judged: Judged, fitted: Fitted, learner: Learner, seed: int) -> dict[str, Array]:
    """Weights fitted anew to a resampling of the groups, with the penalties and shares of ``fitted``.

    The bootstrap of Efron 1979, of whole groups as in Field and Welsh 2007, "Bootstrapping clustered data", section 3.
    """
    names, codes = np.unique(judged.group, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = judged
    for _ in range(_STEPS):  # of few groups a draw may leave out all that is decided
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        drawn = judged.weighed(times[codes].astype(np.float64))
        told = drawn.weight > 0
        if ((drawn.better[told] != 0.5) | (drawn.second[told] < 0)).any():
            break
    kept = drawn.take(drawn.weight > 0)
    made = {}
    for name, features in blocks.items():
        scaled, scale = _scaled(features)
        weights = _solve(_rows(scaled, kept), kept, learner, fitted.penalties[name])
        made[name] = fitted.shares[name] * weights / scale
    return made


def _some(judged: Judged) -> Rows:
    """Rows of some whole groups, about ``_ENOUGH`` of them; of one group, those about some of its texts."""
    count = len(judged.better)
    if count <= _ENOUGH:
        return np.arange(count)
    rng = np.random.default_rng(0)
    names, codes = np.unique(judged.group, return_inverse=True)
    if len(names) > 1:
        order = rng.permutation(len(names))
        rank = np.empty(len(names), np.intp)
        rank[order] = np.arange(len(names))
        sizes = np.bincount(codes)[order].cumsum()
        kept = max(2, int(np.searchsorted(sizes, _ENOUGH, side="right")))
        return np.flatnonzero(rank[codes] < kept)
    second = np.where(judged.second < 0, judged.first, judged.second)
    # A row stays where both its texts do, so of the texts the root of the share.
    stays = rng.random(int(max(judged.first.max(), second.max())) + 1) < (_ENOUGH / count) ** 0.5
    return np.flatnonzero(stays[judged.first] & stays[second])


def folds(judged: Judged, parts: int = _FOLDS) -> list[tuple[Rows, Rows]]:
    """Splits into (rows to fit, rows to measure on) that know nothing of each other.

    Groups are kept whole. Where all rows are of one group, texts are dealt out instead: measured on are rows all of whose
    texts were left out, fitted to are rows none of whose texts were, and the rows between the two are neither.
    """
    from sklearn.model_selection import GroupKFold

    count = min(parts, len(np.unique(judged.group)))
    if count > 1:
        return list(GroupKFold(count).split(judged.group, groups=judged.group))
    second = np.where(judged.second < 0, judged.first, judged.second)
    texts, codes = np.unique(np.concatenate([judged.first, second]), return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(texts))[codes].reshape(2, -1) % parts
    splits = [(np.flatnonzero((fold != f).all(0)), np.flatnonzero((fold == f).all(0))) for f in range(parts)]
    return [(to_fit, to_measure) for to_fit, to_measure in splits if len(to_fit) and len(to_measure)]


def _fit_block(features: Any, judged: Judged, learner: Learner, splits: Sequence[tuple[Rows, Rows]]) -> Block:
    """Weights of one block, with the penalty of the smallest loss on what was left out; its leads there."""
    scaled, scale = _scaled(features)
    rows = _rows(scaled, judged)
    told = np.concatenate([np.zeros(0, np.intp), *(to_measure for _, to_measure in splits)])
    # Penalties are those of a prior, the same for however many rows: those for the rows told stand for all.
    unit = float(judged.weight[told].sum()) if len(told) else float(judged.weight.sum())
    tried: dict[float, tuple[float, Array]] = {}
    # Each search begins where that of the penalty before ended, which is close by.
    found: list[Array | None] = [None] * len(splits)

    def loss(penalty: float) -> float:
        leads = np.zeros(len(judged.better))
        for number, (to_fit, to_measure) in enumerate(splits):
            part = judged.take(to_fit)
            if _decided(part):
                weights = _solve(rows[to_fit], part, learner, penalty * unit, True, found[number])
                leads[to_measure] = rows[to_measure] @ weights
                found[number] = weights
        tried[penalty] = log_loss(leads[told], judged.better[told], judged.weight[told]), leads
        return tried[penalty][0]

    best, least = _UNTRIED, np.inf
    for penalty in _PENALTIES if splits else ():
        if (now := loss(penalty)) > least:
            break
        best, least = penalty, now
    for penalty in (best * _BETWEEN, best / _BETWEEN) if splits else ():
        if loss(penalty) < tried[best][0]:
            best = penalty
    leads = tried[best][1] if splits else np.zeros(len(judged.better))
    return Block(_solve(rows, judged, learner, best * unit) / scale, best * unit, leads)


def _decided(judged: Judged) -> bool:
    return bool((judged.better != 0.5).any())


def _scaled(features: Any) -> tuple[Any, Array]:
    """Features whose columns (dense) or rows (sparse) are comparable in size, and what the columns were divided by."""
    from scipy.sparse import issparse

    if issparse(features):
        return features, np.ones(features.shape[1])
    dense = np.asarray(features, dtype=np.float64)
    spread = dense.std(0)
    scale = np.where(spread > 1e-9, spread, 1.0) * dense.shape[1] ** 0.5
    return dense / scale, scale


def _rows(features: Any, judged: Judged) -> Any:
    """What a row's lead is linear in [N, F + 1]: the difference of two texts, or one text; last a column that is large for
    judgments of one text, whose threshold it learns, and 0 for comparisons."""
    from scipy.sparse import csr_matrix, hstack, issparse

    single = judged.second < 0
    one = np.where(single, _UNPENALISED, 0.0)[:, None]
    if issparse(features):
        second = features[np.where(single, 0, judged.second)].multiply((~single)[:, None]).tocsr()
        return hstack([features[judged.first] - second, csr_matrix(one)]).tocsr()
    second = features[np.where(single, 0, judged.second)] * (~single)[:, None]
    return np.concatenate([features[judged.first] - second, one], axis=1)


def _solve(
    rows: Any, judged: Judged, learner: Learner, strength: float, whole: bool = False, start: Array | None = None
) -> Array:
    """Weights [F] of rows [N, F + 1], or with ``whole`` [F + 1] with that of the threshold; the search, where there is one,
    begins at ``start`` [F + 1].

    Minimises the weighted sum of losses + strength / 2 * |w|^2.
    """
    from sklearn.linear_model import Ridge

    if learner == "ridge":
        target = (2 * judged.better - 1) * judged.lead
        model = Ridge(alpha=strength, fit_intercept=False, solver="auto").fit(rows, target, judged.weight)
        found = np.asarray(model.coef_)
    else:
        found = _classified(rows, judged, learner, strength, start)
    return found if whole else found[:-1]


def _classified(rows: Any, judged: Judged, learner: Learner, strength: float, start: Array | None) -> Array:
    """Weights by a classifier: each row counts as won for its share, and as lost for the rest."""
    from scipy.sparse import issparse, vstack
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    join = (lambda parts: vstack(parts).tocsr()) if issparse(rows) else np.concatenate
    won, lost = (np.flatnonzero(judged.weight * share > 0) for share in (judged.better, 1 - judged.better))
    x, y = join([rows[won], rows[lost]]), np.repeat([1, 0], [len(won), len(lost)])
    weight = np.concatenate([(judged.weight * judged.better)[won], (judged.weight * (1 - judged.better))[lost]])
    if not (len(won) and len(lost)):
        # Learners want both classes: half of each row is turned round, which says the same.
        x, y, weight = join([x, -x]), np.concatenate([y, 1 - y]), np.concatenate([weight, weight]) / 2
    if learner == "svm":
        model = LinearSVC(C=1 / strength, fit_intercept=False, dual="auto", tol=1e-3, max_iter=5_000, random_state=0)
    else:
        # Newton's steps cost the square of the columns each.
        solver = "lbfgs" if issparse(rows) or rows.shape[1] > _FEW_COLUMNS else "newton-cholesky"
        model = LogisticRegression(
            C=1 / strength, fit_intercept=False, solver=solver, max_iter=500, tol=1e-5, warm_start=True
        )
        if start is not None:
            model.coef_ = start[None, :]
    # What is asked of so many small fits is right: checking it costs as much as fitting.
    quick = config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick:
        # Weak penalties on few rows converge slowly; such a fit is measured on what was left out like every other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, weight)
    return np.asarray(model.coef_[0])


def log_loss(leads: Array, better: Array, weight: Array) -> float:
    """Mean loss (nats) of the probabilities sigmoid(slope * lead), at the best slope of at least 0: log 2 where leads tell
    nothing."""
    spread = float(np.sqrt(np.average(leads**2, weights=weight))) if weight.any() else 0.0
    if not spread > 0:
        return float(np.log(2))
    slopes = stack((leads / spread)[:, None], better, weight)
    return _loss((leads / spread) * slopes[0], better, weight)


def _loss(log_odds: Array, better: Array, weight: Array) -> float:
    return float(np.average(np.logaddexp(0, log_odds) - better * log_odds, weights=weight))


def stack(leads: Array, better: Array, weight: Array) -> Array:
    """Shares [B] of at least 0 that make the likeliest log-odds of leads [N, B]: a logistic regression.

    It is penalised as little as keeps the share of leads that are all right finite.
    """
    from scipy.optimize import minimize

    total = weight.sum()
    spread = np.sqrt((weight @ leads**2) / total)
    scaled = leads / np.where(spread > 0, spread, 1.0)

    def loss(shares: Array) -> tuple[float, Array]:
        log_odds = scaled @ shares
        residual = weight * (1 / (1 + np.exp(-log_odds)) - better) / total
        return _loss(log_odds, better, weight) + 1e-5 * float(shares @ shares), residual @ scaled + 2e-5 * shares

    start = np.full(leads.shape[1], 1 / leads.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * leads.shape[1])
    shares: Array = np.where(spread > 0, found.x / np.where(spread > 0, spread, 1.0), 0.0)
    return shares
