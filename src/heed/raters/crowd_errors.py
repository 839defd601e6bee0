"""How sure scores and reliabilities learned together are: standard errors about the best point.

The model is that of :mod:`heed.raters.crowd_bt`.
"""

from __future__ import annotations

from typing import NamedTuple

from heed.lazily import np
from heed.raters.crowd_answers import HEEDS, INVERTS, LEFT, RIGHT, CrowdAnswers
from heed.statistics import Array

_NODES = 7
"""Points of the quadrature over each logit."""

_AT_ONCE = 256
"""Raters whose shares are set beside all scores at once (count): so much is held in memory."""

_DENSE = 1500
"""Things up to which errors come from the whole inverse; beyond, from each thing by itself, others held fixed."""


def standard_errors(data: CrowdAnswers, scores: Array, ways: Array) -> tuple[Array, Array]:
    """Standard errors of scores less their mean [items], and of heeds - inverts [raters].

    From the inverse of the information of scores and shares together: a rater seems the more reliable the closer the scores
    lie together, so that neither is sure where the other is not. It is the observed information (Efron and Hinkley 1978,
    "Assessing the accuracy of the maximum likelihood estimator", Biometrika 65), or its expectation where there are very many
    things, or where the best point was not met closely enough for it to be positive definite.
    """
    if data.items > _DENSE:
        errors, shares = _errors_apart(data, scores, _information(data, scores, ways, observed=False))
    else:
        try:
            errors, shares = _errors_together(data, _information(data, scores, ways, observed=True))
        except np.linalg.LinAlgError:
            errors, shares = _errors_together(data, _information(data, scores, ways, observed=False))
    return errors, _reliability_errors(ways, shares)


def _reliability_errors(ways: Array, shares: Array) -> Array:
    """Standard deviations [raters] of heeds - inverts where the logits of the shares are normal about the best point, as the
    prior's basis has it: near an end a share is far from normal. ``shares`` [raters, 3, 3] is the covariance of the free ones.
    """
    free = ways[:, :RIGHT]
    logits = np.linalg.inv(np.eye(3) * free[:, :, None] - free[:, :, None] * free[:, None, :])
    values, vectors = np.linalg.eigh(logits @ shares @ logits)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    at = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij")).reshape(3, -1)
    mass = np.einsum("i,j,k->ijk", weights, weights, weights).ravel() / weights.sum() ** 3
    drawn = np.log(free / ways[:, RIGHT:])[:, :, None] + roots @ at
    spread = np.concatenate([drawn, np.zeros_like(drawn[:, :1])], axis=1)
    spread = np.exp(spread - spread.max(axis=1, keepdims=True))
    found = (spread[:, HEEDS] - spread[:, INVERTS]) / spread.sum(axis=1)
    return np.asarray(np.sqrt(((found - (found @ mass)[:, None]) ** 2) @ mass))


class _Information(NamedTuple):
    """Of the free shares of each rater, ``shares`` [raters, 3, 3]; of each answer, of a share and the lead of the left one,
    ``crossed`` [3, N], and of the lead alone, ``leads`` [N]."""

    shares: Array
    crossed: Array
    leads: Array


def _information(data: CrowdAnswers, scores: Array, ways: Array, observed: bool) -> _Information:
    """The negative second derivative of the log-posterior by scores and by three free shares of each rater, the last being
    what is left; or its expected value (Louis 1982 needs no missing data here: the mixture is summed out)."""
    ahead, said, reads = data.said(scores, ways)
    # By the shares of heeding, inverting and left; each step is taken from the share of right.
    steps = np.stack([ahead, 1 - ahead, np.ones_like(ahead)])
    bend = ahead * (1 - ahead)
    seen = np.where(data.sign > 0, said, 1 - said)
    weight = data.weight / (seen**2 if observed else said * (1 - said))
    shares = np.zeros((data.raters, 3, 3))
    if data.present.size:
        for i in range(3):
            for j in range(i, 3):
                summed = np.add.reduceat(weight * steps[i] * steps[j], data.starts)
                shares[data.present, i, j] = shares[data.present, j, i] = summed
    shares += _gold_information(data, ways)
    concentration = data.ways_prior / ways**2
    shares += concentration[:, RIGHT][:, None, None]
    shares[:, range(3), range(3)] += concentration[:, :RIGHT]
    crossed, leads = weight * steps * reads * bend, weight * (reads * bend) ** 2
    if observed:
        turn = data.weight * data.sign / seen * bend
        crossed -= turn * np.array([[1.0], [-1.0], [0.0]])
        leads -= turn * reads * (1 - 2 * ahead)
    return _Information(shares, crossed, leads)


