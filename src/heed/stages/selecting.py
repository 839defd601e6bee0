"""What to ask next, by the newest reward model: it looks at what may be asked, and says what asking is worth."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heed.errors import DataError, ModelError
from heed.feedback import worth
from heed.feedback.drawing import Batch, draw_batch
from heed.feedback.kinds import PromptContent
from heed.feedback.selectors import SHARPNESS
from heed.feedback.worth import Codes, Fixed, Information, Worth
from heed.stages.results import prepare_machine
from heed.texts import shown
from heed.train.optimise import memory_errors
from heed.train.progress import Stopped, Watcher, stop_on_interrupt

if TYPE_CHECKING:
    from heed.statistics import Array

WIDEST = 256
"""Features of a wider head are brought to so many by their principal directions, which costs no more than it must."""

_DRAWS = 16
"""From the posterior of a single head, in the place of members."""

Text = tuple[PromptContent, str]


@dataclass(frozen=True)
class Sight:
    """What a reward model makes of some completions.

    Attributes:
        features: [C, D], what its head sees, brought to at most ``WIDEST`` dimensions.
        worths: [C, M], the members' scores in log-odds: differences of two are predictions.
        kept: share of the features' sum of squares that is left (0 to 1).
        weights: [D], of the head on ``features``, in log-odds.
        seen: [C], whether the text fits the model's context; of one that does not, the rest is 0.
    """

    features: Array
    worths: Array
    kept: float
    weights: Array
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of completions: the places of both among those that were looked at, and codes of the pairs' prompts; each [P]."""

    first: Codes
    second: Codes
    prompts: Codes

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Pairs:
        """From (first, second, prompt) each."""
        columns = np.array(list(rows), np.intp).reshape(-1, 3)
        return cls(columns[:, 0], columns[:, 1], columns[:, 2])

    def __len__(self) -> int:
        return len(self.first)

    def where(self, rows: NDArray[Any]) -> Pairs:
        """Those of the rows named or marked."""
        return Pairs(self.first[rows], self.second[rows], self.prompts[rows])


@memory_errors("Give a device with more memory, or lower asking.pool.")
def look_at(model: str | Path, texts: Sequence[Text], device: str = "auto", watcher: Watcher | None = None) -> Sight:
    """Let the reward model ``model`` look at completions with their prompts.

    Raises:
        ModelError: ``model`` is no reward model, or one of another kind than a network. Stopped: on Ctrl-C.
    """
    from heed.models.cards import NETWORK, read_card
    from heed.models.head_features import features_and_scores
    from heed.models.reward import RewardModel

    watcher = watcher or Watcher()
    kind = read_card(Path(model)).get("kind", NETWORK)
    if kind != NETWORK:
        raise ModelError(
            f"the reward model {model} cannot tell what to ask next",
            f"its kind is {shown(kind)}, and what is worth asking is told by what the head of a network sees.",
            "Train one with 'heed train reward --backbone network', or set asking.selector to random.",
        )
    network = RewardModel.load(model, prepare_machine(device))
    seen, encoded = np.ones(len(texts), bool), []
    for place, (prompt, text) in enumerate(texts):
        try:
            encoded.append(network.reader.encode(prompt, text))
        except DataError:  # longer than the context
            seen[place] = False
    with stop_on_interrupt() as flag:

        def progress(done: int) -> None:
            if flag.asked:
                raise Stopped
            watcher.advance(done, len(encoded), "texts looked at")

        found, scores = features_and_scores(network, encoded, progress=progress)
    scale = 1 / (network.std * network.temperature)
    head = network.members[0].head.weight[0].detach().double().cpu().numpy()
    narrowed, directions, kept = _narrowed(found.double().numpy())
    features, worths = np.zeros((len(texts), narrowed.shape[1])), np.zeros((len(texts), scores.shape[1]))
    features[seen], worths[seen] = narrowed, scores.double().numpy() * scale
    return Sight(features, worths, kept, directions.T @ head * scale, seen)


def _narrowed(features: Array) -> tuple[Array, Array, float]:
    """Features [C, D] in their principal directions, those directions [D, K], and the share of the squares that is left."""
    size = features.shape[1]
    if size <= WIDEST:
        return features, np.eye(size), 1.0
    values, vectors = np.linalg.eigh(features.T @ features)
    directions = vectors[:, -WIDEST:]
    return features @ directions, directions, float(values[-WIDEST:].sum() / max(values.sum(), 1e-300))


