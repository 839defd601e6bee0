"""What it is worth to ask about a pair of completions, from what a reward model makes of them. No torch.

Shapes: P pairs, C completions, M members of a committee (or draws from a posterior), D features. Worths are in log-odds: the
difference of two is the log-odds of one completion over the other. Only the order and the ratios of the values mean something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from heed.lazily import np
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Codes: TypeAlias = "NDArray[np.intp]"


class Worth(Protocol):
    """What pairs are worth, which may change as they are taken."""

    def weights(self) -> Array:
        """[P], at least 0."""
        ...

    def take(self, pair: int) -> None:
        """``pair`` is going to be asked about."""
        ...


def disagreement(differences: Array) -> Array:
    """How far a committee is apart about each pair: the variance of its members' votes for one side.

    Christiano et al. 2017, "Deep Reinforcement Learning from Human Preferences", section 2.2.4: each member predicts which
    one will be preferred, and the pairs are taken whose predictions vary most. A few members vote alike or one apart, which
    tells few pairs from each other, so the votes are those of a large committee spread as this one is, normally.

    Args:
        differences: [P, M], log-odds.

    Returns:
        [P], 0 to 1, of a quarter, the variance where half of the votes go either way; 0 for a committee of one.
    """
    from scipy import special

    members = differences.shape[1]
    if members < 2:
        return np.zeros(len(differences))
    mean, spread = np.abs(differences.mean(axis=1)), differences.std(axis=1, ddof=1)
    share = special.ndtr(-mean / np.maximum(spread, 1e-300))
    return np.where(spread > 0, 4 * share * (1 - share), 0.0)


def gap(differences: Array, width: float = 1.0) -> Array:
    """How large the difference of each pair might well be: the committee's mean and ``width`` deviations more.

    As DeltaUCB of "ActiveUltraFeedback", 2026, arXiv 2603.09692, but with the deviation of the difference instead of the
    sum of both completions': what all answers to a prompt have in common is no doubt about their order.

    Args:
        differences: [P, M], log-odds.
        width: deviations that are added (count).

    Returns:
        [P], log-odds.
    """
    return np.abs(differences.mean(axis=1)) + width * differences.std(axis=1)


def thompson(worths: Array, prompts: Codes, first: Codes, second: Codes) -> Array:
    """How likely double Thompson sampling is to ask about each pair, among those of its prompt.

    A member is drawn and its best completion of the prompt taken; then members are drawn until one has another best
    completion. Where all agree on the best, the other one is any (Wu and Liu 2016, "Double Thompson Sampling for Dueling
    Bandits"; with a reward model: Dwaracherla et al. 2024, "Efficient Exploration for LLMs"). Completions count that are in
    a pair.

    Args:
        worths: [C, M], log-odds.
        prompts: [C], codes of the completions' prompts from 0.
        first, second: [P], the completions of each pair, both of one prompt.

    Returns:
        [P], probability given the prompt; what falls to pairs that are not among these is lost.
    """
    used = np.zeros(len(worths), bool)
    used[first] = used[second] = True
    best = np.full((int(prompts.max(initial=-1)) + 1, worths.shape[1]), -np.inf)
    np.maximum.at(best, prompts[used], worths[used])
    wins = (worths == best[prompts]) & used[:, None]
    sharing = np.zeros_like(best)
    np.add.at(sharing, prompts, wins.astype(np.float64))
    share = (wins / np.maximum(sharing[prompts], 1.0)).mean(axis=1)
    others = np.maximum(np.bincount(prompts[used], minlength=len(best)) - 1, 1)[prompts]
    certain = share > 1 - 1e-12
    then = np.where(certain, 0.0, share / np.maximum(1 - share, 1e-12))
    dealt = share[first] * then[second] + then[first] * share[second]
    return np.where(certain[first] | certain[second], 1 / others[first], dealt)


class Information:
    """The Fisher information of a linear head under Bradley-Terry, and what each pair would add to its log-determinant.

    D-optimal design with the past taken into account, on the features of the head: Shen, Sun and Ton 2025, "Reviving The
    Classics: Active Reward Modeling in Large Language Model Alignment", arXiv 2502.04354, section 3. A comparison whose
    answer has the probability p adds p (1 - p) x x' for the difference x of its features. Pairs are taken one by one, each
    an update of rank one, so that what was taken lowers the worth of all that is like it.

    Args:
        features: [P, D], first minus second completion of each pair that may be asked.
        probabilities: [P], of the first being preferred.
        prior: precision of the head's weights before any answer, above 0.
        past: [N, D], the same of what has been asked.
        past_probabilities: [N].
    """

    def __init__(
        self,
        features: Array,
        probabilities: Array,
        prior: float,
        past: Array | None = None,
        past_probabilities: Array | None = None,
    ) -> None:
        size = features.shape[1]
        precision = prior * np.eye(size)
        if past is not None and past_probabilities is not None:
            precision += (past * (past_probabilities * (1 - past_probabilities))[:, None]).T @ past
        # In units in which what is known so far is alike in every direction.
        whitened = np.linalg.solve(np.linalg.cholesky(precision), features.T).T
        self._scaled = np.ascontiguousarray(whitened * np.sqrt(probabilities * (1 - probabilities))[:, None])
        self._left = np.eye(size)
        self._leverage = np.einsum("pd,pd->p", self._scaled, self._scaled)

    def weights(self) -> Array:
        """What each pair would add now [P], nats."""
        return np.log1p(np.maximum(self._leverage, 0.0))

    def take(self, pair: int) -> None:
        """Ask about ``pair``: Sherman and Morrison 1950."""
        direction = self._left @ self._scaled[pair]
        spread = 1 + float(self._scaled[pair] @ direction)
        self._leverage = self._leverage - (self._scaled @ direction) ** 2 / spread
        self._left = self._left - np.outer(direction, direction) / spread


class Fixed:
    """Worths that do not change as pairs are taken."""

    def __init__(self, worth: Array) -> None:
        self._worth = worth

    def weights(self) -> Array:
        """[P], as they were given."""
        return self._worth

    def take(self, pair: int) -> None:
        """Nothing changes."""


def in_turn(worth: Worth, prompts: Codes, most: int) -> Array:
    """What each pair is worth where pairs are taken greedily, ``most`` of them and one a prompt.

    A pair that is taken is worth what it was at its turn; of a prompt with one taken the others are worth nothing, and of
    the prompts left over the best pair is worth what it is in the end. So the best pairs of a window are diverse as well,
    though whoever looks at the window knows nothing of the rest.

    Args:
        worth: of the pairs.
        prompts: [P], codes of their prompts from 0.
        most: pairs taken (count).

    Returns:
        [P], at least 0.
    """
    worths, free = np.zeros(len(prompts)), np.ones(len(prompts), bool)
    lowest = np.inf
    for _ in range(min(most, len(prompts))):
        now = np.where(free, worth.weights(), -1.0)
        pair = int(now.argmax())
        if now[pair] <= 0:
            break
        lowest = worths[pair] = min(lowest, now[pair])
        worth.take(pair)
        free &= prompts != prompts[pair]
    rest = np.where(free, worth.weights(), 0.0)
    best = np.zeros(int(prompts.max(initial=-1)) + 1)
    np.maximum.at(best, prompts, rest)
    left = np.where((rest > 0) & (rest == best[prompts]), np.minimum(rest, lowest), 0.0)
    return np.where(free, left, worths)


def _probabilities(differences: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(differences, -500, 500)))
