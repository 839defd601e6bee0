"""Which class is which: what says that labels mean what they are called, and when nothing does.

Votes alone tell which items are alike, not what to call them: a crowd that turned every label around would vote just as
likely. Without known labels the order of the classes rests on one assumption, that most raters mean what they say. Raters
who speak for another order are counted against those who speak for this one; where they are more than a fifth, the
assumption carries too little, and the order is said to be unidentifiable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heed.lazily import np
from heed.raters.votes import Codes, Votes
from heed.statistics import Array
from heed.texts import counted

By = Literal["gold", "majority", "unidentifiable"]

OPPOSED_SHARE = 1 / 5
"""Raters of another order, of all who speak clearly for one: above this share the order is not taken from votes alone. Not
nearer to a half: among the others there may be more who answer by chance than who are right."""

CLEAR = 2.58
"""Standard errors that a rater's rates must lie apart to speak clearly for an order: 99 %."""

DECISIVE = 3.0
"""Nats by which known labels must favour an order: about 20 to 1."""

DOUBT = 4.6
"""Nats (100 to 1) that one known label says at most, as it may be wrong itself; and as many more must favour an order
that most raters speak against. One label alone thus never turns a crowd around."""


def gold_decides(known: int) -> str:
    """Sentence where ``known`` answers to gold items (count) favour one way by ``DECISIVE``."""
    return f"{_answers(known)} to gold items {'says' if known == 1 else 'say'} which way is up."


def gold_contradicts(known: int) -> str:
    """Sentence where they favour by ``DECISIVE`` the way that all else speaks against."""
    return (
        f"{_answers(known)} to gold items {'speaks' if known == 1 else 'speak'} against what else the raters say: either "
        "known answers are wrong, or most raters invert. See whether the gold items are right, and ask about more of them."
    )


def gold_leaves_open(known: int) -> str:
    """What is added where they favour no way so clearly; nothing where there are none."""
    return f" {_answers(known)} to gold items {'does' if known == 1 else 'do'} not decide it." if known else ""


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


@dataclass(frozen=True)
class Direction:
    """What the order of the classes rests on.

    Attributes:
        by: known labels, the majority of raters, or nothing.
        reason: a sentence for people.
        straight: raters who speak clearly for the order found (count).
        turned: raters who speak clearly for another order, the same one (count).
        turned_order: what these raters call each class [classes]; None where there are none.
        lacks_labels: whether more known labels would tell.
    """

    by: By
    reason: str
    straight: int
    turned: int
    turned_order: tuple[int, ...] | None = None
    lacks_labels: bool = False


def direction_of(votes: Votes, probabilities: Array, prior: Array, confusion: Array, gold: Codes) -> Direction:
    """What the order of the classes in ``probabilities`` [items, classes] rests on.

    Args:
        votes: what was said.
        probabilities: of the classes.
        prior: how common each class is [classes].
        confusion: what each rater says of each class [raters, classes true, classes said].
        gold: known labels [items], -1 where there are none.
    """
    straight, orders = _camps(_said(votes, probabilities))
    turned = max(orders.values(), default=0)
    order = next((order for order, count in orders.items() if count == turned), None)
    apart = _apart(straight, turned)
    told = _told(straight, turned)
    known = int((gold >= 0).sum())
    if not apart:
        by: By = "gold" if known else "majority"
        by_labels = counted(known, "known label") if known else "no label is known"
        return Direction(by, f"{_capital(by_labels)}; {told}.", straight, turned, order)
    assert order is not None
    needed = DECISIVE + (DOUBT if turned > straight else 0.0)
    if known and _favour(votes, prior, confusion, gold, order) >= needed:
        reason = f"{counted(known, 'known label')} decide{'s' if known == 1 else ''} it; {told}."
        if turned > straight:
            reason += " Check the known labels: they turn around what most raters say."
        return Direction("gold", reason, straight, turned, order)
    lack = f"the known labels ({known:,}) do not decide between them" if known else "no label is known"
    reason = f"{_parted(straight, turned, 'this way round', known > 0)}, and {lack}: answers alone cannot tell which way round is right."
    return Direction("unidentifiable", reason, straight, turned, order, lacks_labels=True)


