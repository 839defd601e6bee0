"""Scores of things and the reliability of raters, learned together from comparisons.

Each rater answers in one of four ways, in shares of their own: heeds the order of the two, inverts it, says left, says right.

    P(left wins | rater) = heeds sigmoid(d) + inverts sigmoid(-d) + left,   d = score of the left one - score of the right one

With two ways this is Crowd-BT of Chen, Bennett, Collins-Thompson and Horvitz, WSDM 2013, section 3.2, whose eta below a half
is somebody who inverts; the two that do not read are the bias of factorBT (Bugakova, Fedorova, Gusev and Drutsa 2019). The
reliability is heeds - inverts, from -1 to 1. Turning all scores around and swapping the first two ways explains comparisons
just as well, so which way is up must come from gold items, or from a clear majority; where neither is there, it is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import Duels, bradley_terry
from heed.statistics import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.intp]

HEEDS, INVERTS, LEFT, RIGHT = range(4)

WAYS_PRIOR = (4.0, 1.5, 1.25, 1.25)
"""Dirichlet prior of the shares: as if each rater had been seen to heed four times in eight.

The best point is sought by the logits of the shares, whose density there has each share to the power of its prior: the prior
alone then has its best point at its mean, and not where heeding is nearly all (MacKay 1998, "Choice of Basis for Laplace
Approximation", Machine Learning 33, section 2)."""

SCORE_PRIOR = 0.1
"""Precision of the normal prior of a score (1 / log-odds squared). Where odd answers can be laid at the door of a rater, what
is left is often so orderly that scores without a firm prior would run away from one another."""

CLEAR_MAJORITY = 3 / 4
"""Least share of what reliable answers there are that must point one way for it to be taken as up, where there is no gold."""

_CLOSE = 1e-2
"""The search ends where everything is this close to the best point, in about standard errors of its own."""

_SURELY = 2.0
"""Standard errors that a reliability must be away from 0: the prior alone brings it to one."""

_LEAST_SHARE = 1e-9

_NODES = 7
"""Points of the quadrature over each logit."""

_AT_ONCE = 256
"""Raters whose shares are set beside all scores at once (count): so much is held in memory."""

_DENSE = 1500
"""Things up to which errors come from the whole inverse; beyond, from each thing by itself, others held fixed."""

Direction = Literal["gold", "majority", "unidentifiable"]


@dataclass(frozen=True)
class CrowdRanking:
    """What was learned.

    Attributes:
        scores, score_errors: [items], log-odds, and their standard errors.
        ways: [raters, 4], shares that heed, invert, say left and say right; rows sum to 1.
        reliability, reliability_errors: [raters], -1 to 1, and their standard errors.
        left_bias: [raters], share that says left less share that says right, whatever is shown.
        weight: [raters], what an answer of theirs tells beside one of a rater who always heeds, 0 to 1.
        direction: what decided which way is up.
        reason: the same, a sentence.
        loss: negative log-posterior (nats).
    """

    scores: Array
    score_errors: Array
    ways: Array
    reliability: Array
    reliability_errors: Array
    left_bias: Array
    weight: Array
    direction: Direction
    reason: str
    loss: float


def crowd_bradley_terry(
    left: Codes,
    right: Codes,
    outcome: Array,
    rater: Codes,
    *,
    gold: Array | None = None,
    items: int | None = None,
    raters: int | None = None,
    prior: float = SCORE_PRIOR,
    ways_prior: tuple[float, float, float, float] = WAYS_PRIOR,
) -> CrowdRanking:
    """Maximum a posteriori scores and shares.

    Args:
        left, right: [N], codes of what stood where.
        outcome: [N], 1 left is better, 0 right is, 0.5 neither: half an answer each way.
        rater: [N], code of who answered.
        gold: [N], 1 or 0 where it is known which one is better, else nan; such answers tell of the rater alone.
        items, raters: things and raters there are (counts); None: as many as the codes say.
        prior: precision of the normal prior on each score.
        ways_prior: Dirichlet prior of each rater's shares, all above 0.

    Raises:
        DataError: columns of different length, codes or outcomes that are none, or a prior that is none.
    """
    left, right, rater = (np.asarray(column, dtype=np.intp) for column in (left, right, rater))
    outcome = np.asarray(outcome, dtype=np.float64)
    items = int(max(left.max(initial=-1), right.max(initial=-1))) + 1 if items is None else items
    duels = Duels(left, right, outcome, items)
    if rater.shape != left.shape or rater.min() < 0:
        raise DataError(f"{rater.size} raters for {left.size} comparisons", "each needs one.", "Pass one code each.")
    raters = int(rater.max()) + 1 if raters is None else raters
    if min(ways_prior) <= 0:
        raise DataError(f"prior of the ways {ways_prior}", "shares could be pushed off their end.", "Give above 0.")
    known = np.full(left.size, np.nan) if gold is None else np.asarray(gold, dtype=np.float64)
    if known.shape != left.shape or not np.isin(known[np.isfinite(known)], (0.0, 1.0)).all():
        raise DataError("gold", "it is not one of 1, 0 and nan for each comparison.", "Correct it.")
    data = _Data.of(duels, rater, known, raters, prior, np.array(ways_prior))
    candidates = [data.fit(scores, ways) for scores, ways in _starts(data, duels)]
    best = min(candidates, key=lambda fitted: fitted[2])
    return _told(data, *best)


@dataclass(frozen=True)
class _Data:
    """The comparisons sorted by rater, those of gold apart; a tie is half an answer each way, in two rows.

    Columns [N]: ``left``, ``right``, ``rater``, ``sign`` (1 left was said, -1 right), ``weight`` (1, or a half).
    """

    left: Codes
    right: Codes
    rater: Codes
    sign: Array
    weight: Array
    starts: Codes
    sizes: Codes
    present: Codes
    gold_counts: Array
    items: int
    raters: int
    prior: float
    ways_prior: Array

    @classmethod
    def of(cls, duels: Duels, rater: Codes, gold: Array, raters: int, prior: float, ways_prior: Array) -> _Data:
        unknown, tied = np.isnan(gold), duels.outcome == 0.5
        rows = np.concatenate([np.flatnonzero(unknown), np.flatnonzero(unknown & tied)])
        second = np.arange(rows.size) >= int(unknown.sum())
        order = np.argsort(rater[rows], kind="stable")
        rows, second = rows[order], second[order]
        sign = np.where((duels.outcome[rows] == 1.0) | (tied[rows] & ~second), 1.0, -1.0)
        present, starts, sizes = np.unique(rater[rows], return_index=True, return_counts=True)
        # Four kinds of gold answers a rater can give: left or right said, where left or right was better.
        counts = np.zeros((raters, 2, 2))
        told = np.flatnonzero(~unknown)
        truth = gold[told].astype(np.intp)
        for better in (0, 1):
            whose, said = rater[told][truth == better], duels.outcome[told][truth == better]
            counts[:, better, 1] = np.bincount(whose, said, raters)
            counts[:, better, 0] = np.bincount(whose, 1 - said, raters)
        return cls(
            left=duels.left[rows],
            right=duels.right[rows],
            rater=rater[rows],
            sign=sign,
            weight=np.where(tied[rows], 0.5, 1.0),
            starts=starts,
            sizes=sizes,
            present=present,
            gold_counts=counts,
            items=duels.items,
            raters=raters,
            prior=prior,
            ways_prior=ways_prior,
        )

    @property
    def gold_right(self) -> Array:
        """Answers to gold items [raters] that were right (count)."""
        return np.asarray(self.gold_counts[:, 0, 0] + self.gold_counts[:, 1, 1])

    def fit(self, scores: Array, ways: Array) -> tuple[Array, Array, float]:
        """Scores [items], shares [raters, 4] and loss of the best point near a start."""
        from scipy.optimize import minimize

        often = np.bincount(np.concatenate([self.left, self.right]), minlength=self.items)
        step = 1 / np.sqrt(often / 4 + self.prior)
        answers = np.bincount(self.rater, minlength=self.raters) + self.gold_counts.sum(axis=(1, 2))
        pace = 1 / np.sqrt(answers / 4 + self.ways_prior.sum() / 4)[:, None]

        def objective(x: Array) -> tuple[float, Array]:
            logits = x[self.items :].reshape(self.raters, 4) * pace
            loss, by_score, by_logit = self.posterior(x[: self.items] * step, logits)
            return loss, np.concatenate([by_score * step, (by_logit * pace).ravel()])

        begin = np.concatenate([scores / step, (np.log(ways) / pace).ravel()])
        options = {"maxcor": 20, "gtol": _CLOSE, "ftol": 1e-10, "maxiter": 2000, "maxfun": 4000}
        found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
        return (
            found.x[: self.items] * step,
            _softmax(found.x[self.items :].reshape(self.raters, 4) * pace),
            float(found.fun),
        )

    def posterior(self, scores: Array, logits: Array) -> tuple[float, Array, Array]:
        """Negative log-posterior, and its gradients by scores [items] and by the logits of the shares [raters, 4]."""
        ways = _softmax(logits)
        ahead, said, reads = self.said(scores, ways)
        seen = np.where(self.sign > 0, said, 1 - said)
        loss = -float(self.weight @ np.log(seen))
        # d loss / d P(left), then by the chain to each share and to the difference of the scores.
        slope = -self.weight * self.sign / seen
        by_ahead = slope * ahead
        by_difference = by_ahead * (1 - ahead) * reads
        pull = np.bincount(self.left, by_difference, self.items)
        by_score = pull - np.bincount(self.right, by_difference, self.items) + self.prior * scores
        by_share = np.zeros((self.raters, 4))
        if self.present.size:
            heeded, every = np.add.reduceat(by_ahead, self.starts), np.add.reduceat(slope, self.starts)
            by_share[self.present] = np.stack([heeded, every - heeded, every, np.zeros_like(every)], axis=1)
        loss, by_share = self._with_gold(loss, by_share, ways)
        loss += 0.5 * self.prior * float(scores @ scores) - float((np.log(ways) @ self.ways_prior).sum())
        by_share -= self.ways_prior / ways
        by_logit = ways * (by_share - (ways * by_share).sum(axis=1, keepdims=True))
        return loss, by_score, by_logit

    def said(self, scores: Array, ways: Array) -> tuple[Array, Array, Array]:
        """sigmoid(d), P(left) and the reliability of the rater, [N] each."""
        from scipy.special import expit

        ahead = expit(scores[self.left] - scores[self.right])
        # Sorted by rater, what belongs to one is repeated, which is much quicker than looking it up.
        mine = ways[self.present]
        reads = np.repeat(mine[:, HEEDS] - mine[:, INVERTS], self.sizes)
        unread = np.repeat(mine[:, INVERTS] + mine[:, LEFT], self.sizes)
        return ahead, unread + reads * ahead, reads

    def _with_gold(self, loss: float, by_share: Array, ways: Array) -> tuple[float, Array]:
        """What the answers to gold items add: whoever heeds is right there, whoever inverts is wrong."""
        counts = self.gold_counts
        if not counts.any():
            return loss, by_share
        for truth, said, one, other in (
            (1, 1, HEEDS, LEFT),
            (1, 0, INVERTS, RIGHT),
            (0, 1, INVERTS, LEFT),
            (0, 0, HEEDS, RIGHT),
        ):
            share = ways[:, one] + ways[:, other]
            loss -= float(counts[:, truth, said] @ np.log(share))
            for way in (one, other):
                by_share[:, way] -= counts[:, truth, said] / share
        return loss, by_share


def _starts(data: _Data, duels: Duels) -> Iterator[tuple[Array, Array]]:
    """Where to begin: with everybody heeding alike; with what gold tells of each; and that one turned around.

    The likelihood has a mirror image, and answers to gold must be able to pull the search into the other one.
    """
    prior = data.ways_prior / data.ways_prior.sum()
    alike = np.tile(prior, (data.raters, 1))
    plain = bradley_terry(duels, prior=data.prior).scores
    yield plain, alike
    if not data.gold_counts.any():
        return
    known = data.gold_counts.sum(axis=(1, 2))
    wrong = known - data.gold_right
    ways = alike * data.ways_prior.sum()
    ways[:, HEEDS] += data.gold_right
    ways[:, INVERTS] += wrong
    ways /= ways.sum(axis=1, keepdims=True)
    trusted = ((data.gold_right - wrong) / (known + 2))[data.rater]
    turned = (1 + data.sign * np.where(trusted < 0, -1.0, 1.0)) / 2
    weighed = Duels(data.left, data.right, turned, data.items, data.weight * (np.abs(trusted) + 1e-3))
    scores = bradley_terry(weighed, prior=data.prior).scores
    yield scores, ways
    yield -plain, ways


def _softmax(logits: Array) -> Array:
    spread = np.exp(logits - logits.max(axis=1, keepdims=True))
    # A share of nothing at all has no logarithm.
    shares = np.maximum(spread / spread.sum(axis=1, keepdims=True), _LEAST_SHARE)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _told(data: _Data, scores: Array, ways: Array, loss: float) -> CrowdRanking:
    reliability = ways[:, HEEDS] - ways[:, INVERTS]
    score_errors, errors = _errors(data, scores, ways)
    direction, reason = _direction(data, reliability, errors)
    return CrowdRanking(
        scores=scores - scores.mean(),
        score_errors=score_errors,
        ways=ways,
        reliability=reliability,
        reliability_errors=errors,
        left_bias=ways[:, LEFT] - ways[:, RIGHT],
        weight=reliability**2,
        direction=direction,
        reason=reason,
        loss=loss,
    )


def _direction(data: _Data, reliability: Array, errors: Array) -> tuple[Direction, str]:
    """What decides which way is up: gold answers, or that of all that reliable answers tell most points one way."""
    known = int(data.gold_counts.sum())
    if known:
        return "gold", f"{known} answers to gold items say which way is up."
    answers = np.bincount(data.rater, minlength=data.raters)
    # Only who surely reads counts: a reliability that could as well be nothing points nowhere.
    tells = answers * np.where(np.abs(reliability) > _SURELY * errors, reliability, 0.0)
    up, down = float(tells[tells > 0].sum()), float(-tells[tells < 0].sum())
    if up + down == 0:
        return "unidentifiable", "No rater's answers fit those of the others, so that nothing says which way is up."
    share, camp = max(up, down) / (up + down), int((tells < 0).sum())
    if share < CLEAR_MAJORITY:
        reason = (
            f"The raters fall into two camps that answer against each other, {int((tells > 0).sum())} and {camp} of them, "
            f"and the larger holds {share:.0%} of what their answers tell, less than {CLEAR_MAJORITY:.0%}: which camp "
            "is right cannot be known from the answers alone. Ask both about a few gold items."
        )
        return "unidentifiable", reason
    if not camp:
        return "majority", "All raters whose answers tell anything point the same way."
    return "majority", f"The clear majority decides which way is up; {camp} raters answer against it."


# How sure


def _errors(data: _Data, scores: Array, ways: Array) -> tuple[Array, Array]:
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


def _information(data: _Data, scores: Array, ways: Array, observed: bool) -> _Information:
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


def _errors_together(data: _Data, information: _Information) -> tuple[Array, Array]:
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


def _errors_apart(data: _Data, scores: Array, information: _Information) -> tuple[Array, Array]:
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


def _gold_information(data: _Data, ways: Array) -> Array:
    """[raters, 3, 3]: what answers to gold items tell of the shares."""
    found = np.zeros((data.raters, 3, 3))
    for truth, way in ((1, HEEDS), (0, INVERTS)):
        said = np.clip(ways[:, way] + ways[:, LEFT], 1e-12, 1 - 1e-12)
        step = np.zeros(3)
        step[[way, LEFT]] = 1.0
        told = data.gold_counts[:, truth, 1] / said**2 + data.gold_counts[:, truth, 0] / (1 - said) ** 2
        found += told[:, None, None] * np.outer(step, step)
    return found