def predictions(sight: Sight, past: Pairs, seed: int) -> Array:
    """What the members make of each completion [C, M], log-odds; for a single member, draws from its head's posterior.

    The posterior is Laplace's (MacKay 1992, "A Practical Bayesian Framework for Backpropagation Networks"): normal about
    the head's weights, with the information of what has been asked as its precision.
    """
    if sight.worths.shape[1] > 1:
        return sight.worths
    precision = _prior(sight) * np.eye(len(sight.weights))
    seen = sight.features[past.first] - sight.features[past.second]
    odds = _probabilities((sight.worths[past.first] - sight.worths[past.second])[:, 0])
    precision += (seen * (odds * (1 - odds))[:, None]).T @ seen
    noise = np.random.default_rng(seed).standard_normal((len(sight.weights), _DRAWS))
    moved = np.linalg.solve(np.linalg.cholesky(precision).T, noise)
    return np.asarray(sight.worths + sight.features @ moved)


def worth_of(name: str, sight: Sight, pairs: Pairs, past: Pairs, seed: int) -> Worth:
    """What the selector ``name`` makes of pairs.

    Args:
        name: one of ``SHARPNESS``.
        sight: of all completions.
        pairs: that may be asked.
        past: that have been asked.
        seed: of the draws from the posterior of a single head.
    """
    worths = predictions(sight, past, seed)
    differences = worths[pairs.first] - worths[pairs.second]
    if name == "disagreement":
        return Fixed(worth.disagreement(differences))
    if name == "gap":
        return Fixed(worth.gap(differences))
    if name == "thompson":
        prompts = np.zeros(len(worths), np.intp)
        prompts[pairs.first] = prompts[pairs.second] = pairs.prompts
        return Fixed(worth.thompson(worths, prompts, pairs.first, pairs.second))
    before = sight.worths.mean(axis=1)
    return Information(
        sight.features[pairs.first] - sight.features[pairs.second],
        _probabilities(before[pairs.first] - before[pairs.second]),
        _prior(sight),
        sight.features[past.first] - sight.features[past.second],
        _probabilities(before[past.first] - before[past.second]),
    )


def draw(name: str, sight: Sight, pairs: Pairs, past: Pairs, count: int, chance_share: float, seed: int) -> Batch:
    """Draw ``count`` pairs by the selector ``name``, a prompt a second time only where every prompt has come once."""
    rng = random.Random(f"choose:{seed}")
    chosen = worth_of(name, sight, pairs, past, seed)
    return draw_batch(chosen, pairs.prompts, count, chance_share, SHARPNESS[name], rng)


def by_chance(prompts: Codes, count: int, seed: int) -> Batch:
    """The same without a reward model: all is chance."""
    return draw_batch(Fixed(np.ones(len(prompts))), prompts, count, 1.0, 0.0, random.Random(f"choose:{seed}"))


def item_scores(
    sight: Sight, pairs: Pairs, owners: Sequence[int], past: Pairs, most: int, seed: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """What asking each item is worth to every selector, the best item 1: (item, worth by selector).

    An item is worth what its best pair is; of each prompt one item is worth anything (see :func:`heed.feedback.worth.in_turn`).

    Args:
        sight: of all completions.
        pairs: of the items.
        owners: [P], the item that each pair is of.
        past: that have been asked.
        most: items that are taken in turn: about as many as are asked before the next look (count).
        seed: as for :func:`worth_of`.
    """
    found = {owner: dict.fromkeys(SHARPNESS, 0.0) for owner in owners}
    for name in SHARPNESS:
        worths = worth.in_turn(worth_of(name, sight, pairs, past, seed), pairs.prompts, most)
        best = float(worths.max(initial=0.0))
        for owner, value in zip(owners, worths.tolist(), strict=True):
            if best > 0:
                found[owner][name] = max(found[owner][name], value / best)
    yield from found.items()


def _prior(sight: Sight) -> float:
    """Precision of a head's weights before any answer: as if those that were learned were a draw from it."""
    squared = float(sight.weights @ sight.weights)
    return len(sight.weights) / squared if squared > 0 else 1.0


def _probabilities(differences: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(differences, -500, 500))))


def unique_texts(rows: Sequence[tuple[str, Text]]) -> tuple[list[Text], Mapping[str, int]]:
    """Texts to look at, each once, and where each of the ids is among them."""
    places: dict[str, int] = {}
    texts: list[Text] = []
    for identity, text in rows:
        if identity not in places:
            places[identity] = len(texts)
            texts.append(text)
    return texts, places