def _errors_together(data: CrowdAnswers, information: _Information) -> tuple[Array, Array]:
    """Errors of scores [items] and covariances of the free shares [raters, 3, 3], by blocks (the Schur complement).

    Raises:
        numpy.linalg.LinAlgError: the information is not positive definite.
    """
    from scipy.sparse import bsr_matrix, csr_matrix

    n, raters = data.items, data.raters
    np.linalg.cholesky(information.shares)
    inverse = np.linalg.inv(information.shares)
    # Each rater has seen few of the things: sparse, so that raters may be many.
    rows = np.concatenate([3 * data.rater + share for share in range(3)] * 2)
    columns = np.concatenate([data.left] * 3 + [data.right] * 3)
    values = np.concatenate([information.crossed.ravel(), -information.crossed.ravel()])
    common = csr_matrix((values, (rows, columns)), shape=(3 * raters, n))
    blocks = bsr_matrix((inverse, np.arange(raters), np.arange(raters + 1)), shape=(3 * raters, 3 * raters))
    explained = (blocks @ common).tocsr()
    links = np.bincount(data.left * n + data.right, information.leads, n * n).reshape(n, n)
    links += links.T
    known = np.diag(links.sum(axis=1) + data.prior) - links - (common.T @ explained).toarray()
    np.linalg.cholesky(known)
    covariance = np.linalg.inv(known)
    shares = np.array(inverse, dtype=np.float64)
    for first in range(0, raters, _AT_ONCE):
        some = explained[3 * first : 3 * (first + _AT_ONCE)].toarray()
        shares[first : first + _AT_ONCE] += np.einsum(
            "rin,rjn->rij", (some @ covariance).reshape(-1, 3, n), some.reshape(-1, 3, n)
        )
    centre = np.eye(n) - 1 / n
    return np.sqrt(np.maximum(np.diag(centre @ covariance @ centre), 0.0)), shares


def _errors_apart(data: CrowdAnswers, scores: Array, information: _Information) -> tuple[Array, Array]:
    """The same, each score by itself; of what shares have in common with all scores, how far apart these lie is the most."""
    n = data.items
    alone = np.bincount(data.left, information.leads, n) + np.bincount(data.right, information.leads, n) + data.prior
    inverse = np.linalg.inv(information.shares)
    apart = scores - scores.mean()
    lead = apart[data.left] - apart[data.right]
    common = np.zeros((data.raters, 3))
    if data.present.size:
        common[data.present] = np.add.reduceat(information.crossed * lead, data.starts, axis=1).T
    explained = np.einsum("rij,rj->ri", inverse, common)
    known = float(information.leads @ lead**2) + data.prior * float(apart @ apart) - float((common * explained).sum())
    if known > 0:
        inverse = inverse + explained[:, :, None] * explained[:, None, :] / known
    return 1 / np.sqrt(alone), np.asarray(inverse, dtype=np.float64)


def _gold_information(data: CrowdAnswers, ways: Array) -> Array:
    """[raters, 3, 3]: what answers to gold items tell of the shares."""
    found = np.zeros((data.raters, 3, 3))
    for truth, way in ((1, HEEDS), (0, INVERTS)):
        said = np.clip(ways[:, way] + ways[:, LEFT], 1e-12, 1 - 1e-12)
        step = np.zeros(3)
        step[[way, LEFT]] = 1.0
        told = data.gold_counts[:, truth, 1] / said**2 + data.gold_counts[:, truth, 0] / (1 - said) ** 2
        found += told[:, None, None] * np.outer(step, step)
    return found