def camps_against(method: str, found: Direction) -> Direction:
    """What the order rests on for a method that takes for granted that most raters mean what they say.

    Args:
        method: its name.
        found: the same of a method that knows of raters who turn labels around.
    """
    if not _apart(found.straight, found.turned):
        return found
    decided = found.by == "gold"
    parted = _parted(found.straight, found.turned, "one way round", decided)
    can_tell = "one-coin, dawid-skene or glad can tell" + (
        ", as labels are known" if decided else " once labels are known"
    )
    reason = f"{parted}, and {method} only counts which label has more answers: {can_tell}."
    return Direction(
        "unidentifiable", reason, found.straight, found.turned, found.turned_order, lacks_labels=not decided
    )


def _told(straight: int, turned: int) -> str:
    """How many of the raters speak for the order that was found."""
    clear = straight + turned
    if not clear:
        return "no rater can be told apart from chance yet"
    if clear == 1:
        return f"the one rater who can be told apart from chance uses the labels {'this' if straight else 'another'} way round"
    return f"{straight} of {clear} raters who can be told apart from chance use the labels this way round"


def _parted(straight: int, turned: int, way: str, known: bool) -> str:
    """How the raters are divided, where many do not use the labels the way round that was found, which is called ``way``."""
    if straight:
        return f"The raters are in two camps, {straight} who use the labels {way} and {turned} who use them another way round"
    who = "The one rater who can be told apart from chance uses"
    if turned > 1:
        who = f"All {turned} raters who can be told apart from chance use"
    return f"{who} the labels another way round than {'the known ones' if known else 'was found'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _apart(straight: int, turned: int) -> bool:
    return turned > OPPOSED_SHARE * (straight + turned)


def _said(votes: Votes, probabilities: Array) -> Array:
    """Expected counts [raters, true, said] of answers."""
    _, raters, classes = votes.shape
    cells = votes.rater * classes + votes.label
    columns = [np.bincount(cells, weights=column[votes.item], minlength=raters * classes) for column in probabilities.T]
    return np.stack(columns).astype(np.float64).reshape(classes, raters, classes).transpose(1, 0, 2)


def _camps(said: Array) -> tuple[int, dict[tuple[int, ...], int]]:
    """Raters who speak clearly for the classes as they are, and for each other order (counts).

    A rater's balanced accuracy, the mean over the classes of how often each is called by its name, is compared with that
    under the order that fits the rater best, or with chance where that is the order as it is.
    """
    from scipy.optimize import linear_sum_assignment

    classes, orders = said.shape[1], dict[tuple[int, ...], int]()
    if classes < 2:
        return 0, orders
    sizes = said.sum(axis=2) + 0.5 * classes
    rates = (said + 0.5) / sizes[:, :, None]
    every = np.arange(classes)
    own = rates[:, every, every]
    # Where no answer is given to another class more often than to its own, no order fits better.
    plain = (own >= rates.max(axis=1)).all(axis=1)
    spread = np.sqrt((own * (1 - own) / sizes).sum(axis=1))
    clear = own.sum(axis=1) - 1 > CLEAR * spread
    straight = int((plain & clear).sum())
    for rater in np.flatnonzero(~plain).tolist():
        _, order = linear_sum_assignment(rates[rater], maximize=True)
        moved = order != every
        if not moved.any():
            straight += int(clear[rater])
            continue
        other, mine = rates[rater][every, order][moved], own[rater][moved]
        error = ((other + mine - (other - mine) ** 2) / sizes[rater][moved]).sum() ** 0.5
        if (other - mine).sum() > CLEAR * error:
            orders[tuple(order.tolist())] = orders.get(tuple(order.tolist()), 0) + 1
    return straight, orders


def _favour(votes: Votes, prior: Array, confusion: Array, gold: Codes, order: tuple[int, ...]) -> float:
    """By how much (nats) known labels favour the order of the classes that was found over ``order``, each by DOUBT at most."""
    of_known = gold[votes.item] >= 0
    label, rater, true = votes.label[of_known], votes.rater[of_known], gold[votes.item[of_known]]
    places = np.argsort(order)
    other = places[true]
    by_votes = np.log(confusion[rater, true, label]) - np.log(confusion[rater, other, label])
    by_item = np.bincount(votes.item[of_known], weights=by_votes, minlength=gold.size)[gold >= 0]
    classes = gold[gold >= 0]
    by_classes = np.log(prior[classes]) - np.log(prior[places[classes]])
    return float(np.clip(by_item + by_classes, -DOUBT, DOUBT).sum())
